package redis

import (
	"context"
	"slices"
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
	left  ahead  // of what was read before
	done  chan struct{}
	page  ahead // what follows that; to be read after done
}

// events is how many there are, after done.
func (n *nextPage) events() int { return len(n.left.events) + len(n.page.events) }

// split takes the first page, of so many events, off.
func (n *nextPage) split(most int) (first ahead, rest *nextPage) {
	first, left := n.left.split(min(most, len(n.left.events)))
	more, page := n.page.split(most - len(first.events))
	first = first.with(more)
	return first, &nextPage{first.end(), left, n.done, page}
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
	if len(f.deliveries) < req.Max {
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
	read    time.Time
}

// end is the place after the last event.
func (a *ahead) end() string {
	if len(a.events) == 0 {
		return a.place
	}
	return wire(a.events[len(a.events)-1].Position())
}

// split takes the first n events off.
func (a ahead) split(n int) (first, rest ahead) {
	first, rest = a, a
	first.events, rest.events = a.events[:n], a.events[n:]
	first.size = 0
	for i := range first.events {
		first.size += sizeOf(&first.events[i])
	}
	rest.place, rest.size = first.end(), a.size-first.size
	return first, rest
}

// with is what was read, and what was read later of what follows: altogether it is as old as the first.
func (a ahead) with(next ahead) ahead {
	switch {
	case len(a.events) == 0:
		return next
	case len(next.events) > 0:
		a.events = slices.Concat(a.events, next.events)
		a.size += next.size
	}
	return a
}

// readAhead reads what the group will probably be given, and begins to read what follows, if that is worth it; next is nil otherwise.
func (b *streamBus) readAhead(ctx context.Context, req *rpw.FetchRequest) (page ahead, next *nextPage, err error) {
	at := b.cursors.take(req)
	if at.place == "" || at.next == nil && req.Max < aheadLeast {
		return ahead{}, nil, nil
	}
	pages := 1
	if at.next != nil {
		select {
		case <-at.next.done:
			if at.next.events() < req.Max {
				break
			}
			if first, rest := at.next.split(req.Max); time.Since(first.read) < fresh {
				page, next = first, rest
				pages = int(fresh / max(time.Since(rest.page.read), fresh/nextPages)) // what is likely to be used while it is fresh
			}
		case <-ctx.Done():
			return ahead{}, nil, ctx.Err()
		}
	}
	if req.Max < aheadLeast {
		return page, next, nil
	}
	if page.events == nil {
		page, err = b.readPage(ctx, req.Stream, at.place, req.Max)
	}
	if err == nil && (next == nil || next.events() < req.Max) {
		next = b.readNext(ctx, req, &page, next, pages)
	}
	return page, next, err
}

// readNext begins to read the pages after the one that is about to be leased, and after what else is left; nil if it is not worth it.
func (b *streamBus) readNext(ctx context.Context, req *rpw.FetchRequest, a *ahead, rest *nextPage, pages int) *nextPage {
	if len(a.events) < req.Max || a.size > nextMost {
		return nil
	}
	next := &nextPage{place: a.end(), done: make(chan struct{})}
	if rest != nil {
		next.left = rest.left.with(rest.page)
	}
	next.left.place = next.place
	ctx = context.WithoutCancel(ctx) // it is for the calls to come
	stream, most := req.Stream, req.Max*max(1, min(pages, rpw.MaxPage/req.Max, nextMost/max(1, a.size)))
	if !b.beside(func() {
		defer close(next.done)
		page, err := b.readPage(ctx, stream, next.left.end(), most)
		if err == nil && page.size <= nextMost {
			next.page = page
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
	return ahead{place, p.events, p.size, p.removed, time.Now()}, nil
}

// appendTo says it to the script.
func (a *ahead) appendTo(args []string) []string {
	if len(a.events) == 0 {
		return append(args, "")
	}
	last := a.events[len(a.events)-1]
	var ids idList
	for i := range a.events {
		ids.add(a.events[i].ID)
	}
	return append(args, a.place, strconv.Itoa(a.size), strconv.FormatUint(last.Count, 10), a.removed,
		strconv.Itoa(len(a.events)), a.events[0].ID.String(), last.ID.String(), ids.string())
}
