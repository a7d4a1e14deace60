package conformance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// env is what a case works with. Cases run in virtual and in real time alike: they wait for conditions, with generous
// bounds, and let time pass only for leases, delays and times to live.
type env struct {
	testing.TB
	backend Backend
	hub     *rpw.Hub // of the case's own process
	unit    time.Duration
	bubble  bool
}

// peer opens the hub of another process.
func (e *env) peer(opts ...rpw.Option) *rpw.Hub {
	e.Helper()
	return e.decorated(func(p rpw.Parts) rpw.Parts { return p }, opts...)
}

// decorated opens the hub of another process, with its contracts decorated.
func (e *env) decorated(decorate func(rpw.Parts) rpw.Parts, opts ...rpw.Option) *rpw.Hub {
	e.Helper()
	parts, err := e.backend.Connect()
	require.NoError(e, err, "connect to the backend")
	h, err := rpw.New(decorate(parts), opts...)
	require.NoError(e, err, "open a hub")
	e.Cleanup(func() {
		if err := h.Close(); err != nil {
			e.Errorf("close the hub: %v", err)
		}
	})
	return h
}

// on is the case as another hub's process sees it.
func (e *env) on(h *rpw.Hub) *env {
	other := *e
	other.hub = h
	return &other
}

// flush drops all data behind the back of the hubs.
func (e *env) flush() {
	e.Helper()
	if e.backend.Flush == nil {
		e.Fatal("the backend has no Flush; declare this case in Harness.Skip")
	}
	e.backend.Flush()
}

// units is a duration in which the backend can be told to do something, and be seen to have done it.
func (e *env) units(n int) time.Duration { return time.Duration(n) * e.unit }

// pass lets a lease, a delay or a time to live pass.
func (e *env) pass(d time.Duration) { time.Sleep(d + e.units(2)) }

// lease is a short lease that the case can hold for some units, and let pass.
func (e *env) lease() time.Duration { return max(rpw.MinLease, e.units(25)) }

// prompt is the time in which something that happens "at once" has happened, on a busy machine.
func (e *env) prompt() time.Duration { return max(time.Second, e.units(100)) }

// promptly is a context that ends when "at once" has passed.
func (e *env) promptly() context.Context {
	ctx, cancel := context.WithTimeout(e.Context(), e.prompt())
	e.Cleanup(cancel)
	return ctx
}

// patience bounds every wait for a condition.
func (e *env) patience() time.Duration { return max(15*time.Second, e.units(500)) }

// eventually waits until cond holds.
func (e *env) eventually(cond func() bool, what string, args ...any) {
	e.Helper()
	for end := time.Now().Add(e.patience()); !cond(); time.Sleep(e.unit) {
		if time.Now().After(end) {
			e.Fatalf("not in "+e.patience().String()+": "+what, args...)
		}
	}
}

// idle lets what was started come to wait, also over a link that takes its time.
func (e *env) idle() {
	time.Sleep(e.units(5))
	if e.bubble {
		synctest.Wait()
	}
}

// answer is what a call that ran on its own came back with.
type answer[T any] struct {
	value T
	err   error
}

// start makes a call on its own.
func start[T any](call func() (T, error)) <-chan answer[T] {
	c := make(chan answer[T], 1)
	go func() {
		value, err := call()
		c <- answer[T]{value, err}
	}()
	return c
}

// leaver is a call on its own whose caller can leave.
type leaver[T any] struct {
	leave context.CancelFunc
	left  <-chan answer[T]
}

// startLeaver makes a call on its own, under a context that leave ends.
func startLeaver[T any](e *env, call func(context.Context) (T, error)) leaver[T] {
	ctx, leave := context.WithCancel(e.Context())
	return leaver[T]{leave, start(func() (T, error) { return call(ctx) })}
}

// await waits, at most "at once", for a call that runs on its own.
func await[T any](e *env, c <-chan answer[T]) (T, error) {
	e.Helper()
	select {
	case a := <-c:
		return a.value, a.err
	case <-time.After(e.prompt()):
		e.Fatalf("the call did not come back within %v", e.prompt())
		panic("unreachable")
	}
}

// either is the answer of the first of two calls, then that of the other.
func either[T any](a, b <-chan answer[T]) <-chan answer[T] {
	c := make(chan answer[T], 2)
	for _, from := range []<-chan answer[T]{a, b} {
		go func() { c <- <-from }()
	}
	return c
}

// gap wants err to be a gap.
func (e *env) gap(err error) *rpw.GapError {
	e.Helper()
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(e, ok, "want a *GapError, got %v", err)
	return gap
}

// is wants err to be of exactly this kind, in the one wrapper.
func (e *env) is(err, kind error, msgAndArgs ...any) {
	e.Helper()
	require.Error(e, err, msgAndArgs...)
	require.Equal(e, rpw.Code(kind), rpw.Code(err), "the kind of %v", err)
	require.ErrorIs(e, err, kind, msgAndArgs...)
	for _, other := range sentinels {
		require.Falsef(e, other != kind && errors.Is(err, other), "%v matches %v beside %v", err, other, kind)
	}
}

// sentinels are those of rpw: an error of a Hub matches one of them, and no other.
var sentinels = []error{rpw.ErrNotFound, rpw.ErrConflict, rpw.ErrInvalid, rpw.ErrTooLarge, rpw.ErrFull, rpw.ErrLeaseLost, rpw.ErrCancelled,
	rpw.ErrFinished, rpw.ErrClosed, rpw.ErrPermission, rpw.ErrUnavailable, rpw.ErrUncertain, errors.ErrUnsupported}
