package workers

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// How long an action that nobody here can run is left to others before it can come back.
const unhandledDelay = 5 * time.Second

// maxUnknown bounds the names of actions without a handler that are remembered as logged.
const maxUnknown = 100

// claimAll claims as many actions as there are free slots, until the worker is asked to stop.
func (s *session) claimAll() {
	ctx := s.soft
	lane := rpw.Lane{Seq: 1}
	rand.Read(lane.ID[:])
	trouble := outage{log: s.config.Logger, what: "claim"}
	req := rpw.ClaimRequest{Queues: slices.Clone(s.queues), Worker: s.config.ID, Lease: s.config.Lease, Wait: rpw.Forever}
	for unknown := false; ; { // whether the outcome of the last claim is
		req.Lane, req.Max = lane, s.awaitSlots(ctx)
		if req.Max == 0 {
			if unknown {
				s.recall(req)
			}
			return
		}
		claimed, err := s.store.Claim(ctx, req)
		if unknown = errors.Is(err, rpw.ErrUncertain); !unknown {
			lane.Seq++ // one of unknown outcome is repeated as the same call, so that nothing is leased to nobody
		}
		switch {
		case ctx.Err() != nil: // what a claim was given that the stop has cut short the Hub hands back
			s.handBack(s.hard, 0, claimed...)
		case err == nil:
			trouble.over()
			s.setClaimFault(nil)
			s.beginAll(claimed)
			rotate(req.Queues)
		case isFatal(err):
			s.fail(err)
			return
		default:
			s.setClaimFault(err)
			trouble.pause(ctx, err)
		}
	}
}

// recall hands back what the last claim was given, if the stop came before it could be made again.
func (s *session) recall(req rpw.ClaimRequest) {
	ctx, cancel := context.WithTimeout(s.hard, stopAll)
	defer cancel()
	req.Wait = 0
	claimed, _ := s.store.Claim(ctx, req)
	s.handBack(s.hard, 0, claimed...)
}

// rotate gives each queue its turn to be the first.
func rotate(queues []string) {
	first := queues[0]
	queues[copy(queues, queues[1:])] = first
}

// isFatal: a claim that can never work.
func isFatal(err error) bool {
	return errors.Is(err, rpw.ErrInvalid) || errors.Is(err, rpw.ErrClosed) || errors.Is(err, errors.ErrUnsupported)
}

func (s *session) setClaimFault(err error) {
	s.mu.Lock()
	_, faulty := s.faults["claim"]
	s.mu.Unlock()
	if faulty != (err != nil) {
		s.setFault("claim", err)
	}
}

// awaitSlots waits until a slot is free and returns how many are; 0: ctx ended.
func (s *session) awaitSlots(ctx context.Context) int {
	for ctx.Err() == nil {
		if free := s.free(); free > 0 {
			return min(free, rpw.MaxPage)
		}
		select {
		case <-s.freed:
			runtime.Gosched() // results are stored in groups: the others of the group free their slots, too
		case <-ctx.Done():
		}
	}
	return 0
}

// free is how many slots are. Results that are not stored yet are bounded: as many as slots.
func (s *session) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.config.Concurrency-s.taken, 2*s.config.Concurrency-len(s.attempts))
}

// beginAll starts the handlers of what was claimed, and hands back what has none here.
func (s *session) beginAll(claimed []rpw.Claimed) {
	granted := time.Now()
	attempts := make([]*attempt, 0, len(claimed))
	var unhandled []rpw.Claimed
	for i := range claimed {
		c := &claimed[i]
		handle := s.handlers[kind{c.Ref.Queue, c.Name}]
		if handle == nil {
			unhandled = append(unhandled, *c)
			continue
		}
		a := &attempt{s: s, claimed: c, handle: handle, began: granted}
		a.ctx, a.cancel = context.WithCancelCause(s.handling)
		attempts = append(attempts, a)
	}
	s.stats.claimed.Add(int64(len(attempts)))
	s.start(attempts)
	runtime.Gosched() // the handlers begin before the next claim
	for _, c := range unhandled {
		s.logUnknown(kind{c.Ref.Queue, c.Name})
	}
	s.handBack(s.hard, unhandledDelay, unhandled...)
}

func (s *session) logUnknown(of kind) {
	s.mu.Lock()
	known := s.unknown[of] || len(s.unknown) >= maxUnknown
	if !known {
		s.unknown[of] = true
	}
	s.mu.Unlock()
	if !known {
		s.config.Logger.Warn("rpw: no handler here for an action; it is left to other workers", "worker", s.config.Name, "queue", of.queue, "action", of.name)
	}
}

// handBack returns claimed actions untouched, to be claimed again after delay.
func (s *session) handBack(ctx context.Context, delay time.Duration, claimed ...rpw.Claimed) {
	tickets := make([]*ticket, len(claimed))
	for i := range claimed {
		tickets[i] = s.pipe.submit(rpw.Move{Kind: rpw.Giveback, Lease: claimed[i].Lease, RetryIn: delay})
	}
	for _, t := range tickets {
		if _, err := s.pipe.await(ctx, t); err == nil {
			s.stats.handedBack.Add(1)
		}
	}
}
