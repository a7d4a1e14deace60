package actions

import (
	"fmt"

	"github.com/redis-process-worker/rpw"
)

// Error says that an action did not complete: it failed or was cancelled. Find it with errors.As; that of a cancelled action also
// matches rpw.ErrCancelled.
type Error struct {
	Ref     rpw.ActionRef
	State   rpw.State         // rpw.Failed or rpw.Cancelled
	Failure rpw.ActionFailure // of the last attempt, or the reason of the cancel
}

// Error has the form: rpw: action "resize/0190...": failed in attempt 5: the reason.
func (e *Error) Error() string {
	text := fmt.Sprintf("rpw: action %s: %s", rpw.QuoteName(e.Ref.String()), e.State)
	if e.State == rpw.Failed && e.Failure.Attempt > 0 {
		text += fmt.Sprintf(" in attempt %d", e.Failure.Attempt)
	}
	if e.Failure.Message != "" {
		text += ": " + e.Failure.Message
	}
	return text
}

// Unwrap gives the failure and, of a cancelled action, rpw.ErrCancelled.
func (e *Error) Unwrap() []error {
	if e.State == rpw.Cancelled {
		return []error{rpw.ErrCancelled, &e.Failure}
	}
	return []error{&e.Failure}
}

var errNilHub = rpw.Errorf(rpw.ErrInvalid, "the hub is nil")

// fault is an error of this package, in the form of those of the Hub.
func fault(op, target string, err error) error {
	return &rpw.Error{Op: op + " action", Target: target, Kind: rpw.Sentinel(rpw.Code(err)), Err: plain(err)}
}

// plain takes the kind off an explanation, so that no text says it twice.
func plain(err error) error {
	if e, ok := err.(*rpw.Error); ok && e.Op == "" {
		return e.Err
	}
	return err
}
