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
	for {
		st := b.lock(req.Stream)
		now := time.Now()
		if patience.since.IsZero() {
			patience.since = now
		}
		st.expire(now)
		events, gap := st.read(&req)
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

// read returns a page of events.
func (st *stream) read(req *rpw.ReadRequest) ([]rpw.Event, *rpw.GapError) {
	if req.Reverse {
		return st.readBack(req), nil
	}
	i := 0
	if !req.After.IsZero() {
		var gap *rpw.GapError
		if i, gap = st.resume(req.After); gap != nil {
			return nil, gap
		}
	}
	if i == st.events.len() {
		return nil, nil
	}
	page := newPage(req.Max, st.events.len()-i)
	for ; i < st.events.len(); i++ {
		rec := st.events.at(i)
		if !req.Until.IsZero() && rec.id.Compare(req.Until) > 0 {
			break
		}
		if !rec.gone && !page.add(st, i) {
			break
		}
	}
	return page.events, nil
}

// readBack returns a page going down. It knows no gaps, so a position of another history counts by its id.
func (st *stream) readBack(req *rpw.ReadRequest) []rpw.Event {
	i := st.events.len()
	if !req.After.IsZero() {
		i = st.from(req.After.ID)
	}
	page := newPage(req.Max, i)
	for i--; i >= 0; i-- {
		rec := st.events.at(i)
		if rec.id.Compare(req.Until) < 0 {
			break
		}
		if !rec.gone && !page.add(st, i) {
			break
		}
	}
	return page.events
}

// page is a page of events in the making.
type page struct {
	events []rpw.Event
	room   int
	size   int
}

func newPage(most, there int) page {
	room := pageSize(most, rpw.MaxPage)
	return page{room: room, events: make([]rpw.Event, 0, min(room, there))}
}

// add reports whether the event at index i fitted. The first one always does.
func (p *page) add(st *stream, i int) bool {
	size := int(st.events.at(i).size)
	if len(p.events) == p.room || len(p.events) > 0 && p.size+size > rpw.MaxBatchBytes {
		return false
	}
	p.size += size
	p.events = append(p.events, st.events.event(i, st.epoch))
	return true
}
