package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// Read implements rpw.StreamBus.
func (b *streamBus) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req.Max = pageMax(req.Max, rpw.MaxPage)
	switch {
	case req.Reverse:
		return b.readBack(ctx, &req)
	case req.Wait <= 0:
		return b.readOn(ctx, &req)
	}
	return b.await(ctx, &req)
}

// await is Read for who waits. He keeps the stack of the functions he waits in, so what they need before is apart.
func (b *streamBus) await(ctx context.Context, req *rpw.ReadRequest) ([]rpw.Event, error) {
	here, channel := wire(req.After), b.channelOf(req.Stream)
	events, over, err := b.glance(ctx, req, here, channel)
	if len(events) > 0 || over || err != nil {
		return events, err
	}
	w, err := b.waker.watch(ctx, channel)
	if err != nil {
		return nil, err
	}
	defer w.close()
	p := newVigil(req.Wait)
	defer p.stop()
	for {
		events, over, err := b.glance(ctx, req, here, channel)
		if len(events) > 0 || over || err != nil {
			return events, err
		}
		message, over, err := p.wait(ctx, w, here)
		if over || err != nil {
			return nil, err
		}
		if message == "" {
			channel = "" // the store is asked, whatever messages have told
		}
	}
}

// channelOf is the channel of a stream. Inlined, what it takes to make the name would stand on the stack of who waits.
//
//go:noinline
func (b *streamBus) channelOf(stream string) string { return b.keys.channel(streamChannel, stream) }

// glance looks for events after a place, and asks the store only if the messages of the stream do not say it all: that there is
// nothing after the place, or what there is. over: nothing that comes can be in the range of the request.
func (b *streamBus) glance(ctx context.Context, req *rpw.ReadRequest, here, channel string) (events []rpw.Event, over bool, err error) {
	newest, batches := b.waker.after(channel, req.After)
	if newest == here {
		return nil, false, nil
	}
	if req.Until.IsZero() {
		if events := eventsOf(req.Reuse, batches, req.After, req.Max); len(events) > 0 {
			return events, false, nil
		}
	}
	if events, err = b.readBeside(ctx, req); len(events) > 0 || err != nil {
		return events, false, err
	}
	over, err = b.over(ctx, req)
	return nil, over, err
}

// readBeside is readOn for a caller who will wait. The way through the client takes so much stack that he would keep twice as much of it while
// he waits, so another goroutine goes it.
func (b *streamBus) readBeside(ctx context.Context, req *rpw.ReadRequest) (events []rpw.Event, err error) {
	done := make(chan struct{})
	if !b.beside(func() {
		defer close(done)
		events, err = b.readOn(ctx, req)
	}) {
		return b.readOn(ctx, req)
	}
	<-done
	return events, err
}

// over reports whether no event to come can be in the range of a request.
func (b *streamBus) over(ctx context.Context, req *rpw.ReadRequest) (bool, error) {
	if req.Until.IsZero() {
		return false, nil
	}
	end, err := b.Locate(ctx, req.Stream, rpw.Newest())
	return err == nil && end.ID.Compare(req.Until) >= 0, err
}

// pageMax reads the Max of a request: 0 is the default, and no page is larger than rpw.MaxPage.
func pageMax(most, otherwise int) int {
	if most == 0 {
		most = otherwise
	}
	return min(most, rpw.MaxPage)
}

// readOn returns a page of events, oldest first, or the gap before it. The entries and the epoch are read one after the other: if the epoch is
// still the one of the position, the entries are of it too, and if the event of the position is the first of them, nothing after it is missing.
// Otherwise a script looks closer.
func (b *streamBus) readOn(ctx context.Context, req *rpw.ReadRequest) ([]rpw.Event, error) {
	page := page{bus: b, req: req, keys: b.keys.stream(req.Stream)}
	if err := page.fill(ctx); err != nil {
		return nil, err
	}
	if page.outdated() {
		if _, err := b.resume(ctx, req.Stream, rpw.Position{}); err != nil {
			return nil, err
		}
		page.restart()
		if err := page.fill(ctx); err != nil {
			return nil, err
		}
	}
	if !req.After.IsZero() && (page.epoch != req.After.Epoch || !page.anchored) {
		if gap, err := b.resume(ctx, req.Stream, req.After); gap != nil || err != nil {
			if gap != nil {
				return nil, gap
			}
			return nil, err
		}
	}
	if len(page.events) > 0 && page.epoch == 0 { // of others, and no rpw verb has named it yet
		if _, err := b.resume(ctx, req.Stream, rpw.Position{}); err != nil {
			return nil, err
		}
		return b.readOn(ctx, req)
	}
	return page.events, nil
}

// resume returns the gap between a position and the next event, nil if there is none.
func (b *streamBus) resume(ctx context.Context, stream string, at rpw.Position) (*rpw.GapError, error) {
	args := []string{b.begin(), "", "", ""}
	if !at.IsZero() {
		args = []string{args[0], strconv.FormatUint(at.Epoch, 10), at.ID.String(), strconv.FormatUint(at.Count, 10)}
	}
	m, err := b.exec(ctx, resumeScript, b.keysOf(stream), args)
	if err != nil {
		return nil, err
	}
	fields, err := m.ToArray()
	if err != nil {
		return nil, badReply(err.Error())
	}
	if len(fields) == 1 {
		return nil, nil
	}
	r := reader{fields: fields[1:]}
	gap := &rpw.GapError{Stream: stream, After: at, Kind: rpw.GapKind(r.text()), Missed: uint64(r.int()), Resume: r.position()}
	gap.Oldest = gap.Resume
	return gap, r.err
}

// page is a page of events in the making.
type page struct {
	bus      *streamBus
	req      *rpw.ReadRequest
	keys     streamKeys
	epoch    uint64        // of the stream; 0: it has none yet
	age      time.Duration // after which the stream keeps no event; 0: none
	removed  string        // how many events were removed from it when the reading began
	anchored bool          // the event of the position is there
	full     bool          // no more fits
	size     int
	room     int // how many events to make room for
	events   []rpw.Event
}

// outdated reports whether retention by age seems to be due. Only the store's clock can tell, so it is asked.
func (p *page) outdated() bool {
	return p.age > 0 && len(p.events) > 0 && time.Since(p.events[0].ID.Time()) > p.age
}

func (p *page) restart() { *p = page{bus: p.bus, req: p.req, keys: p.keys} }

// fill reads until the page is full or there is no more. How large events are is not known before, so where that was not
// learnt from an earlier page it begins with a few.
func (p *page) fill(ctx context.Context) error {
	after := p.req.After.ID
	least, trimmed := "-", uint64(0)
	if !p.req.After.IsZero() {
		least = after.String() // with the event itself, to see that it is there
	}
	until := "+"
	if !p.req.Until.IsZero() {
		until = p.req.Until.String()
	}
	for {
		n := p.bus.sizes.fit(p.req.Stream, p.req.Max-len(p.events), rpw.MaxBatchBytes-p.size)
		entries, meta, err := p.bus.fetchEntries(ctx, p.keys, least, until, n+1)
		if err != nil {
			return err
		}
		if len(p.events) == 0 {
			p.epoch, p.age, p.removed, trimmed = meta.epoch, meta.age, meta.removed, meta.trimmed
		} else if p.epoch != meta.epoch {
			return nil // what was read so far is of one history; the next read reports the gap
		}
		from := len(p.events)
		p.room = len(entries)
		for i := range entries {
			e, err := readEntry(&entries[i], p.epoch)
			if err != nil {
				return err
			}
			if i == 0 && from == 0 && e.ID == after && !p.req.After.IsZero() {
				p.anchored = e.Count == 0 || p.req.After.Count == 0 || e.Count == p.req.After.Count
				continue
			}
			if p.full = !p.add(e); p.full {
				break
			}
		}
		last, known := p.req.After.Count, p.req.After.Count > 0 || p.req.After.ID.IsZero()
		if p.req.After.IsZero() {
			last = trimmed
		}
		if from > 0 {
			last, known = p.events[from-1].Count, p.events[from-1].Count > 0
		}
		countOn(p.events[from:], last, known)
		p.bus.sizes.learn(p.req.Stream, p.events[from:])
		if p.full || len(entries) < n+1 || len(p.events) == p.req.Max {
			return nil
		}
		least = "(" + p.events[len(p.events)-1].ID.String()
	}
}

// add reports whether the event fitted. The first one always does.
func (p *page) add(e rpw.Event) bool {
	size := sizeOf(&e)
	if len(p.events) == p.req.Max || len(p.events) > 0 && p.size+size > rpw.MaxBatchBytes {
		return false
	}
	if p.events == nil {
		p.events = make([]rpw.Event, 0, p.room)
	}
	p.size += size
	p.events = append(p.events, e)
	return true
}

// streamMeta is what a read needs of the meta hash.
type streamMeta struct {
	epoch   uint64
	trimmed uint64        // the count of the newest event that retention took
	age     time.Duration // after which events go; 0: never
	removed string        // how many events rpw has removed
}

// fetchEntries reads entries, and then the meta hash, in one trip.
func (b *streamBus) fetchEntries(ctx context.Context, keys streamKeys, from, to string, n int) ([]rueidis.RedisMessage, streamMeta, error) {
	bounded, cancel := b.bounded(ctx)
	defer cancel()
	results := b.send(bounded, b.client,
		b.client.B().Xrange().Key(keys.main).Start(from).End(to).Count(int64(n)).Build(),
		b.client.B().Hmget().Key(keys.side("m")).Field("e", "tc", "ka", "r").Build(),
	)
	return b.pageOf(ctx, results)
}

func (b *streamBus) pageOf(ctx context.Context, results []rueidis.RedisResult) (entries []rueidis.RedisMessage, meta streamMeta, err error) {
	for _, r := range results {
		if err := b.fault(ctx, r.Error(), false); err != nil {
			return nil, meta, err
		}
	}
	if entries, err = results[0].ToArray(); err != nil {
		return nil, meta, badReply(err.Error())
	}
	fields, err := results[1].AsStrSlice()
	if err != nil || len(fields) != 4 {
		return nil, meta, badReply("a strange meta hash")
	}
	meta.epoch, _ = strconv.ParseUint(fields[0], 10, 64)
	meta.trimmed, _ = strconv.ParseUint(fields[1], 10, 64)
	age, _ := strconv.ParseInt(fields[2], 10, 64)
	meta.age = time.Duration(age) * time.Millisecond
	meta.removed = fields[3]
	return entries, meta, nil
}

// readBack returns a page going down. It knows no gaps, so a position of another history counts by its id.
func (b *streamBus) readBack(ctx context.Context, req *rpw.ReadRequest) ([]rpw.Event, error) {
	keys := b.keys.stream(req.Stream)
	from, to := "+", "-"
	if !req.After.IsZero() {
		if req.After.ID.IsZero() {
			return nil, nil
		}
		from = "(" + req.After.ID.String()
	}
	if !req.Until.IsZero() {
		to = req.Until.String()
	}
	p := page{bus: b, req: req}
	for {
		n := b.sizes.fit(req.Stream, req.Max-len(p.events), rpw.MaxBatchBytes-p.size)
		bounded, cancel := b.bounded(ctx)
		results := b.send(bounded, b.client,
			b.client.B().Xrevrange().Key(keys.main).End(from).Start(to).Count(int64(n)).Build(),
			b.client.B().Hmget().Key(keys.side("m")).Field("e", "tc", "ka", "r").Build(),
		)
		cancel()
		entries, meta, err := b.pageOf(ctx, results)
		if err != nil {
			return nil, err
		}
		if meta.epoch == 0 && len(entries) > 0 {
			if _, err := b.resume(ctx, req.Stream, rpw.Position{}); err != nil {
				return nil, err
			}
			continue
		}
		begun := len(p.events)
		p.room = len(entries)
		for i := range entries {
			e, err := readEntry(&entries[i], meta.epoch)
			if err != nil {
				return nil, err
			}
			if p.full = !p.add(e); p.full {
				break
			}
		}
		b.sizes.learn(req.Stream, p.events[begun:])
		if p.full || len(entries) < n || len(p.events) == req.Max {
			return p.events, nil
		}
		from = "(" + p.events[len(p.events)-1].ID.String()
	}
}
