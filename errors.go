package rpw

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Sentinels, for errors.Is. Every error of a Hub matches exactly one of them, or is a
// context error, a *GapError, or errors.ErrUnsupported. The same mistake gets the same
// sentinel on every driver.
var (
	// ErrNotFound: the stream, group, action or worker does not exist. A cache miss is not an error.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the present state contradicts the request: a condition failed, an id is
	// taken by something else, a group exists with other settings, a key is of another kind.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: the request can never work as it is; the text says what to change. Nothing was sent.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: a payload, batch or result is over its limit. Nothing was done.
	ErrTooLarge = errors.New("too large")
	// ErrFull: the store is out of memory or space. Nothing was done; it is not retried.
	ErrFull = errors.New("store full")
	// ErrLeaseLost: another holder has, or had, a newer lease; the caller changed nothing and must stop working on it.
	ErrLeaseLost = errors.New("lease lost")
	// ErrCancelled: the action was cancelled; its result is refused.
	ErrCancelled = errors.New("cancelled")
	// ErrFinished: the action is already in a terminal state.
	ErrFinished = errors.New("already finished")
	// ErrClosed: the Hub, subscription or worker was closed.
	ErrClosed = errors.New("closed")
	// ErrPermission: the backend or the server refused the credentials or the operation.
	ErrPermission = errors.New("permission denied")
	// ErrUnavailable: the backend could not be reached; nothing was done, the call may be retried.
	ErrUnavailable = errors.New("unavailable")
	// ErrUncertain: the write may or may not have been done; see the package documentation for how to repeat it safely.
	ErrUncertain = errors.New("outcome unknown")
)

// codes maps sentinels to the words used on a wire, in metrics and in exit codes. The table is
// closed and append-only: a code never changes its meaning. Order matters where an error
// matches several sentinels: the first wins.
var codes = []struct {
	kind error
	code string
}{
	{ErrUncertain, "uncertain"},
	{ErrNotFound, "not_found"},
	{ErrConflict, "conflict"},
	{ErrInvalid, "invalid"},
	{ErrTooLarge, "too_large"},
	{ErrFull, "full"},
	{ErrLeaseLost, "lease_lost"},
	{ErrCancelled, "cancelled"},
	{ErrFinished, "finished"},
	{ErrClosed, "closed"},
	{ErrPermission, "permission"},
	{ErrUnavailable, "unavailable"},
	{errors.ErrUnsupported, "unsupported"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{context.Canceled, "canceled"},
}

// Code returns the stable word for err: one of a small closed set, fit for a wire, a metric label
// or an exit code. It is "" for nil, "gap" for a *GapError and "internal" for an error rpw does not know.
func Code(err error) string {
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[*GapError](err); ok {
		return "gap"
	}
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return c.code
		}
	}
	return "internal"
}

// Sentinel returns the error that Code names by code, nil if there is none. It is how a
// driver at the far end of a wire rebuilds an error that errors.Is understands.
func Sentinel(code string) error {
	for _, c := range codes {
		if c.code == code {
			return c.kind
		}
	}
	return nil
}

// Error is the one wrapper of errors: what was tried, on what, with which driver, and why it
// failed. errors.Is finds Kind and whatever Err wraps.
type Error struct {
	Op     string // the verb: "publish", "claim", ...
	Driver string // the driver's name: "memory", "redis", ...
	Target string // the stream, key, queue, ... ; "" if there is none
	Kind   error  // one of the sentinels; nil for an error rpw does not know
	Err    error  // the cause or the explanation; may be nil
}

// Errorf makes an error of one kind with an explanation for the user, which should say what to do.
// %w keeps a cause. Drivers use it; the Hub adds the verb, the driver and the target.
func Errorf(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Error has the form: rpw: publish "orders" (memory): conflict: the reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("rpw: ")
	if e.Op != "" {
		b.WriteString(e.Op)
		if e.Target != "" {
			b.WriteByte(' ')
			b.WriteString(QuoteName(e.Target))
		}
		if e.Driver != "" {
			b.WriteString(" (" + e.Driver + ")")
		}
		b.WriteString(": ")
	}
	switch {
	case e.Kind != nil && e.Err != nil:
		b.WriteString(e.Kind.Error() + ": " + e.Err.Error())
	case e.Kind != nil:
		b.WriteString(e.Kind.Error())
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString("failed")
	}
	return b.String()
}

// Unwrap lets errors.Is and errors.As see both the kind and the cause.
func (e *Error) Unwrap() []error {
	errs := make([]error, 0, 2)
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// GapKind says what happened to the history that a reader missed.
type GapKind string

// The kinds of gap.
const (
	GapTrimmed  GapKind = "trimmed"  // retention or Trim removed events the reader had not seen
	GapReset    GapKind = "reset"    // the stream was deleted, flushed, restored or failed over: another history
	GapPossible GapKind = "possible" // the store cannot tell whether something is missing
)

// GapError reports that a reader missed history. It comes once, before the next event, by Read and
// by Fetch, never silently. Reading goes on from Resume (skip what is lost) or from Oldest
// (replay all that is still there).
type GapError struct {
	Stream string
	Group  string   // "" for a plain reader
	Kind   GapKind  //
	After  Position // where the reader was
	Resume Position // goes on with the first event the reader has not seen
	Oldest Position // replays everything that is still there
	Missed uint64   // how many events are known to be missing; 0 if unknown
}

func (e *GapError) Error() string {
	what := "stream " + QuoteName(e.Stream)
	if e.Group != "" {
		what += ", group " + QuoteName(e.Group)
	}
	missed := "an unknown number of events is missing"
	if e.Missed > 0 {
		missed = fmt.Sprintf("%d events are missing", e.Missed)
	}
	return fmt.Sprintf("rpw: gap (%s) in %s: %s after %s; choose a gap policy to go on", e.Kind, what, missed, e.After.ID)
}

// kindOf finds the sentinel that err matches.
func kindOf(err error) error {
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return c.kind
		}
	}
	return nil
}
