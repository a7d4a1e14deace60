package load

import (
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"sync/atomic"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
)

// payload is JSON that no other event has.
func (a *actor) payload() []byte {
	return fmt.Appendf(nil, "%q", a.fresh()+"|"+strings.Repeat("x", a.IntN(200)))
}

// hash names the bytes of a payload.
func hash(data []byte) string {
	name, _, _ := strings.Cut(strings.Trim(string(data), `"`), "|")
	return fmt.Sprintf("%s/%08x", name, crc32.ChecksumIEEE(data))
}

// publisher publishes batches. What has a key is repeated until its outcome is known, often once more.
func (r *run) publisher(ctx context.Context, a *actor) {
	b, most := rpw.Batch{Stream: streams[a.IntN(len(streams))]}, 4
	if r.Bulk > 0 && !a.one(4) {
		b.Stream, most = bulk, r.Bulk
	}
	keyed := a.one(3)
	for range 1 + a.IntN(most) {
		e := rpw.NewEvent{Type: "t", Data: a.payload()}
		if keyed {
			e.Key = a.fresh()
		}
		b.Events = append(b.Events, e)
	}
	outcome := a.publish(ctx, b)
	for i := 0; keyed && i < 10 && (outcome == history.Unknown || a.one(2)); i++ {
		outcome = a.publish(ctx, b)
	}
}

func (a *actor) publish(ctx context.Context, b rpw.Batch) history.Outcome {
	rec := a.record(history.OpPublish)
	rec.Stream = b.Stream
	for _, e := range b.Events {
		rec.Items = append(rec.Items, history.Item{Hash: hash(e.Data)})
	}
	ctx, timed := a.patience(ctx, "publish")
	ret := a.Call(rec)
	answers, err := a.hub().Streams().Publish(ctx, []rpw.Batch{b})
	if err == nil {
		err = answers[0].Err
	}
	ret(func(rec *history.Record) {
		rec.Settle(err)
		if err == nil {
			rec.Items = nil
			for i, p := range answers[0].Positions {
				rec.Items = append(rec.Items, history.Item{ID: p.ID, Epoch: p.Epoch, Count: p.Count, Hash: hash(b.Events[i].Data)})
			}
		}
	})
	timed(err)
	return history.OutcomeOf(err)
}

// editor deletes events, trims, and drops a stream if that is allowed.
func (r *run) editor(ctx context.Context, a *actor) {
	if !sleep(ctx, a.Rand, 10*a.Pause) {
		return
	}
	rec := a.record(history.OpEdit)
	rec.Stream = streams[a.IntN(len(streams))]
	var change func() error
	bus := a.hub().Streams()
	switch {
	case a.Resets && a.one(8):
		rec.Op = history.OpReset
		change = func() error { return bus.DeleteStream(ctx, rec.Stream) }
	case a.one(2):
		rec.Op = history.OpTrim
		keep := rpw.Retention{Events: int64(1 + a.IntN(30))}
		change = func() error { _, err := bus.Trim(ctx, rec.Stream, keep); return err }
	default:
		events, err := bus.Read(ctx, rpw.ReadRequest{Stream: rec.Stream, Max: 20, Reverse: true})
		if err != nil || len(events) == 0 {
			return
		}
		e := events[a.IntN(len(events))]
		rec.Items = []history.Item{item(e)}
		change = func() error { _, err := bus.DeleteEvents(ctx, rec.Stream, []rpw.ID{e.ID}); return err }
	}
	ret := a.Call(rec)
	err := change()
	ret(func(rec *history.Record) { rec.Settle(err) })
}

// subscriber is one subscription, which comes back by its position when its process ends.
type subscriber struct {
	*actor
	stream string
	at     atomic.Pointer[rpw.Position]
	caught bool // known to the goroutine of Run
}

func (r *run) startSubscriber(name, stream string) {
	s := &subscriber{actor: &actor{run: r, name: name, Rand: r.random()}, stream: stream}
	s.process = r.processes[r.seeds%len(r.processes)]
	r.subs = append(r.subs, s)
	r.serving.Go(func() { s.follow(r.quiet) })
}

func (s *subscriber) follow(ctx context.Context) {
	at := rpw.Newest()
	for ctx.Err() == nil {
		sub, err := rpw.StreamOf[string](s.stream).Subscribe(ctx, s.hub(), at, rpw.OnGap(s.gap))
		if err != nil {
			sleep(ctx, s.Rand, s.Pause)
			continue
		}
		if s.at.Load() == nil {
			rec := s.record(history.OpSubscribe)
			rec.Stream, rec.At = s.stream, sub.Position()
			s.Note(rec)
			s.at.Store(new(sub.Position()))
		}
		s.drain(ctx, sub)
		sub.Close()
		at = rpw.After(sub.Position())
	}
}

// drain takes events, until something goes wrong or it chooses to come back as another process.
func (s *subscriber) drain(ctx context.Context, sub *rpw.Subscription[string]) {
	seldom := 100 // of so many events one disturbs the subscription
	if s.stream == bulk {
		seldom *= s.Bulk
	}
	for !s.one(seldom) {
		m, err := sub.Next(ctx)
		if err != nil {
			return
		}
		rec := s.record(history.OpDeliver)
		rec.Stream, rec.Items = s.stream, []history.Item{item(m.Event)}
		s.Note(rec)
		s.at.Store(new(m.Position()))
		if s.one(seldom) { // falls behind
			sleep(ctx, s.Rand, 20*s.Pause)
		}
	}
	s.process = s.processes[s.IntN(len(s.processes))]
}

func (s *subscriber) gap(gap *rpw.GapError) (rpw.Position, error) {
	rec := s.record(history.OpGap)
	rec.Stream, rec.Kind, rec.At, rec.Resume, rec.N = s.stream, string(gap.Kind), gap.After, gap.Resume, int64(gap.Missed)
	s.Note(rec)
	s.at.Store(&gap.Resume)
	return rpw.GapContinue(gap)
}

func item(e rpw.Event) history.Item {
	return history.Item{ID: e.ID, Epoch: e.Epoch, Count: e.Count, Hash: hash(e.Data)}
}
