package rpw

import (
	"context"
	"strings"
	"time"
)

// guardedStreams is the StreamBus of a Hub.
type guardedStreams struct{ h *Hub }

var _ StreamBus = guardedStreams{}

func (g guardedStreams) call(verb, target string) call {
	return call{h: g.h, verb: verb, target: target, items: 1}
}

// Publish gives each batch that has no producer the Hub's own, in order; see publish.go. Batches that have one (of a server's
// clients) go to the driver as they are, in one call.
func (g guardedStreams) Publish(ctx context.Context, batches []Batch) ([]Published, error) {
	c := g.call("publish", "")
	c.items, c.repeat = len(batches), true
	if err := checkItems(len(batches)); err != nil {
		return nil, c.wrap(err)
	}
	c.target = batches[0].Stream
	foreign := 0
	for i := range batches {
		if err := checkBatch(&batches[i]); err != nil {
			c.target = batches[i].Stream
			return nil, c.wrap(err)
		}
		if batches[i].Producer != (Producer{}) {
			foreign++
		}
	}
	switch {
	case foreign == len(batches):
		inward := make([]Batch, len(batches))
		for i, b := range batches {
			b.Stream = g.h.inward(b.Stream)
			inward[i] = b
		}
		answers, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.Publish, inward)
		for i := range answers {
			c.target = batches[i].Stream
			answers[i].Err = c.wrap(answers[i].Err)
		}
		return answers, err
	case foreign > 0:
		return nil, c.wrap(Errorf(ErrInvalid, "some batches of the call have a producer and some have none"))
	}
	answers := make([]Published, len(batches))
	for i, b := range batches {
		positions, err := g.h.publish(ctx, []Batch{b})
		if err != nil && len(batches) == 1 {
			return nil, err
		}
		answers[i] = Published{Positions: positions, Err: err}
	}
	return answers, nil
}

func checkBatch(b *Batch) error {
	if err := checkStream(b.Stream); err != nil {
		return err
	}
	if len(b.Events) == 0 {
		return Errorf(ErrInvalid, "the batch has no events")
	}
	if len(b.Events) > MaxBatch {
		return Errorf(ErrTooLarge, "the batch has %d events (max %d); it is never split, since it is all or none", len(b.Events), MaxBatch)
	}
	total := 0
	for i := range b.Events {
		n, err := checkEvent(&b.Events[i])
		if err != nil {
			return err
		}
		total += n
	}
	if total > MaxBatchBytes {
		return Errorf(ErrTooLarge, "the batch has %d bytes (max %d); it is never split, since it is all or none", total, MaxBatchBytes)
	}
	return first(checkRetention(b.Keep), checkDuration("KeyWindow", b.KeyWindow, 0, 24*time.Hour))
}

func checkEvent(e *NewEvent) (size int, err error) {
	if err := CheckName("event type", e.Type); err != nil {
		return 0, err
	}
	if e.Key != "" {
		if err := CheckName("event key", e.Key); err != nil {
			return 0, err
		}
	}
	if len(e.Header) > 32 {
		return 0, Errorf(ErrTooLarge, "the event has %d headers (max 32)", len(e.Header))
	}
	for k, v := range e.Header {
		if err := CheckName("header", k); err != nil {
			return 0, err
		}
		if strings.ContainsRune(v, 0) {
			return 0, Errorf(ErrInvalid, "the header %s holds a NUL", QuoteName(k))
		}
	}
	size = e.Size()
	return size, checkSize("the event", size)
}

func checkRetention(r Retention) error {
	if r.Events < Unlimited {
		return Errorf(ErrInvalid, "Retention.Events is %d; it is a number of events, 0 for the default or Unlimited", r.Events)
	}
	return checkDuration("Retention.Age", r.Age, 0, MaxTTL)
}

func checkStart(s Start) error {
	switch s.Kind {
	case StartNewest, StartOldest, StartAfter:
		return nil
	case StartSince:
		if s.Time.IsZero() || s.Time.UnixMilli() < 0 {
			return Errorf(ErrInvalid, "Since needs a time after 1970")
		}
		return nil
	case StartLast:
		if s.N < 1 {
			return Errorf(ErrInvalid, "Last(%d): the number of events must be at least 1", s.N)
		}
		return nil
	}
	return Errorf(ErrInvalid, "unknown start kind %d", s.Kind)
}

type locateRequest struct {
	stream string
	at     Start
}

func (g guardedStreams) Locate(ctx context.Context, stream string, at Start) (Position, error) {
	c := g.call("locate", stream)
	c.repeat = true
	if err := first(checkStream(stream), checkStart(at)); err != nil {
		return Position{}, c.wrap(err)
	}
	return invoke(ctx, c, g.h.parts.Streams, func(bus StreamBus, ctx context.Context, req locateRequest) (Position, error) {
		return bus.Locate(ctx, req.stream, req.at)
	}, locateRequest{g.h.inward(stream), at})
}

func (g guardedStreams) Read(ctx context.Context, req ReadRequest) ([]Event, error) {
	c := g.call("read", req.Stream)
	c.repeat, c.waits = true, req.Wait > 0
	if err := checkRead(&req); err != nil {
		return nil, c.wrap(err)
	}
	req.Stream = g.h.inward(req.Stream)
	if events := g.present(ctx, req); len(events) > 0 {
		return events, nil
	}
	return invoke(ctx, c, g.h.parts.Streams, StreamBus.Read, req)
}

// present reads what is there already, for a call that would be let through to a store of this process: who need not wait needs no context that ends waits.
func (g guardedStreams) present(ctx context.Context, req ReadRequest) []Event {
	if req.Wait == 0 || !g.h.parts.Local || g.h.parts.Streams == nil || g.h.observer != nil || ctx == nil || ctx.Err() != nil || g.h.closed.Load() {
		return nil
	}
	req.Wait = 0
	events, err := g.h.parts.Streams.Read(ctx, req)
	if err != nil {
		return nil // the call that may wait will tell
	}
	return events
}

func checkRead(req *ReadRequest) error {
	return first(checkStream(req.Stream), checkWait(req.Wait), pageMax(&req.Max, MaxPage, MaxPage), checkRange(req))
}

func checkRange(req *ReadRequest) error {
	if !req.After.IsZero() && req.After.Epoch == 0 {
		return Errorf(ErrInvalid, "After has no epoch; turn an id into a position with Locate")
	}
	if req.Until.IsZero() || req.After.IsZero() {
		return nil
	}
	if c := req.Until.Compare(req.After.ID); c < 0 && !req.Reverse || c > 0 && req.Reverse {
		return Errorf(ErrInvalid, "the range is empty: it goes from %s to %s", req.After.ID, req.Until)
	}
	return nil
}

func (g guardedStreams) Streams(ctx context.Context, req StreamsRequest) (StreamsPage, error) {
	c := g.call("streams", "")
	c.repeat = true
	if err := pageMax(&req.Max, MaxPage, MaxPage); err != nil {
		return StreamsPage{}, c.wrap(err)
	}
	req.Prefix = g.h.inward(req.Prefix)
	if req.After != "" {
		req.After = g.h.inward(req.After)
	}
	page, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.Streams, req)
	if g.h.namespace != "" {
		for i, name := range page.Names {
			page.Names[i] = g.h.outward(name)
		}
		page.Next = g.h.outward(page.Next)
	}
	return page, err
}

func (g guardedStreams) StreamInfo(ctx context.Context, stream string) (StreamInfo, error) {
	c := g.call("stream info", stream)
	c.repeat = true
	if err := checkStream(stream); err != nil {
		return StreamInfo{}, c.wrap(err)
	}
	info, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.StreamInfo, g.h.inward(stream))
	info.Name = g.h.outward(info.Name)
	return info, err
}

func (g guardedStreams) Trim(ctx context.Context, stream string, keep Retention) (n int64, err error) {
	c := g.call("trim", stream)
	if err := first(checkStream(stream), checkRetention(keep)); err != nil {
		return 0, c.wrap(err)
	}
	if keep == (Retention{}) {
		return 0, c.wrap(Errorf(ErrInvalid, "Trim needs a bound: Retention.Events or Retention.Age"))
	}
	err = g.do(ctx, c, func(ctx context.Context, bus StreamBus) error {
		n, err = bus.Trim(ctx, g.h.inward(stream), keep)
		return err
	})
	return n, err
}

func (g guardedStreams) DeleteEvents(ctx context.Context, stream string, ids []ID) (n int64, err error) {
	c := g.call("delete events", stream)
	c.items = len(ids)
	if err := first(checkStream(stream), checkItems(len(ids))); err != nil {
		return 0, c.wrap(err)
	}
	err = g.do(ctx, c, func(ctx context.Context, bus StreamBus) error {
		n, err = bus.DeleteEvents(ctx, g.h.inward(stream), ids)
		return err
	})
	return n, err
}

func (g guardedStreams) DeleteStream(ctx context.Context, stream string) error {
	c := g.call("delete stream", stream)
	if err := checkStream(stream); err != nil {
		return c.wrap(err)
	}
	return g.do(ctx, c, func(ctx context.Context, bus StreamBus) error {
		return bus.DeleteStream(ctx, g.h.inward(stream))
	})
}

func (g guardedStreams) do(ctx context.Context, c call, verb func(context.Context, StreamBus) error) error {
	_, err := invoke(ctx, c, g.h.parts.Streams, func(bus StreamBus, ctx context.Context, _ struct{}) (struct{}, error) {
		return struct{}{}, verb(ctx, bus)
	}, struct{}{})
	return err
}
