package workers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// advanceTimeout is how long one call may take while the backend is silent.
const advanceTimeout = 5 * time.Second

// pipeline carries moves to the store, one call at a time. A move leaves at once if none is under way; those
// that come meanwhile leave together in the next call (group commit).
type pipeline struct {
	store rpw.ActionStore
	ended func(...*ticket) // is told of moves that end attempts and were answered; it does not wait
	wake  chan struct{}

	mu      sync.Mutex
	waiting []*ticket
	closed  bool // it carries nothing more
}

// ticket is a move on its way to the store. It is answered, at the end of the pipeline at the latest.
type ticket struct {
	move   rpw.Move
	of     *attempt      // the attempt that the move ends; nil: somebody waits for done
	done   chan struct{} // closed when it is answered; nil if it ends an attempt
	sent   bool          // guarded by pipeline.mu
	answer rpw.Advanced
}

var errPipelineClosed = rpw.Errorf(rpw.ErrClosed, "the worker has stopped")

func newPipeline(store rpw.ActionStore, ended func(...*ticket)) *pipeline {
	return &pipeline{store: store, ended: ended, wake: make(chan struct{}, 1)}
}

// advance carries a move to the store and returns its answer.
func (p *pipeline) advance(move rpw.Move) rpw.Advanced {
	t := p.submit(move)
	<-t.done
	return t.answer
}

// submit has a move carried to the store; its answer is waited for.
func (p *pipeline) submit(move rpw.Move) *ticket {
	t := &ticket{move: move, done: make(chan struct{})}
	p.take(t)
	return t
}

// take has the move of a ticket carried to the store.
func (p *pipeline) take(t *ticket) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.waiting = append(p.waiting, t)
	}
	p.mu.Unlock()
	if closed {
		p.refuse(t)
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// await returns the answer to a move; ctx ends the wait for it.
func (p *pipeline) await(ctx context.Context, t *ticket) (rpw.Advanced, error) {
	select {
	case <-t.done:
		return t.answer, t.answer.Err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.sent {
		return rpw.Advanced{}, rpw.Errorf(rpw.ErrUncertain, "the call was given up while it was under way: %w", ctx.Err())
	}
	if i := slices.Index(p.waiting, t); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	return rpw.Advanced{}, ctx.Err()
}

// run carries moves until ctx ends.
func (p *pipeline) run(ctx context.Context) {
	defer p.close()
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		for batch := p.gather(); len(batch) > 0; batch = p.gather() {
			p.carry(ctx, batch)
		}
	}
}

func (p *pipeline) close() {
	p.mu.Lock()
	p.closed = true
	waiting := p.waiting
	p.mu.Unlock()
	p.refuse(waiting...)
}

// refuse answers what is not carried any more.
func (p *pipeline) refuse(batch ...*ticket) {
	for _, t := range batch {
		t.answer.Err = errPipelineClosed
	}
	p.tell(batch)
}

// gather takes what waits, as much as one call may carry.
func (p *pipeline) gather() []*ticket {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, 0
	for _, t := range p.waiting {
		bytes += len(t.move.Output) + len(t.move.Data) + len(t.move.Failure.Message) + len(t.move.Failure.Stack)
		if n == rpw.MaxBatch || n > 0 && bytes > rpw.MaxBatchBytes {
			break
		}
		t.sent = true
		n++
	}
	batch := p.waiting[:n:n]
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil
	}
	return batch
}

// carry sends a batch. If the store refuses a whole call, each move is judged by itself.
func (p *pipeline) carry(ctx context.Context, batch []*ticket) {
	moves := make([]rpw.Move, len(batch))
	for i, t := range batch {
		moves[i] = t.move
	}
	call, cancel := context.WithTimeout(ctx, advanceTimeout)
	answers, err := p.store.Advance(call, rpw.AdvanceRequest{Moves: moves})
	if err != nil && call.Err() != nil {
		err = rpw.Errorf(rpw.ErrUncertain, "the backend did not answer in time: %w", err)
	}
	cancel()
	if len(batch) > 1 && (errors.Is(err, rpw.ErrInvalid) || errors.Is(err, rpw.ErrTooLarge)) {
		for _, t := range batch {
			p.carry(ctx, []*ticket{t})
		}
		return
	}
	for i, t := range batch {
		if t.answer.Err = err; err == nil {
			t.answer = answers[i]
		}
	}
	p.tell(batch)
}

// tell hands out answers.
func (p *pipeline) tell(batch []*ticket) {
	var ends []*ticket
	for _, t := range batch {
		if t.of != nil {
			ends = append(ends, t)
		} else {
			close(t.done)
		}
	}
	if len(ends) > 0 {
		p.ended(ends...)
	}
}
