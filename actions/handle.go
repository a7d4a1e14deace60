package actions

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Handle is an action that was started, with what follows it. It is a value; its Ref is all that another process needs to make the same
// one (Definition.Handle).
type Handle[Out any] struct {
	Ref      rpw.ActionRef
	Existing bool // Start found it: the same id, or the same unique key
	hub      *rpw.Hub
}

// Wait waits until the action is finished; see Definition.Wait.
func (h Handle[Out]) Wait(ctx context.Context) (out Out, err error) {
	if err := h.check(ctx, "wait for"); err != nil {
		return out, err
	}
	req := rpw.ChangesRequest{Ref: h.Ref, Max: 1, Wait: rpw.Forever, Final: true}
	for {
		changes, err := through(ctx, h.hub.Actions().Changes, req)
		if _, gap := errors.AsType[*rpw.GapError](err); gap { // older changes do not matter here
			var u Update[Out]
			if u, err = h.snapshot(ctx); err == nil && u.State.Terminal() {
				return u.Result, u.Err
			}
			req.After = u.Seq
		}
		if err != nil {
			return out, err
		}
		if len(changes) > 0 {
			u := h.update(changes[0])
			return u.Result, u.Err
		}
	}
}

// Cancel asks for the action to be cancelled, and says what state it is in after that: rpw.Cancelled if no attempt was running; rpw.Running
// if a handler was asked to stop, which Wait tells of. ErrFinished: it had completed or failed before.
func (h Handle[Out]) Cancel(ctx context.Context, reason string) (rpw.State, error) {
	if err := h.check(ctx, "cancel"); err != nil {
		return "", err
	}
	answers, err := h.hub.Actions().Control(ctx, rpw.ControlRequest{
		Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: h.Ref, Reason: reason}},
	})
	if err != nil {
		return "", err
	}
	return answers[0].State, answers[0].Err
}

func (h Handle[Out]) check(ctx context.Context, op string) error {
	switch {
	case h.hub == nil:
		return fault(op, h.Ref.String(), errNilHub)
	case ctx == nil:
		return fault(op, h.Ref.String(), rpw.Errorf(rpw.ErrInvalid, "the context is nil"))
	}
	return nil
}

// result is what a terminal state means to who waits.
func (h Handle[Out]) result(state rpw.State, output json.RawMessage, failure *rpw.ActionFailure) (out Out, err error) {
	if state != rpw.Completed {
		e := &Error{Ref: h.Ref, State: state}
		if failure != nil {
			e.Failure = *failure
		}
		return out, e
	}
	if err := json.Unmarshal(output, &out); err != nil {
		err = rpw.Errorf(rpw.ErrConflict, "its output does not read as %T: %w", out, err)
		return out, fault("result of", h.Ref.String(), err)
	}
	return out, nil
}

// through calls a verb that only reads, through outages, until ctx ends.
func through[Q, A any](ctx context.Context, verb func(context.Context, Q) (A, error), req Q) (A, error) {
	pauses := rpw.Backoff{First: 50 * time.Millisecond, Max: time.Second, Jitter: 1}
	for n := 1; ; n++ {
		answer, err := verb(ctx, req)
		if !errors.Is(err, rpw.ErrUnavailable) {
			return answer, err
		}
		pause := time.NewTimer(pauses.RetryDelay(n, nil))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return answer, ctx.Err()
		}
	}
}
