package memory

import (
	"bytes"
	"cmp"
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Advance moves claimed actions, each fenced by its lease.
func (s *actionStore) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.advances.once(ctx, req.Lane, func(context.Context) ([]rpw.Advanced, error) {
		answers := make([]rpw.Advanced, len(req.Moves))
		for i := 0; i < len(req.Moves); {
			name := req.Moves[i].Lease.Ref.Queue
			q := s.open(name, false)
			for ; i < len(req.Moves) && req.Moves[i].Lease.Ref.Queue == name; i++ { // a run of moves in one queue
				if q == nil {
					answers[i].Err = notFound(req.Moves[i].Lease.Ref)
				} else {
					answers[i] = q.answer(&req.Moves[i])
				}
			}
			if q != nil {
				q.close()
			}
		}
		return answers, nil
	})
}

// answer applies a move and says what the action has become.
func (q *queue) answer(m *rpw.Move) rpw.Advanced {
	r := q.find(m.Lease.Ref.ID)
	if r == nil {
		return rpw.Advanced{Err: notFound(m.Lease.Ref)}
	}
	err := q.settle(r, m)
	answer := rpw.Advanced{State: r.State, Err: err}
	if err == nil && r.State == rpw.Running && r.token == m.Lease.Token {
		answer.Until, answer.Cancel = r.Until, r.cancelling()
	}
	return answer
}

// settle applies a move if its lease still holds.
func (q *queue) settle(r *actionRecord, m *rpw.Move) error {
	if r.State != rpw.Running || r.token != m.Lease.Token {
		return r.refuse(m)
	}
	switch m.Kind {
	case rpw.Renew:
		until := q.now.Add(cmp.Or(m.For, r.lease))
		sooner := until.Before(r.Until)
		r.Until = until
		q.place(r)
		if sooner {
			r.wake() // who watches must look at the time again
		}
		return nil
	case rpw.SetProgress:
		if m.Progress >= 0 {
			r.Progress = m.Progress
		}
		if m.Data != nil {
			r.Data = bytes.Clone(m.Data)
		}
		if until := q.now.Add(r.lease); until.After(r.Until) { // a longer Renew stands
			r.Until = until
			q.place(r)
		}
		r.note(rpw.ChangeData, q.now, rpw.Change{Worker: r.Worker, Progress: r.Progress, Data: r.Data})
		return nil
	case rpw.AddEvent:
		r.note(rpw.ChangeEvent, q.now, rpw.Change{Worker: r.Worker, Event: m.Event, Data: bytes.Clone(m.Data)})
		return nil
	case rpw.Complete, rpw.Fail, rpw.Giveback, rpw.AcceptCancel:
		return q.end(r, m)
	}
	return rpw.Errorf(rpw.ErrInvalid, "%d is no kind of move", m.Kind)
}

// end lets the holder of a running record give up its lease.
func (q *queue) end(r *actionRecord, m *rpw.Move) error {
	var err error
	switch {
	case r.cancelling():
		q.endCancelled(r, q.now)
		if m.Kind == rpw.Complete || m.Kind == rpw.Fail {
			err = rpw.Errorf(rpw.ErrCancelled, "the action was cancelled before it ended")
		}
	case m.Kind == rpw.Complete:
		r.Output = bytes.Clone(m.Output)
		q.finish(r, rpw.Completed, nil, q.now)
		r.note(rpw.ChangeCompleted, q.now, rpw.Change{Worker: r.Worker, Output: r.Output})
	case m.Kind == rpw.Fail:
		q.fail(r, m.Failure, q.now, q.now.Add(m.RetryIn))
	case m.Kind == rpw.Giveback:
		q.giveBack(r, m)
	default:
		return rpw.Errorf(rpw.ErrConflict, "no cancel of the action was requested")
	}
	r.ended = ending{token: m.Lease.Token, kind: m.Kind, err: err, final: r.State.Terminal()}
	return err
}

// giveBack undoes an attempt.
func (q *queue) giveBack(r *actionRecord, m *rpw.Move) {
	r.Attempt--
	if r.Attempt == 0 { // none has begun
		r.Started = time.Time{}
		if !r.startBy.IsZero() && r.startBy.Before(q.now) {
			r.startBy = q.now // it expires now, not in the past
		}
	}
	q.wait(r, q.now.Add(m.RetryIn))
	r.note(rpw.ChangeReleased, q.now, rpw.Change{Worker: r.Worker, RunAt: r.RunAt})
}

// refuse answers a move whose lease does not hold any more, or a repeat of the one that ended it.
func (r *actionRecord) refuse(m *rpw.Move) error {
	switch ended := r.ended; {
	case ended.token != m.Lease.Token || ended.kind == 0:
		return rpw.Errorf(rpw.ErrLeaseLost, "the lease has ended; stop working on %s", rpw.QuoteName(r.Ref.ID))
	case ended.kind == m.Kind:
		return ended.err
	case ended.final && r.token == ended.token && r.State.Terminal():
		return rpw.Errorf(rpw.ErrFinished, "the holder of this lease has ended the action in another way")
	}
	return rpw.Errorf(rpw.ErrLeaseLost, "the holder of this lease has given it up")
}

func notFound(ref rpw.ActionRef) error {
	return rpw.Errorf(rpw.ErrNotFound, "there is no action %s in this queue", rpw.QuoteName(ref.ID))
}
