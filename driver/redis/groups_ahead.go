package redis

import (
	"context"
	"strconv"
	"sync"

	"github.com/redis-process-worker/rpw"
)

// A group with a backlog is read ahead: the client reads the events itself, from where the group was when it last fetched for it, and the
// script only leases them. Events that pass through a script cost the server several times as much.

// aheadLeast is from how many events on that pays for the trip more.
const aheadLeast = 16

// cursors are the places of groups that had a backlog when this process last fetched for them.
type cursors struct {
	mu      sync.Mutex
	byGroup map[string]string
}

// cursorsMost bounds the groups that are remembered.
const cursorsMost = 1024

func (c *cursors) learn(req *rpw.FetchRequest, f *fetched) {
	name := rpw.DeadLetter(req.Stream, req.Group)
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.Max < aheadLeast || len(f.deliveries) < req.Max {
		delete(c.byGroup, name)
		return
	}
	if len(c.byGroup) >= cursorsMost {
		clear(c.byGroup)
	}
	c.byGroup[name] = f.cursor
}

func (c *cursors) of(req *rpw.FetchRequest) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byGroup[rpw.DeadLetter(req.Stream, req.Group)]
}

// ahead is what was read ahead: the events after a place.
type ahead struct {
	place  string
	events []rpw.Event
	size   int
}

// readAhead reads what the group will probably be given.
func (b *streamBus) readAhead(ctx context.Context, req *rpw.FetchRequest) (ahead, error) {
	place := b.cursors.of(req)
	if place == "" || req.Max < aheadLeast {
		return ahead{}, nil
	}
	at, err := unwire(place)
	if err != nil {
		return ahead{}, err
	}
	p := page{bus: b, req: &rpw.ReadRequest{Stream: req.Stream, After: at, Max: req.Max}, keys: b.keys.stream(req.Stream)}
	if err := p.fill(ctx); err != nil || !p.anchored || p.epoch != at.Epoch || len(p.events) < aheadLeast {
		return ahead{}, err
	}
	return ahead{place, p.events, p.size}, nil
}

// appendTo says it to the script.
func (a *ahead) appendTo(args []string) []string {
	if len(a.events) == 0 {
		return append(args, "")
	}
	last := a.events[len(a.events)-1]
	args = append(args, a.place, strconv.Itoa(a.size), strconv.FormatUint(last.Count, 10))
	for i := range a.events {
		args = append(args, a.events[i].ID.String())
	}
	return args
}
