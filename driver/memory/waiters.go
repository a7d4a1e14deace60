package memory

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/timer"
)

// waiters are the calls that wait for something to happen, the longest waiting first. The mutex of
// whatever they wait for guards it: register under the mutex, wait without it.
//
//	w := list.add()
//	mu.Unlock()
//	woken, err := w.wait(ctx, most)
//	mu.Lock()
//	if !woken {
//		list.remove(w)
//	}
type waiters struct {
	head, tail *waiter
}

// waiter is one waiting call. It waits once.
type waiter struct {
	woken      chan struct{} // made by the waiting goroutine, as testing/synctest needs it
	prev, next *waiter
	queued     bool
	taken      bool // the wake was seen by the waiting goroutine, which alone uses this field
}

func (l *waiters) empty() bool { return l.head == nil }

// add registers the calling goroutine at the end of the list.
func (l *waiters) add() *waiter {
	w := &waiter{woken: make(chan struct{}, 1), prev: l.tail, queued: true}
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
	return w
}

// remove takes out a waiter that gave up. If it was woken just then, its wake goes to the next one.
func (l *waiters) remove(w *waiter) {
	switch {
	case w.queued:
		l.unlink(w)
	case !w.taken:
		w.taken = true
		l.wake(1)
	}
}

// wake wakes the n waiters that have waited longest.
func (l *waiters) wake(n int) {
	for ; n > 0 && l.head != nil; n-- {
		w := l.head
		l.unlink(w)
		w.woken <- struct{}{}
	}
}

func (l *waiters) wakeAll() {
	for l.head != nil {
		l.wake(1)
	}
}

func (l *waiters) unlink(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}

// wait waits for a wake, for most (rpw.Forever: without an end), or for the end of ctx, whose error it returns.
// After anything but a wake the waiter must be removed.
func (w *waiter) wait(ctx context.Context, most time.Duration) (woken bool, err error) {
	var over <-chan time.Time
	if most != rpw.Forever {
		late, stop := timer.After(most)
		defer stop()
		over = late
	}
	select {
	case <-w.woken:
		if err := ctx.Err(); err != nil {
			return false, err
		}
		w.taken = true
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-over:
		return false, nil
	}
}

// patience is how long a call still waits.
type patience struct {
	wait  time.Duration
	since time.Time
}

// left is what remains of the wait: 0 when it is over, rpw.Forever if it has no end.
func (p patience) left(now time.Time) time.Duration {
	if p.wait == rpw.Forever {
		return rpw.Forever
	}
	return max(0, p.wait-now.Sub(p.since))
}
