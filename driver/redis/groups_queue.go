package redis

import (
	"sync"

	"github.com/redis-process-worker/rpw"
)

// queues are the fetches that wait, by group.
type queues struct {
	mu      sync.Mutex
	byGroup map[string]*queue
}

// queue lets the waiting fetches of one group take turns. Who has the turn watches for all: a new event, or one that is due again,
// then costs one look and not one of each.
type queue struct {
	name    string
	waiting int
	turn    chan struct{} // holds one token, unless somebody has the turn
}

// join adds a fetch to the queue of its group.
func (qs *queues) join(stream, group string) *queue {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	name := rpw.DeadLetter(stream, group)
	q := qs.byGroup[name]
	if q == nil {
		q = &queue{name: name, turn: make(chan struct{}, 1)}
		q.turn <- struct{}{}
		qs.byGroup[name] = q
	}
	q.waiting++
	return q
}

func (qs *queues) leave(q *queue) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q.waiting--; q.waiting == 0 {
		delete(qs.byGroup, q.name)
	}
}

// pass gives the turn to the next one.
func (q *queue) pass() { q.turn <- struct{}{} }
