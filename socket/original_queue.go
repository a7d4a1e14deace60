package socket

import "sync"

// boundedQueue hands items from some goroutines to one, in order. Who puts waits while the items that wait weigh the limit or more, so it
// holds at most the limit and one item, whatever that weighs. The zero boundedQueue holds one item.
type boundedQueue[T any] struct {
	limit int

	mu     sync.Mutex
	filled sync.Cond // of mu, by init
	room   sync.Cond
	items  []T
	weight int
	closed bool
}

func newBoundedQueue[T any](limit int) *boundedQueue[T] {
	q := &boundedQueue[T]{limit: limit}
	q.filled.L, q.room.L = &q.mu, &q.mu
	return q
}

// put adds an item, and waits for room. false: the queue was closed, the item is not in it.
func (q *boundedQueue[T]) put(item T, weight int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && len(q.items) > 0 && q.weight+weight > q.limit {
		q.room.Wait()
	}
	if q.closed {
		return false
	}
	q.items = append(q.items, item)
	q.weight += weight
	q.filled.Signal()
	return true
}

// take waits for items, takes all of them and leaves used, which it was given the last time, for those to come. No items: the queue was
// closed and is empty.
func (q *boundedQueue[T]) take(used []T) []T {
	clear(used)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	items := q.items
	q.items, q.weight = used[:0], 0
	q.room.Broadcast()
	return items
}

// close ends the queue: nothing more goes in, and what is in it can still be taken.
func (q *boundedQueue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
	q.room.Broadcast()
}

// drop closes the queue and forgets what is in it.
func (q *boundedQueue[T]) drop() {
	q.close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items, q.weight = nil, 0
}
