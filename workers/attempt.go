package workers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

// attempt is one run of a handler, or of a singleton service, under a lease.
type attempt struct {
	s         *session
	claimed   *rpw.Claimed
	handle    handler
	began     time.Time
	ctx       context.Context // of the handler
	cancel    context.CancelCauseFunc
	result    ticket      // carries the move that ends it, once its handler has returned
	ending    atomic.Bool // whoever sets it ends the attempt: the handler's return, its timeout, or stopping
	cancelled atomic.Bool // a cancel was requested
	lost      atomic.Bool // the lease is
}

// start begins attempts; each takes a slot.
func (s *session) start(attempts []*attempt) {
	s.hold(s.attempts, attempts...)
	s.mu.Lock()
	s.taken += len(attempts)
	s.ready = append(s.ready, attempts...)
	s.beckon()
	s.mu.Unlock()
	s.beater.poke()
}

// beckon sees to it that a goroutine comes for what is ready. s.mu is held.
func (s *session) beckon() {
	if len(s.ready) > 0 && !s.coming {
		s.coming = true
		s.launch(s.work)
	}
}

// work runs handlers one after the other, while some are ready. Each may take long, so another goroutine comes for what is ready behind it: there are as many
// goroutines as handlers that take long, and few for those that end at once.
func (s *session) work() {
	s.mu.Lock()
	for s.coming = false; len(s.ready) > 0; s.mu.Lock() {
		a := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		s.beckon()
		s.mu.Unlock()
		a.run()
	}
	s.mu.Unlock()
}

// hold keeps the leases of attempts and lets them receive signals, also those that came before them.
func (s *session) hold(among map[rpw.Lease]*attempt, attempts ...*attempt) {
	s.mu.Lock()
	for _, a := range attempts {
		among[a.claimed.Lease] = a
		for _, signal := range s.early {
			if signal.Lease == a.claimed.Lease {
				a.requestCancel()
			}
		}
	}
	s.mu.Unlock()
	for _, a := range attempts {
		s.keeper.Hold(a, a.began, s.config.Lease, a.lose)
	}
}

func (s *session) drop(from map[rpw.Lease]*attempt, attempts ...*attempt) {
	for _, a := range attempts {
		s.keeper.Drop(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range attempts {
		delete(from, a.claimed.Lease)
	}
}

// leaveSlot frees the slot of a handler that has returned: the next one does not wait until the result is stored. Stopping waits for the attempt until it is finished.
func (s *session) leaveSlot() {
	s.mu.Lock()
	s.taken--
	s.live++
	s.mu.Unlock()
	s.tellFreed()
}

func (s *session) tellFreed() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// finish ends attempts whose handlers have returned and whose results are settled.
func (s *session) finish(attempts ...*attempt) {
	for _, a := range attempts {
		a.cancel(nil)
	}
	s.drop(s.attempts, attempts...)
	s.tellFreed()
	s.beater.poke()
	s.mu.Lock()
	defer s.mu.Unlock()
	for range attempts {
		s.left()
	}
}

// context tells the handler, and what it calls, of the action.
func (a *attempt) context(ctx context.Context) context.Context {
	c := a.claimed
	ctx = rpw.WithOrigin(ctx, rpw.Origin{Worker: a.s.config.Name, Action: c.Ref, Attempt: c.Attempt})
	return actions.NewContext(ctx, actions.Run{
		Ref: c.Ref, Name: c.Name, Token: c.Lease.Token, Attempt: c.Attempt, MaxAttempts: c.MaxAttempts,
		Worker: a.s.config.ID, Created: c.Created, Data: c.Data,
	}, a.report)
}

// run calls the handler and ends the attempt with what came of it: a result, an error, a panic, or runtime.Goexit. An attempt that was handed back before
// it could begin, on a busy machine, is none.
func (a *attempt) run() {
	if a.ending.Load() {
		a.s.leaveSlot()
		a.s.finish(a)
		return
	}
	ctx := a.context(a.ctx)
	inTime := func() {}
	if d := a.claimed.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, timeout(d))
		defer cancel()
		inTime = a.failAfter(d)
	}
	var output json.RawMessage
	err := errGoexit
	defer func() {
		if p := recover(); p != nil {
			err = a.s.caught(ctx, p)
		}
		cause := context.Cause(ctx)
		inTime()
		a.s.leaveSlot()
		if a.ending.CompareAndSwap(false, true) {
			a.end(a.conclude(ctx, output, err, cause))
		} else {
			a.s.finish(a)
		}
	}()
	output, err = a.handle(ctx, a.claimed.Arg)
}

// conclude is verdict, also of an error whose own methods panic: often a nil pointer in an error.
func (a *attempt) conclude(ctx context.Context, output json.RawMessage, err, cause error) (move rpw.Move) {
	defer func() {
		if p := recover(); p != nil {
			move = a.failed(a.s.caught(ctx, p))
		}
	}()
	return a.verdict(output, err, cause)
}

var errGoexit = errors.New("it called runtime.Goexit")

// failAfter fails the attempt if its handler, whose ctx ends after d, has not returned by the end of the cancel grace. The
// function it returns is called when it has.
func (a *attempt) failAfter(d time.Duration) (returned func()) {
	done := make(chan struct{})
	grace := cmp.Or(a.claimed.CancelGrace, rpw.DefaultCancelGrace)
	timer := time.AfterFunc(d+grace, func() {
		defer close(done)
		if a.ending.CompareAndSwap(false, true) {
			move := a.failed(fmt.Errorf("%w, and its handler did not return within %v", timeout(d), grace))
			a.settle(move, a.advance(move))
		}
	})
	return func() {
		if !timer.Stop() {
			<-done
		}
	}
}

// verdict is the move that ends the attempt after its handler has returned.
func (a *attempt) verdict(output json.RawMessage, err, cause error) rpw.Move {
	late, isLate := errors.AsType[timeout](cause)
	switch {
	case a.cancelled.Load():
		return rpw.Move{Kind: rpw.AcceptCancel}
	case err == nil:
		return rpw.Move{Kind: rpw.Complete, Output: output}
	case cause == errStopping:
		return rpw.Move{Kind: rpw.Giveback}
	case isLate && (err == context.DeadlineExceeded || err == error(late)):
		return a.failed(late)
	case isLate:
		return a.failed(fmt.Errorf("%w: %w", late, err))
	}
	return a.failed(err)
}

func (a *attempt) failed(err error) rpw.Move {
	failure := rpw.ActionFailure{Message: strings.ToValidUTF8(err.Error(), "\uFFFD"), Permanent: rpw.IsPermanent(err)}
	if p, ok := errors.AsType[*panicError](err); ok {
		failure.Stack = p.stack
	}
	wait := a.claimed.Backoff.RetryDelay(a.claimed.Attempt, err)
	return rpw.Move{Kind: rpw.Fail, Failure: failure, RetryIn: min(wait, rpw.MaxDelay)}
}

// end has the move that ends the attempt carried to the store; nobody waits for its answer but the attempt itself, in ended.
func (a *attempt) end(move rpw.Move) {
	move.Lease = a.claimed.Lease
	a.result = ticket{move: move, of: a}
	if a.lost.Load() {
		a.result.answer.Err = rpw.ErrLeaseLost
		a.s.ended(&a.result)
	} else {
		a.s.pipe.take(&a.result)
	}
}

// ended finishes attempts by the answers to the moves that end them: at once what was taken, all together; what failed, or is told in the log, each on its own.
func (s *session) ended(results ...*ticket) {
	done := make([]*attempt, 0, len(results))
	for _, r := range results {
		if r.answer.Err == nil && r.move.Kind != rpw.Fail {
			r.of.count(r.move.Kind, nil)
			done = append(done, r.of)
			continue
		}
		s.spawn(func() {
			r.of.settle(r.move, r.answer)
			s.finish(r.of)
		})
	}
	s.finish(done...)
}

// settle goes on from the answer to the move that ends the attempt: through outages, until the move is taken, the lease is lost, or the session ends.
func (a *attempt) settle(move rpw.Move, answer rpw.Advanced) {
	for n := 1; ; n++ {
		err := answer.Err
		switch {
		case err == nil, errors.Is(err, rpw.ErrCancelled):
			a.count(move.Kind, err)
			if err == nil && move.Kind == rpw.Fail {
				a.logFailure(move, answer.State)
			}
			return
		case move.Kind == rpw.Complete && (errors.Is(err, rpw.ErrInvalid) || errors.Is(err, rpw.ErrTooLarge)):
			move = a.failed(rpw.Permanent(fmt.Errorf("the store refused the output: %w", err)))
		case !isTransient(err) || !sleep(a.s.hard, retries.RetryDelay(n, nil)) || a.lost.Load():
			a.giveUp(err)
			return
		}
		answer = a.advance(move)
	}
}

func (a *attempt) advance(move rpw.Move) rpw.Advanced {
	move.Lease = a.claimed.Lease
	return a.s.pipe.advance(move)
}

// giveUp drops the result.
func (a *attempt) giveUp(err error) {
	a.lost.Store(true)
	if a.cancelled.Load() { // the store has cancelled it without waiting for the handler
		a.s.stats.cancelled.Add(1)
		return
	}
	a.s.stats.lost.Add(1)
	a.s.config.Logger.Warn("rpw: the result of an attempt is dropped", "worker", a.s.config.Name,
		"action", a.claimed.Ref.String(), "attempt", a.claimed.Attempt, "err", err)
}

// logFailure tells of an attempt that failed: a warning, if another one follows.
func (a *attempt) logFailure(move rpw.Move, state rpw.State) {
	log := a.s.config.Logger.With("worker", a.s.config.Name, "action", a.claimed.Ref.String(), "name", a.claimed.Name,
		"attempt", a.claimed.Attempt, "err", move.Failure.Message)
	if state == rpw.Failed {
		log.Error("rpw: an action failed")
	} else {
		log.Warn("rpw: an attempt failed, another follows", "in", move.RetryIn)
	}
}

func (a *attempt) count(move rpw.MoveKind, err error) {
	stats := &a.s.stats
	switch {
	case err != nil || move == rpw.AcceptCancel:
		stats.cancelled.Add(1)
	case move == rpw.Complete:
		stats.completed.Add(1)
	case move == rpw.Fail:
		stats.failed.Add(1)
	case move == rpw.Giveback:
		stats.handedBack.Add(1)
	}
}

// handBackAll hands back every attempt that has not ended; their handlers have been told to stop and still run.
func (s *session) handBackAll(ctx context.Context) {
	s.mu.Lock()
	var unfinished []rpw.Claimed
	for _, a := range s.attempts {
		if a.ending.CompareAndSwap(false, true) {
			unfinished = append(unfinished, *a.claimed)
		}
	}
	s.mu.Unlock()
	s.handBack(ctx, 0, unfinished...)
}

// report is what Progress and Event do.
func (a *attempt) report(ctx context.Context, move rpw.Move) error {
	move.Lease = a.claimed.Lease
	answer, err := a.s.pipe.await(ctx, a.s.pipe.submit(move))
	a.heed(answer, err)
	return err
}

// renew asks for more time for attempts, for the keeper.
func (s *session) renew(ctx context.Context, attempts []*attempt) []error {
	moves := make([]rpw.Move, len(attempts))
	for i, a := range attempts {
		moves[i] = rpw.Move{Kind: rpw.Renew, Lease: a.claimed.Lease}
	}
	errs := make([]error, len(attempts))
	answers, err := s.store.Advance(ctx, rpw.AdvanceRequest{Moves: moves})
	for i := range errs {
		if errs[i] = err; err == nil {
			errs[i] = answers[i].Err
			attempts[i].heed(answers[i], nil) // the keeper tells of a loss
		}
	}
	return errs
}

// heed takes from an answer of the store what it says about the attempt.
func (a *attempt) heed(answer rpw.Advanced, err error) {
	if answer.Cancel {
		a.requestCancel()
	}
	if isLost(err) {
		a.lose(err)
	}
}

func (a *attempt) requestCancel() {
	a.cancelled.Store(true)
	a.cancel(rpw.ErrCancelled)
}

func (a *attempt) lose(error) {
	a.lost.Store(true)
	a.cancel(rpw.ErrLeaseLost)
}

// isLost: the lease does not hold any more.
func isLost(err error) bool {
	return errors.Is(err, rpw.ErrLeaseLost) || errors.Is(err, rpw.ErrNotFound) ||
		errors.Is(err, rpw.ErrFinished) || errors.Is(err, rpw.ErrCancelled)
}

// timeout is the cause of the end of a handler's ctx after that time.
type timeout time.Duration

func (t timeout) Error() string { return "timed out after " + time.Duration(t).String() }
func (t timeout) Unwrap() error { return context.DeadlineExceeded }

// panicError is what was recovered from code of users.
type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// caught makes an error of a panic, in the function that recovered it.
func (s *session) caught(ctx context.Context, value any) error {
	p := &panicError{value, string(debug.Stack())}
	s.stats.panics.Add(1)
	s.config.Logger.ErrorContext(ctx, "rpw: panic in a worker", "worker", s.config.Name, "panic", p.Error(), "stack", p.stack)
	return p
}
