package memory

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Read implements rpw.StreamBus.
func (b *streamStore) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	patience := patience{wait: req.Wait}
	room, roomy := req.Reuse[:0], false // of the page: what is lacking is made while the stream is free
	for {
		st := b.lock(req.Stream)
		now := time.Now()
		if patience.since.IsZero() {
			patience.since = now
		}
		st.expire(now)
		events, there, gap := st.read(&req, room)
		if there > cap(room) && !roomy {
			st.mu.Unlock()
			room, roomy = make([]rpw.Event, 0, there), true
			continue
		}
		left := patience.left(now)
		if len(events) > 0 || gap != nil || left <= 0 || req.Reverse || !req.Until.IsZero() && st.last.Compare(req.Until) >= 0 {
			st.mu.Unlock()
			if gap != nil {
				return nil, gap
			}
			return events, nil
		}
		w := st.readers.add()
		st.mu.Unlock()
		roomy = false
		woken, err := w.wait(ctx, left)
		if woken {
			continue
		}
		st.mu.Lock()
		st.readers.remove(w)
		st.mu.Unlock()
		return nil, err
	}
}

// read returns a page of events, as many as there is room for, and how many could be on it.
func (st *stream) read(req *rpw.ReadRequest, room []rpw.Event) (events []rpw.Event, there int, gap *rpw.GapError) {
	most := pageSize(req.Max, rpw.MaxPage)
	if req.Reverse {
		i := st.events.len()
		if !req.After.IsZero() { // it knows no gaps, so a position of another history counts by its id
			i = st.from(req.After.ID)
		}
		return st.readBack(i, req.Until, room), min(most, i), nil
	}
	i := 0
	if !req.After.IsZero() {
		if i, gap = st.resume(req.After); gap != nil {
			return nil, 0, gap
		}
	}
	return st.readOn(i, req.Until, room), min(most, st.events.len()-i), nil
}

// readOn fills a page with the events from index i on, up to the id until.
func (st *stream) readOn(i int, until rpw.ID, room []rpw.Event) []rpw.Event {
	page := page{events: room}
	for ; i < st.events.len(); i++ {
		if !until.IsZero() && st.events.at(i).id.Compare(until) > 0 || !page.add(st, i) {
			break
		}
	}
	return page.events
}

// readBack fills a page with the events before index i, going down to the id until.
func (st *stream) readBack(i int, until rpw.ID, room []rpw.Event) []rpw.Event {
	page := page{events: room}
	for i--; i >= 0; i-- {
		if st.events.at(i).id.Compare(until) < 0 || !page.add(st, i) {
			break
		}
	}
	return page.events
}

// page is a page of events in the making.
type page struct {
	events []rpw.Event
	size   int
}

// add adds the event at index i unless it is a tombstone, and reports whether it fitted. The first one always does.
func (p *page) add(st *stream, i int) bool {
	rec := st.events.at(i)
	if rec.gone {
		return true
	}
	n, size := len(p.events), int(rec.size)
	if n == cap(p.events) || n > 0 && p.size+size > rpw.MaxBatchBytes {
		return false
	}
	p.size += size
	p.events = p.events[:n+1]
	st.events.load(&p.events[n], i, st.epoch)
	return true
}
