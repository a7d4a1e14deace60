package redis

import (
	"context"
	"sync"
	"time"

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

// turn waits for the turn in a queue; over: the wait ended before.
func (p *vigil) turn(ctx context.Context, q *queue) (over bool, err error) {
	var end <-chan time.Time
	if !p.end.IsZero() {
		p.timer.Reset(max(0, time.Until(p.end)))
		end = p.timer.C
	}
	select {
	case <-q.turn:
		return false, nil
	case <-end:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// waitDue waits for a message, for something to become due (0: nothing will), or for the time to look again. over: the wait has ended.
func (p *vigil) waitDue(ctx context.Context, w *watch, due time.Duration) (over bool, err error) {
	left := p.left()
	if due > 0 {
		left = min(left, due)
	}
	p.timer.Reset(max(0, left))
	select {
	case <-w.C:
	case <-p.timer.C:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return !p.end.IsZero() && !time.Now().Before(p.end), nil
}
