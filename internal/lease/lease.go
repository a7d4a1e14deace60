// Package lease keeps leases alive: it renews those that are due, all in one batch, and tells the
// holder of one that was lost.
package lease

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw/internal/timer"
)

// Renew asks the store for more time for some leases; it answers each with nil, or why not. An error that lost reports
// as final takes the lease away; after any other the keeper tries again until the lease has run out by the local clock.
type Renew[K comparable] func(ctx context.Context, keys []K) []error

// Keeper renews leases. Each is due when a third of it has passed; those due soon after go along. Its work is
// proportional to the leases due; without leases it sleeps. It is safe for concurrent use.
type Keeper[K comparable] struct {
	renew Renew[K]
	final func(error) bool
	batch int

	mu    sync.Mutex
	held  map[K]*held[K]
	due   dueHeap[K]
	wake  chan struct{}
	wakes time.Time // when it wakes by itself; zero: not, or it is awake
	stop  context.CancelFunc
	done  chan struct{}
	ended bool
}

type held[K comparable] struct {
	key    K
	length time.Duration
	end    time.Time // of the lease, by the local clock, from when it was last asked for
	due    time.Time // of the next renewal
	lost   func(error)
	index  int // in the heap, -1 outside
}

// New starts a keeper. final says which errors of renew mean that the lease is lost; expired is what a holder
// is told whose lease ran out unrenewed; batch bounds the leases of one renewal.
func New[K comparable](renew Renew[K], final func(error) bool, expired error, batch int) *Keeper[K] {
	ctx, stop := context.WithCancel(context.Background())
	k := &Keeper[K]{renew: renew, final: final, batch: batch, held: make(map[K]*held[K]),
		wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		k.run(ctx, expired)
	}()
	return k
}

// Close stops renewing and waits for the renewal under way. The leases held run out by themselves.
func (k *Keeper[K]) Close() {
	k.mu.Lock()
	k.ended = true
	k.mu.Unlock()
	k.stop()
	<-k.done
}

// Hold keeps a lease alive that was granted at the given time (of the local clock) for length. lost is called, once and
// on another goroutine, if it is lost; it must be quick.
func (k *Keeper[K]) Hold(key K, granted time.Time, length time.Duration, lost func(error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return
	}
	h := &held[K]{key: key, length: length, end: granted.Add(length), due: granted.Add(length / 3), lost: lost}
	k.held[key] = h
	heap.Push(&k.due, h)
	if h.index == 0 && (k.wakes.IsZero() || h.due.Before(k.wakes)) { // it need not hear of leases that are held for a moment, one after the other
		k.nudge()
	}
}

// Drop stops keeping a lease; its holder is done with it. A renewal under way may still happen.
func (k *Keeper[K]) Drop(key K) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[key]; h != nil {
		k.remove(h)
	}
}

func (k *Keeper[K]) remove(h *held[K]) {
	delete(k.held, h.key)
	if h.index >= 0 {
		heap.Remove(&k.due, h.index)
	}
}

func (k *Keeper[K]) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Keeper[K]) run(ctx context.Context, expired error) {
	for ctx.Err() == nil {
		pause, batch := k.next(time.Now())
		if len(batch) == 0 {
			k.sleep(ctx, pause)
			continue
		}
		k.renewAll(ctx, batch, expired)
	}
}

// next returns the leases to renew now, or how long to wait for the first; -1: no lease is held.
func (k *Keeper[K]) next(now time.Time) (time.Duration, []*held[K]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wakes = time.Time{}
	if len(k.due) == 0 {
		return -1, nil
	}
	if pause := k.due[0].due.Sub(now); pause > 0 {
		k.wakes = k.due[0].due
		return pause, nil
	}
	var batch []*held[K]
	for len(k.due) > 0 && len(batch) < k.batch {
		h := k.due[0]
		if h.due.Sub(now) > h.length/10 { // a little early costs less than another call
			break
		}
		heap.Pop(&k.due)
		batch = append(batch, h)
	}
	return 0, batch
}

func (k *Keeper[K]) sleep(ctx context.Context, pause time.Duration) {
	var timeout <-chan time.Time
	if pause >= 0 {
		over, stop := timer.After(pause)
		defer stop()
		timeout = over
	}
	select {
	case <-timeout:
	case <-k.wake:
	case <-ctx.Done():
	}
}

func (k *Keeper[K]) renewAll(ctx context.Context, batch []*held[K], expired error) {
	asked := time.Now()
	keys := make([]K, len(batch))
	patience := batch[0].length
	for i, h := range batch {
		keys[i] = h.key
		patience = min(patience, h.length/3, max(h.end.Sub(asked), h.length/10)) // a holder is to learn of the end in time
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	errs := k.renew(ctx, keys)
	cancel()
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, h := range batch {
		if k.held[h.key] != h {
			continue // dropped meanwhile
		}
		switch err := errs[i]; {
		case err == nil:
			h.end, h.due = asked.Add(h.length), asked.Add(h.length/3)
		case k.final(err):
			k.remove(h)
			h.lost(err)
			continue
		case !now.Before(h.end):
			k.remove(h)
			h.lost(expired)
			continue
		default:
			h.due = now.Add(min(h.length/10, h.end.Sub(now)))
		}
		heap.Push(&k.due, h)
	}
}

// dueHeap is a container/heap by time due.
type dueHeap[K comparable] []*held[K]

func (d dueHeap[K]) Len() int           { return len(d) }
func (d dueHeap[K]) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d dueHeap[K]) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}
func (d *dueHeap[K]) Push(x any) {
	h := x.(*held[K])
	h.index = len(*d)
	*d = append(*d, h)
}
func (d *dueHeap[K]) Pop() any {
	old := *d
	h := old[len(old)-1]
	h.index = -1
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return h
}
