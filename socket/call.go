package socket

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/redis-process-worker/rpw"
)

// call makes a call over the link. A request that waits is sent again over the next connection when one is lost: it holds the position or the lane
// that keep it from losing or doubling anything. Any other is not: the Hub repeats what is safe to repeat.
func call[Q, A any](ctx context.Context, l *remote, v *verb[Q, A], q Q) (answer A, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	if wait := v.waits(&q); wait != nil {
		return callWaiting(ctx, l, v, q, wait)
	}
	within, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c, err := l.connected(within, true)
	if err != nil {
		return answer, v.outcome(ctx, false, err)
	}
	reply, sent, err := c.ask(within, v.toSend(l, &q, false))
	if err != nil {
		return answer, v.outcome(ctx, sent, err)
	}
	return v.read(&q, reply)
}

func callWaiting[Q, A any](ctx context.Context, l *remote, v *verb[Q, A], q Q, wait *time.Duration) (answer A, err error) {
	p := patience{*wait, time.Now()}
	for again := false; ; again = true {
		c, err := l.await(ctx, p, !again) // who has waited already is not in a hurry
		if err != nil {
			return answer, v.outcome(ctx, false, err)
		}
		if *wait = p.left(); c.crowded() {
			*wait = min(*wait, crowdedWait)
		}
		reply, _, err := c.ask(ctx, v.toSend(l, &q, *wait > 0))
		switch {
		case err == nil:
			return v.read(&q, reply)
		case err != errLost:
			return answer, v.outcome(ctx, false, err)
		}
	}
}

// patience is how long a call waits.
type patience struct {
	wait  time.Duration
	began time.Time
}

func (p patience) left() time.Duration {
	if p.wait == rpw.Forever {
		return p.wait
	}
	return max(0, p.wait-time.Since(p.began))
}

// await is connected for a call that waits: as long as it does, but not shorter than others.
func (l *remote) await(ctx context.Context, p patience, urgent bool) (*client, error) {
	if p.wait == rpw.Forever {
		return l.connected(ctx, urgent)
	}
	ctx, cancel := context.WithTimeout(ctx, max(p.left(), l.timeout))
	defer cancel()
	return l.connected(ctx, urgent)
}

// toSend is a request for a verb.
func (v *verb[Q, A]) toSend(l *remote, q *Q, waits bool) request {
	r := request{kind: packetRequest, waits: waits, body: func(b []byte) []byte {
		return v.request.append(binary.AppendUvarint(b, v.number), q)
	}}
	if v.undo != nil {
		r.late = func(body []byte, done func()) {
			l.tasks.Go(func() {
				defer done()
				var a A
				if v.answer.parse(body, &a) == nil {
					v.handBack(l.ctx, l.parts(), q, a)
				}
			})
		}
	}
	return r
}

// read takes the answer out of a reply. One that does not fit the request is as good as none: those who asked rely on it.
func (v *verb[Q, A]) read(q *Q, reply packet) (answer A, err error) {
	if reply.kind == packetFailure {
		var f failure
		if err = failurePlan.parse(reply.body, &f); err == nil {
			if failed := f.err(); failed != nil {
				return answer, failed
			}
			err = rpw.Errorf(rpw.ErrInvalid, "it is a failure that does not say which")
		}
	} else if err = v.answer.parse(reply.body, &answer); err == nil && v.fits != nil && !v.fits(q, &answer) {
		err = rpw.Errorf(rpw.ErrInvalid, "it has not an item for each of the request")
	}
	if err != nil && !v.reads { // whatever it says, something may have been done
		err = rpw.Errorf(rpw.ErrUncertain, "the server's answer cannot be read: %v", err)
	}
	return answer, err
}

// outcome makes of an error without a reply what the caller sees. His own context ends nothing but his wait.
func (v *verb[Q, A]) outcome(ctx context.Context, sent bool, err error) error {
	uncertain := sent && !v.reads
	switch left := ctx.Err(); {
	case left != nil && (!uncertain || v.undo != nil): // what has an undo is handed back
		return left
	case left != nil:
		return rpw.Errorf(rpw.ErrUncertain, "the call was cut while the server was at it: %w", left)
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("no answer in time")
	case err != errLost:
		return err
	}
	if uncertain {
		return rpw.Errorf(rpw.ErrUncertain, "%w", err)
	}
	return rpw.Errorf(rpw.ErrUnavailable, "%w", err)
}
