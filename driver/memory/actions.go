package memory

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
)

var _ rpw.ActionStore = (*actionStore)(nil)

// actionStore keeps actions in queues. Nothing runs while no verb is called: each verb that opens a queue first
// brings it up to now (queue.advance).
//
// Mutexes are taken in this order: a queue's, then the store's or that of the sessions. No verb waits for a queue while it holds one.
type actionStore struct {
	store    *Store
	mu       sync.RWMutex
	queues   map[string]*queue
	sessions sessions

	orders atomic.Uint64 // the last order given to a record
	tokens atomic.Uint64 // the last token of a claim

	claims   repeats[rpw.Claimed]
	advances repeats[rpw.Advanced]
	controls repeats[rpw.Controlled]
}

func newActionStore(s *Store) *actionStore {
	return &actionStore{store: s, queues: make(map[string]*queue)}
}

// flush drops all queues and sessions; who waits looks again.
func (s *actionStore) flush() {
	s.mu.Lock()
	queues := s.queues
	s.queues = make(map[string]*queue)
	s.mu.Unlock()
	for _, q := range queues {
		q.drop()
	}
	s.sessions.drop()
	s.claims.drop()
	s.advances.drop()
	s.controls.drop()
}

// open locks a queue and brings it up to now. Without create it answers nil if there is no such
// queue. The caller closes it.
func (s *actionStore) open(name string, create bool) *queue {
	for {
		s.mu.RLock()
		q := s.queues[name]
		s.mu.RUnlock()
		if q == nil {
			if !create {
				return nil
			}
			q = s.create(name)
		}
		q.mu.Lock()
		if !q.gone {
			q.advance(clock())
			return q
		}
		q.mu.Unlock() // dropped since we found it
	}
}

func (s *actionStore) create(name string) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[name]
	if q == nil {
		q = newQueue(s, name)
		s.queues[name] = q
	}
	return q
}

// forget takes an empty queue out. Its mutex is held.
func (s *actionStore) forget(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.gone = true
	if s.queues[q.name] == q { // a flush may have been quicker
		delete(s.queues, q.name)
	}
}

// names returns the queues there are, in no order.
func (s *actionStore) names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.queues))
	for name := range s.queues {
		names = append(names, name)
	}
	return names
}

// sweep removes all that is past its retention, also in queues that nobody uses any more. No queue is held.
func (s *actionStore) sweep() {
	for _, name := range s.names() {
		if q := s.open(name, false); q != nil {
			for q.retire() > 0 {
			}
			q.close()
		}
	}
}

// sweepAll is sweep for one who may hold a queue: it passes over those in use.
func (s *actionStore) sweepAll() {
	for _, name := range s.names() {
		s.mu.RLock()
		q := s.queues[name]
		s.mu.RUnlock()
		if q == nil || !q.mu.TryLock() {
			continue
		}
		if !q.gone {
			q.advance(clock())
			for q.retire() > 0 {
			}
		}
		q.close()
	}
}

// token returns a number greater than all before, and at least the time in µs.
func (s *actionStore) token(now time.Time) uint64 {
	for {
		last := s.tokens.Load()
		token := max(last+1, uint64(now.UnixMicro()))
		if s.tokens.CompareAndSwap(last, token) {
			return token
		}
	}
}

// clock is the store's clock: the wall clock alone, so that all times compare alike.
func clock() time.Time { return time.Now().Round(0) }

// repeats answers calls that are repeats of the last one of their lane. A lane carries one call at a time: a repeat that
// comes while its call is still under way waits for the same answer, and a later call ends the wait of an earlier one.
type repeats[A any] struct {
	mu       sync.Mutex
	lanes    lanes[[]A]
	underway map[[16]byte]*onLane
}

// onLane is a call that is under way.
type onLane struct {
	seq  uint64
	stop context.CancelCauseFunc
	done chan struct{} // made by the first one who waits for its end
}

var errSuperseded = rpw.Errorf(rpw.ErrConflict, "its sender has gone on to another call")

// once calls do, unless the lane's call was answered before. What is remembered is a copy: callers write into their answers.
func (r *repeats[A]) once(ctx context.Context, lane rpw.Lane, do func(context.Context) ([]A, error)) (answer []A, err error) {
	if (lane == rpw.Lane{}) {
		return do(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	call := &onLane{seq: lane.Seq, stop: stop}
	answer, hit, err := r.enter(ctx, lane, call)
	if hit || err != nil {
		return slices.Clone(answer), err
	}
	stored := false
	defer func() { r.leave(lane, call, answer, stored) }()
	answer, err = do(ctx)
	if err != nil && context.Cause(ctx) == errSuperseded {
		err = errSuperseded
	}
	stored = err == nil
	return answer, err
}

// enter finds the answer to a call, or begins it when its lane is free.
func (r *repeats[A]) enter(ctx context.Context, lane rpw.Lane, call *onLane) (answer []A, hit bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		answer, hit, err = r.lanes.recall(lane, clock())
		if hit || err != nil {
			return answer, hit, err
		}
		other := r.underway[lane.ID]
		if other == nil {
			break
		}
		if other.seq < lane.Seq {
			other.stop(errSuperseded)
		}
		if other.done == nil {
			other.done = make(chan struct{})
		}
		r.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
		r.mu.Lock()
		if err != nil {
			return answer, false, err
		}
	}
	if r.underway == nil {
		r.underway = make(map[[16]byte]*onLane)
	}
	r.underway[lane.ID] = call
	return answer, false, nil
}

// leave frees the lane, and remembers the answer if there is one.
func (r *repeats[A]) leave(lane rpw.Lane, call *onLane, answer []A, stored bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.underway, lane.ID)
	if stored {
		r.lanes.store(lane, clock(), slices.Clone(answer))
	}
	if call.done != nil {
		close(call.done)
	}
}

func (r *repeats[A]) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes = lanes[[]A]{}
}
