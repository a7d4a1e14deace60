package redis

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// vigil is how long a call still waits.
type vigil struct {
	end   time.Time // zero: never
	timer *time.Timer
}

func newVigil(wait time.Duration) *vigil {
	p := &vigil{timer: time.NewTimer(time.Hour)}
	if wait != rpw.Forever {
		p.end = time.Now().Add(wait)
	}
	return p
}

func (p *vigil) stop() { p.timer.Stop() }

// left is what remains of the wait, at most the time to the next look.
func (p *vigil) left(w *waker) time.Duration {
	most := w.patience()
	if p.end.IsZero() {
		return most
	}
	return min(most, time.Until(p.end))
}

// wait waits until there may be something beyond a place: a message about another one, or the time to look again. done: the wait is over.
func (p *vigil) wait(ctx context.Context, w *watch, here string) (message string, done bool, err error) {
	left := p.left(w.waker)
	if left <= 0 {
		return "", true, nil
	}
	p.timer.Reset(left)
	for {
		select {
		case message := <-w.C:
			if message == here {
				continue
			}
			return message, false, nil
		case <-p.timer.C:
			return "", !p.end.IsZero() && !time.Now().Before(p.end), nil
		case <-ctx.Done():
			return "", false, ctx.Err()
		}
	}
}

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
	left := p.left(w.waker)
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
