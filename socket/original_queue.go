package socket

import "sync"

// boundedQueue hands items to one goroutine, in order. Who puts an item waits while those that are there leave no room for it, so
// the queue holds no more than its limit, or one item, whatever that weighs.
type boundedQueue[T any] struct {
	limit int

	mu     sync.Mutex
	filled sync.Cond
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

// put adds an item as soon as there is room. false: the queue is closed, and the item is not in it.
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

// keptItems is for how many items a queue keeps the memory of those that were taken.
const keptItems = 1024

// take waits for items and takes all there are. It reuses the memory of those that were taken before. No items: the queue was closed
// and is empty.
func (q *boundedQueue[T]) take(before []T) []T {
	clear(before)
	if cap(before) > keptItems {
		before = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	items := q.items
	q.items, q.weight = before[:0], 0
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
	q.take(nil)
}
