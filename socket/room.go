package socket

import (
	"context"
	"slices"
	"sync"
)

// room is a budget of bytes. Who takes some waits until they are there; who came first is served first. It is safe for concurrent use.
type room struct {
	limit int // 0: none

	mu    sync.Mutex
	taken int
	queue []*guest
}

// guest waits for bytes.
type guest struct {
	bytes int
	given chan struct{} // closed when it has them
}

// of is how much of the room n bytes take: what needs more than there is takes all of it.
func (r *room) of(n int) int {
	if r.limit > 0 {
		return min(n, r.limit)
	}
	return n
}

// take waits for n bytes, at most the limit. The error is why ctx ended; then nothing is taken.
func (r *room) take(ctx context.Context, n int) error {
	r.mu.Lock()
	if r.fits(n) {
		r.taken += n
		r.mu.Unlock()
		return nil
	}
	g := &guest{n, make(chan struct{})}
	r.queue = append(r.queue, g)
	r.mu.Unlock()
	select {
	case <-g.given:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.queue, g); i >= 0 {
		r.queue = slices.Delete(r.queue, i, i+1)
	} else { // it came in this moment
		r.taken -= n
	}
	r.give()
	return context.Cause(ctx)
}

// fits reports whether n bytes are there for who comes now.
func (r *room) fits(n int) bool {
	return n == 0 || r.limit == 0 || len(r.queue) == 0 && r.taken+n <= r.limit
}

// change makes n bytes of what was held, unless that takes more than is there.
func (r *room) change(held, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > held && !r.fits(n-held) {
		return false
	}
	r.taken += n - held
	r.give()
	return true
}

// leave gives n bytes back.
func (r *room) leave(n int) {
	if n > 0 {
		r.change(n, 0)
	}
}

// give serves those who wait, as far as there is room.
func (r *room) give() {
	for len(r.queue) > 0 && r.taken+r.queue[0].bytes <= r.limit {
		g := r.queue[0]
		r.queue = slices.Delete(r.queue, 0, 1)
		r.taken += g.bytes
		close(g.given)
	}
}
