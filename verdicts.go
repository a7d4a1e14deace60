package rpw

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"time"
)

// Handlers of groups and actions say with their error what is to happen next. Without a wish, a failed one is
// tried again with back-off while attempts are left. Of several marks the outermost counts.

// Permanent marks an error that another attempt would meet again: an event goes to the dead-letter stream, an action fails. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &verdictError{err: err, permanent: true}
}

// RetryIn asks for the next attempt after d, instead of the back-off. nil stays nil; a negative d is 0. The most is 24 h for an event, and
// MaxDelay for an action.
func RetryIn(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &verdictError{err: err, retryIn: max(d, 0), delayed: true}
}

// IsPermanent reports whether err was marked with Permanent.
func IsPermanent(err error) bool {
	v, ok := errors.AsType[*verdictError](err)
	return ok && v.permanent
}

// RetryDelay returns the wait before attempt n+1, after attempt n (from 1) failed with err: what RetryIn says, else the back-off.
func (b Backoff) RetryDelay(n int, err error) time.Duration {
	if v, ok := errors.AsType[*verdictError](err); ok && v.delayed {
		return v.retryIn
	}
	return b.delay(n)
}

// delay is First doubled n-1 times, at most Max, less a random share of Jitter.
func (b Backoff) delay(n int) time.Duration {
	wait := cmp.Or(b.First, DefaultBackoffFirst)
	most := max(wait, cmp.Or(b.Max, DefaultBackoffMax))
	for ; n > 1 && wait < most; n-- {
		wait *= 2
	}
	wait = min(wait, most)
	jitter := b.Jitter
	switch {
	case jitter == 0:
		jitter = 0.5
	case jitter < 0:
		jitter = 0
	}
	return wait - time.Duration(rand.Float64()*jitter*float64(wait))
}

type verdictError struct {
	err       error
	permanent bool
	delayed   bool
	retryIn   time.Duration
}

func (e *verdictError) Error() string { return e.err.Error() }
func (e *verdictError) Unwrap() error { return e.err }
