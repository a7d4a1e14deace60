package redis

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// A group with a backlog is read ahead: the client reads the events itself, from where the group was when it last fetched for it, and the
// script only leases them. Events that pass through a script cost the server several times as much. While the script leases a page the next ones are read
// already, together, so a fetch is one trip; the script knows whether events were removed since.

// aheadLeast is from how many events on that pays for the trip more.
const aheadLeast = 16

// Bounds of what is read while the page before is leased: its bytes, its pages, and of how many groups it is kept.
const (
	nextMost   = 256 << 10
	nextPages  = 4
	nextGroups = 64
)

// cursors are the places of groups that had a backlog when this process last fetched for them.
type cursors struct {
	mu      sync.Mutex
	byGroup map[string]cursor
	nexts   int // that are kept
}

type cursor struct {
	place string
	next  *nextPage // what follows; nil: it has to be read
}

// nextPage is what is being read, or left of it: one page or several.
type nextPage struct {
	place string // before it
	done  chan struct{}
	page  ahead // this and read are to be read after done
	read  time.Time
}

// split takes the first page, of so many events, off. rest is nil if there is no other one as long.
func (n *nextPage) split(most int) (first ahead, rest *nextPage) {
	first, after := n.page, n.page
	first.events, after.events = n.page.events[:most], n.page.events[most:]
	for i := range after.events {
		first.size -= sizeOf(&after.events[i])
	}
	after.place, after.size = first.end(), n.page.size-first.size
	if len(after.events) >= most {
		rest = &nextPage{place: after.place, done: n.done, page: after, read: n.read}
	}
	return first, rest
}

// cursorsMost bounds the groups that are remembered.
const cursorsMost = 1024

// learn notes where a group is after a fetch, with the page that follows if that was asked for.
func (c *cursors) learn(req *rpw.FetchRequest, f *fetched, next *nextPage) {
	name := rpw.DeadLetter(req.Stream, req.Group)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byGroup[name].next != nil { // of a fetch at the same time
		c.nexts--
	}
	if req.Max < aheadLeast || len(f.deliveries) < req.Max {
		delete(c.byGroup, name)
		return
	}
	if len(c.byGroup) >= cursorsMost || c.nexts >= nextGroups {
		clear(c.byGroup)
		c.nexts = 0
	}
	if next != nil && next.place != f.cursor {
		next = nil
	}
	if next != nil {
		c.nexts++
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
		c.nexts--
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

// end is the place after the last event.
func (a *ahead) end() string { return wire(a.events[len(a.events)-1].Position()) }

// readAhead reads what the group will probably be given, and begins to read what follows, if that is worth it; next is nil otherwise.
func (b *streamBus) readAhead(ctx context.Context, req *rpw.FetchRequest) (page ahead, next *nextPage, err error) {
	if req.Max < aheadLeast {
		return ahead{}, nil, nil
	}
	at := b.cursors.take(req)
	if at.place == "" {
		return ahead{}, nil, nil
	}
	pages := 1
	if at.next != nil {
		select {
		case <-at.next.done:
			if age := time.Since(at.next.read); len(at.next.page.events) >= req.Max && age < fresh {
				page, next = at.next.split(req.Max)
				pages = int(fresh / max(age, fresh/nextPages)) // what is likely to be used while it is fresh
			}
		case <-ctx.Done():
			return ahead{}, nil, ctx.Err()
		}
	}
	if page.events == nil {
		page, err = b.readPage(ctx, req.Stream, at.place, req.Max)
	}
	if err == nil && next == nil {
		next = b.readNext(ctx, req, &page, pages)
	}
	return page, next, err
}

// readNext begins to read the pages after the one that is about to be leased; nil if it is not worth it.
func (b *streamBus) readNext(ctx context.Context, req *rpw.FetchRequest, a *ahead, pages int) *nextPage {
	if len(a.events) < req.Max || a.size > nextMost {
		return nil
	}
	next := &nextPage{place: a.end(), done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx) // it is for the calls to come
	stream, most := req.Stream, req.Max*max(1, min(pages, rpw.MaxPage/req.Max, nextMost/max(1, a.size)))
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
