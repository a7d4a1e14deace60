package redis

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// A group with a backlog is read ahead: the client reads the events itself, from where the group was when it last fetched for it, and the
// script only leases them. Events that pass through a script cost the server several times as much. While the script leases a page the next one is read
// already, so a fetch is one trip; the script knows whether events were removed since.

// aheadLeast is from how many events on that pays for the trip more.
const aheadLeast = 16

// Bounds of the pages that are read while the one before is leased: the bytes of one, and how many are kept.
const (
	nextMost  = 256 << 10
	nextPages = 64
)

// cursors are the places of groups that had a backlog when this process last fetched for them.
type cursors struct {
	mu      sync.Mutex
	byGroup map[string]cursor
	pages   int // that are kept
}

type cursor struct {
	place string
	next  *nextPage // what follows; nil: it has to be read
}

// nextPage is a page that is being read.
type nextPage struct {
	place string // before it
	done  chan struct{}
	page  ahead // this and read are to be read after done
	read  time.Time
}

// cursorsMost bounds the groups that are remembered.
const cursorsMost = 1024

// learn notes where a group is after a fetch, with the page that follows if that was asked for.
func (c *cursors) learn(req *rpw.FetchRequest, f *fetched, next *nextPage) {
	name := rpw.DeadLetter(req.Stream, req.Group)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byGroup[name].next != nil { // of a fetch at the same time
		c.pages--
	}
	if req.Max < aheadLeast || len(f.deliveries) < req.Max {
		delete(c.byGroup, name)
		return
	}
	if len(c.byGroup) >= cursorsMost || c.pages >= nextPages {
		clear(c.byGroup)
		c.pages = 0
	}
	if next != nil && next.place != f.cursor {
		next = nil
	}
	if next != nil {
		c.pages++
	}
	c.byGroup[name] = cursor{f.cursor, next}
}

// take returns where a group was; the page that follows goes to the caller.
func (c *cursors) take(req *rpw.FetchRequest) cursor {
	name := rpw.DeadLetter(req.Stream, req.Group)
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byGroup[name]
	if known.next != nil {
		c.pages--
		c.byGroup[name] = cursor{place: known.place}
	}
	return known
}

// ahead is what was read ahead: the events after a place.
type ahead struct {
	place   string
	events  []rpw.Event
	size    int
	removed string // how many events had been removed from the stream by then
}

// readAhead reads what the group will probably be given.
func (b *streamBus) readAhead(ctx context.Context, req *rpw.FetchRequest) (ahead, error) {
	if req.Max < aheadLeast {
		return ahead{}, nil
	}
	at := b.cursors.take(req)
	if at.place == "" {
		return ahead{}, nil
	}
	if next := at.next; next != nil {
		select {
		case <-next.done:
			if len(next.page.events) == req.Max && time.Since(next.read) < fresh {
				return next.page, nil
			}
		case <-ctx.Done():
			return ahead{}, ctx.Err()
		}
	}
	return b.readPage(ctx, req.Stream, at.place, req.Max)
}

// readNext begins to read the page after the one that is about to be leased; nil if it is not worth it.
func (b *streamBus) readNext(ctx context.Context, req *rpw.FetchRequest, a *ahead) *nextPage {
	if len(a.events) < req.Max || a.size > nextMost {
		return nil
	}
	next := &nextPage{place: wire(a.events[len(a.events)-1].Position()), done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx) // it is for the next call
	stream, most := req.Stream, req.Max
	if !b.beside(func() {
		defer close(next.done)
		page, err := b.readPage(ctx, stream, next.place, most)
		if err == nil && page.size <= nextMost {
			next.page, next.read = page, time.Now()
		}
	}) {
		return nil
	}
	return next
}

func (b *streamBus) readPage(ctx context.Context, stream, place string, most int) (ahead, error) {
	at, err := unwire(place)
	if err != nil {
		return ahead{}, err
	}
	p := page{bus: b, req: &rpw.ReadRequest{Stream: stream, After: at, Max: most}, keys: b.keys.stream(stream)}
	if err := p.fill(ctx); err != nil || !p.anchored || p.epoch != at.Epoch || len(p.events) < aheadLeast {
		return ahead{}, err
	}
	return ahead{place, p.events, p.size, p.removed}, nil
}

// appendTo says it to the script.
func (a *ahead) appendTo(args []string) []string {
	if len(a.events) == 0 {
		return append(args, "")
	}
	last := a.events[len(a.events)-1]
	ids := make([]byte, 0, 24*len(a.events))
	for i := range a.events {
		if i > 0 {
			ids = append(ids, ' ')
		}
		ids = appendID(ids, a.events[i].ID)
	}
	return append(args, a.place, strconv.Itoa(a.size), strconv.FormatUint(last.Count, 10), a.removed,
		strconv.Itoa(len(a.events)), a.events[0].ID.String(), last.ID.String(), stringOf(ids))
}
