package memory

import (
	"context"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// waiters are the calls that wait for something, the longest waiting first. The owner's mutex guards it.
type waiters struct{ list []*waiter }

type waiter struct {
	woken chan struct{}
}

func (ws *waiters) add() *waiter {
	w := &waiter{woken: make(chan struct{}, 1)}
	ws.list = append(ws.list, w)
	return w
}

// remove takes w out; a wake it did not use passes on.
func (ws *waiters) remove(w *waiter) {
	if i := slices.Index(ws.list, w); i >= 0 {
		ws.list = slices.Delete(ws.list, i, i+1)
		return
	}
	select {
	case <-w.woken:
		ws.wake(1)
	default:
	}
}

func (ws *waiters) wake(n int) {
	for ; n > 0 && len(ws.list) > 0; n-- {
		ws.list[0].woken <- struct{}{}
		ws.list = slices.Delete(ws.list, 0, 1)
	}
}

func (ws *waiters) wakeAll() { ws.wake(len(ws.list)) }

// wait is called without the mutex. Forever sets no timer.
func (w *waiter) wait(ctx context.Context, max time.Duration) (woken bool, err error) {
	var timeout <-chan time.Time
	if max != rpw.Forever {
		timer := time.NewTimer(max)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-w.woken:
		return true, nil
	case <-timeout:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
