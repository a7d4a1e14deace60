package memory

import (
	"cmp"
	"context"
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
	repeated := true
	claimed, err := s.claims.once(ctx, req.Lane, func(ctx context.Context) ([]rpw.Claimed, error) {
		repeated = false
		claimed := s.claim(req)
		if len(claimed) > 0 || req.Wait <= 0 {
			return claimed, nil
		}
		return s.awaitClaim(ctx, req)
	})
	if repeated {
		claimed = slices.DeleteFunc(claimed, func(c rpw.Claimed) bool { return !s.holds(c.Lease) })
	}
	return claimed, err
}

// holds reports whether a lease is still good.
func (s *actionStore) holds(lease rpw.Lease) bool {
	q := s.open(lease.Ref.Queue, false)
	if q == nil {
		return false
	}
	defer q.close()
	r := q.find(lease.Ref.ID)
	return r != nil && r.State == rpw.Running && r.token == lease.Token
}

// claim takes what is ready now.
func (s *actionStore) claim(req rpw.ClaimRequest) (claimed []rpw.Claimed) {
	for _, name := range req.Queues {
		if len(claimed) == req.Max {
			break
		}
		if q := s.open(name, false); q != nil {
			claimed = q.take(claimed, req, q.ready.len())
			q.close()
		}
	}
	return claimed
}

// take adds up to n ready actions to claimed, up to the request's Max and to MaxBatchBytes in all; the first one always fits.
func (q *queue) take(claimed []rpw.Claimed, req rpw.ClaimRequest, n int) []rpw.Claimed {
	if q.paused {
		return claimed
	}
	size := 0
	for i := range claimed {
		size += answerSize(&claimed[i].Action)
	}
	for range min(n, q.ready.len(), req.Max-len(claimed)) {
		r := q.ready.first()
		if size += answerSize(&r.Action); size > rpw.MaxBatchBytes && len(claimed) > 0 {
			break
		}
		q.start(r, req.Worker, req.Lease)
		claimed = append(claimed, rpw.Claimed{Action: r.snapshot(), Lease: rpw.Lease{Ref: r.Ref, Token: r.token}})
	}
	return claimed
}

// awaitClaim takes a seat at each queue and tries them all whenever it is called.
func (s *actionStore) awaitClaim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	p := patience{req.Wait, clock()}
	c := &claimer{waiter: waiter{woken: make(chan struct{}, 1)}, max: req.Max, seats: make([]*seat, len(req.Queues))}
	defer c.leave()
	for {
		var claimed []rpw.Claimed
		var due time.Time // when to look again, whoever calls; zero: not at all
		for i, name := range req.Queues {
			q := s.open(name, true)
			q.seat(c, i)
			claimed = q.take(claimed, req, q.ready.len()-q.coming) // the rest is for those who were called
			if q.keeper == c.seats[i] {
				q.keeperAt = q.nextDue()
				if sooner(q.keeperAt, due) {
					due = q.keeperAt
				}
			}
			q.close()
		}
		now := clock()
		left := p.left(now)
		if len(claimed) > 0 || left <= 0 {
			return claimed, nil
		}
		if !due.IsZero() {
			left = min(left, due.Sub(now))
		}
		if _, err := c.wait(ctx, left); err != nil {
			return nil, err
		}
	}
}

// claimer is a Claim that waits at several queues. A call is never lost: whoever was called tries every queue
// again or leaves, and on leaving a queue that still has something ready calls the next one.
type claimer struct {
	waiter // holds one call
	max    int
	seats  []*seat // nil: none taken yet
}

// seat is a claimer's seat at one queue.
type seat struct {
	claimer *claimer
	queue   *queue
	called  bool // guarded by the queue's mutex: counted in coming, and not among the waiting
}

func (c *claimer) wake() {
	select {
	case c.woken <- struct{}{}:
	default: // it has been called and has not looked yet
	}
}

// leave gives up all seats.
func (c *claimer) leave() {
	for _, seat := range c.seats {
		if seat != nil {
			seat.queue.mu.Lock()
			seat.queue.unseat(seat)
			seat.queue.close()
		}
	}
}

// seat puts a claimer among the waiting: at the end, or at the front again if it was called. A seat at a queue that was dropped stays
// there: whoever still has that queue may use it.
func (q *queue) seat(c *claimer, i int) {
	at := c.seats[i]
	switch {
	case at == nil || at.queue != q:
		at = &seat{claimer: c, queue: q}
		c.seats[i] = at
		q.waiting = append(q.waiting, at)
	case at.called:
		at.called = false
		q.coming -= c.max
		q.waiting = slices.Insert(q.waiting, 0, at)
	}
	if q.keeper == nil {
		q.keeper = at
	}
}

func (q *queue) unseat(seat *seat) {
	if seat.called {
		q.coming -= seat.claimer.max
	} else if i := slices.Index(q.waiting, seat); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	if q.keeper == seat {
		q.keeper, q.keeperAt = nil, time.Time{}
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
	if due := q.nextDue(); q.keeper != nil && sooner(due, q.keeperAt) {
		q.keeperAt = due
		q.keeper.claimer.wake()
	}
}

// nextDue is when the agenda goes on; zero: it is empty.
func (q *queue) nextDue() time.Time {
	if q.agenda.len() == 0 {
		return time.Time{}
	}
	return q.agenda.first().due
}

// sooner compares two times, of which a zero one is never.
func sooner(a, b time.Time) bool { return !a.IsZero() && (b.IsZero() || a.Before(b)) }
