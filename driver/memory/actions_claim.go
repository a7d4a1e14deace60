package memory

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Claim leases actions that can run, waiting for some if asked to.
func (s *actionStore) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req.Max = pageSize(req.Max, 1)
	req.Lease = cmp.Or(req.Lease, rpw.DefaultLease)
	return s.claims.once(req.Lane, func() ([]rpw.Claimed, error) {
		claimed := s.claim(req)
		if len(claimed) > 0 || req.Wait <= 0 {
			return claimed, nil
		}
		return s.awaitClaim(ctx, req)
	})
}

// claim takes what is ready now.
func (s *actionStore) claim(req rpw.ClaimRequest) (claimed []rpw.Claimed) {
	for _, name := range req.Queues {
		if len(claimed) == req.Max {
			break
		}
		if q := s.open(name, false); q != nil {
			claimed = q.take(claimed, req)
			q.close()
		}
	}
	return claimed
}

// take adds ready actions to claimed, up to the request's Max.
func (q *queue) take(claimed []rpw.Claimed, req rpw.ClaimRequest) []rpw.Claimed {
	for !q.paused && len(claimed) < req.Max {
		due, ok := q.ready.top()
		if !ok {
			break
		}
		r := due.record
		q.start(r, req.Worker, req.Lease)
		claimed = append(claimed, rpw.Claimed{Action: r.snapshot(), Lease: rpw.Lease{Ref: r.Ref, Token: r.token}})
	}
	return claimed
}

// awaitClaim takes a seat at each queue and tries them all whenever it is called.
func (s *actionStore) awaitClaim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	began := clock()
	c := &claimer{calls: make(chan struct{}, 1), max: req.Max, seats: make([]seat, len(req.Queues))}
	defer c.leave()
	for {
		var claimed []rpw.Claimed
		due := int64(math.MaxInt64)
		for i, name := range req.Queues {
			q := s.open(name, true)
			q.seat(c, i)
			claimed = q.take(claimed, req)
			if q.keeper == &c.seats[i] {
				q.keeperAt = q.nextDue()
				due = min(due, q.keeperAt)
			}
			q.close()
		}
		now := clock()
		left := timeLeft(req.Wait, began, now)
		if len(claimed) > 0 || left <= 0 {
			return claimed, nil
		}
		if due < math.MaxInt64 {
			left = min(left, time.Unix(0, due).Sub(now))
		}
		if err := c.wait(ctx, left); err != nil {
			return nil, err
		}
	}
}

// claimer is a Claim that waits at several queues. A call is never lost: whoever was called tries every queue
// again or leaves, and on leaving a queue that still has something ready calls the next one.
type claimer struct {
	calls chan struct{} // holds one call
	max   int
	seats []seat
}

// seat is a claimer's seat at one queue, guarded by the queue's mutex.
type seat struct {
	claimer *claimer
	queue   *queue
	called  bool // counted in coming, and not among the waiting
}

func (c *claimer) wake() {
	select {
	case c.calls <- struct{}{}:
	default: // it has been called and has not looked yet
	}
}

// wait returns when the claimer is called or the time has passed. Forever sets no timer.
func (c *claimer) wait(ctx context.Context, most time.Duration) error {
	var timeout <-chan time.Time
	if most != rpw.Forever {
		timer := time.NewTimer(most)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-c.calls:
	case <-timeout:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// leave gives up all seats.
func (c *claimer) leave() {
	for i := range c.seats {
		if seat := &c.seats[i]; seat.queue != nil {
			seat.queue.mu.Lock()
			seat.queue.unseat(seat)
			seat.queue.close()
		}
	}
}

// seat puts a claimer among the waiting, the last if it was called.
func (q *queue) seat(c *claimer, i int) {
	seat := &c.seats[i]
	switch {
	case seat.queue != q: // the first time, or the old queue was dropped
		seat.claimer, seat.queue, seat.called = c, q, false
	case seat.called:
		seat.called = false
		q.coming -= c.max
	default:
		return
	}
	q.waiting = append(q.waiting, seat)
	if q.keeper == nil {
		q.keeper = seat
	}
}

func (q *queue) unseat(seat *seat) {
	if seat.called {
		q.coming -= seat.claimer.max
	} else if i := slices.Index(q.waiting, seat); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	if q.keeper == seat {
		q.keeper, q.keeperAt = nil, math.MaxInt64
	}
}

// call calls as many waiting claimers as there is work for, and sees to it that one of them looks when the next thing is due.
func (q *queue) call() {
	for !q.paused && q.ready.len() > q.coming && len(q.waiting) > 0 {
		seat := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		seat.called = true
		q.coming += seat.claimer.max
		seat.claimer.wake()
	}
	if q.keeper == nil && len(q.waiting) > 0 {
		q.keeper = q.waiting[0]
	}
	if due := q.nextDue(); q.keeper != nil && due < q.keeperAt {
		q.keeperAt = due
		q.keeper.claimer.wake()
	}
}

// nextDue is when the agenda goes on, in ns.
func (q *queue) nextDue() int64 {
	if due, ok := q.agenda.top(); ok {
		return due.at
	}
	return math.MaxInt64
}

// timeLeft is what remains of a wait.
func timeLeft(wait time.Duration, began, now time.Time) time.Duration {
	if wait == rpw.Forever {
		return wait
	}
	return wait - now.Sub(began)
}
