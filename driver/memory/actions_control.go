package memory

import (
	"cmp"
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Control commands actions and queues, each command atomic for itself.
func (s *actionStore) Control(ctx context.Context, req rpw.ControlRequest) ([]rpw.Controlled, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.controls.once(ctx, req.Lane, func(context.Context) ([]rpw.Controlled, error) {
		answers := make([]rpw.Controlled, len(req.Commands))
		for i := range req.Commands {
			answers[i] = s.control(&req.Commands[i])
		}
		return answers, nil
	})
}

func (s *actionStore) control(c *rpw.Command) rpw.Controlled {
	q := s.open(c.Ref.Queue, c.Kind == rpw.Pause)
	if q == nil {
		if c.Kind == rpw.Resume {
			return rpw.Controlled{}
		}
		return rpw.Controlled{Err: notFound(c.Ref)}
	}
	defer q.close()
	if c.Kind == rpw.Pause || c.Kind == rpw.Resume {
		q.paused = c.Kind == rpw.Pause
		return rpw.Controlled{}
	}
	r := q.find(c.Ref.ID)
	if r == nil {
		return rpw.Controlled{Err: notFound(c.Ref)}
	}
	err := q.command(r, c)
	if r.gone {
		return rpw.Controlled{}
	}
	return rpw.Controlled{State: r.State, Err: err}
}

func (q *queue) command(r *actionRecord, c *rpw.Command) error {
	switch c.Kind {
	case rpw.Cancel:
		return q.requestCancel(r, c.Reason)
	case rpw.Retry:
		return q.retry(r, c)
	case rpw.DeleteAction:
		if r.State == rpw.Running {
			return rpw.Errorf(rpw.ErrConflict, "the action is running; cancel it first")
		}
		q.remove(r)
		return nil
	case rpw.Reschedule:
		switch {
		case r.State.Terminal():
			return finished(r)
		case r.State == rpw.Running:
			return rpw.Errorf(rpw.ErrConflict, "the action is running")
		}
		q.move(r, runTime(q.now, c.Delay, c.RunAt))
		return nil
	}
	return rpw.Errorf(rpw.ErrInvalid, "%d is no kind of command", c.Kind)
}

// requestCancel cancels a pending action, and asks the holder of a running one to stop.
func (q *queue) requestCancel(r *actionRecord, reason string) error {
	switch {
	case r.State == rpw.Cancelled || r.State == rpw.Running && r.cancelling():
		return nil
	case r.State.Terminal():
		return finished(r)
	}
	r.CancelAt = q.now
	r.cancel = &rpw.ActionFailure{Message: cmp.Or(reason, "cancelled"), Attempt: r.Attempt, Time: q.now}
	if r.State == rpw.Pending {
		q.finish(r, rpw.Cancelled, r.cancel, q.now)
		r.note(rpw.ChangeCancelled, q.now, rpw.Change{Failure: r.cancel})
		return nil
	}
	q.place(r) // the grace may end before the lease
	r.note(rpw.ChangeCancel, q.now, rpw.Change{Worker: r.Worker, Failure: r.cancel})
	q.store.sessions.signal(r.Worker, rpw.Signal{
		Kind:   rpw.SignalCancel,
		Lease:  rpw.Lease{Ref: r.Ref, Token: r.token},
		Reason: reason,
		Until:  r.graceEnd(),
	})
	return nil
}

// retry lets a failed or cancelled action begin again.
func (q *queue) retry(r *actionRecord, c *rpw.Command) error {
	switch {
	case r.State == rpw.Completed:
		return finished(r)
	case !r.State.Terminal():
		return rpw.Errorf(rpw.ErrConflict, "the action is %s", r.State)
	case r.Unique != "" && q.unique[r.Unique] != nil:
		return rpw.Errorf(rpw.ErrConflict, "the unique key %s is taken by %s", rpw.QuoteName(r.Unique), rpw.QuoteName(q.unique[r.Unique].Ref.ID))
	}
	if r.Unique != "" {
		q.unique[r.Unique] = r
	}
	r.Attempt = 0
	r.Finished, r.CancelAt, r.cancel = time.Time{}, time.Time{}, nil
	r.restartExpiry(q.now)
	q.wait(r, q.now.Add(c.Delay))
	r.note(rpw.ChangeRescheduled, q.now, rpw.Change{RunAt: r.RunAt})
	return nil
}

func finished(r *actionRecord) error {
	return rpw.Errorf(rpw.ErrFinished, "the action is %s", r.State)
}
