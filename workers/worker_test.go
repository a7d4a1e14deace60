package workers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/workers"
)

var quiet = slog.New(slog.DiscardHandler)

// inBubble runs a test in virtual time, with a hub over a fresh store.
func inBubble(t *testing.T, test func(t *testing.T, hub *rpw.Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, open(t, memory.New(memory.Options{}).Parts()))
	})
}

func open(t testing.TB, parts rpw.Parts) *rpw.Hub {
	t.Helper()
	hub, err := rpw.New(parts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hub.Close()) })
	return hub
}

// runner is a worker that runs in the background of a test.
type runner struct {
	*workers.Worker
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	took   time.Duration // of the stop
}

// run starts w; it is stopped, at the latest, at the end of the test.
func run(t *testing.T, w *workers.Worker) *runner {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &runner{Worker: w, t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = w.Run(ctx)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *runner) stop() error {
	began := time.Now()
	r.cancel()
	<-r.done
	r.took = time.Since(began)
	return r.err
}

func get(t *testing.T, hub *rpw.Hub, ref rpw.ActionRef) rpw.Action {
	t.Helper()
	got, err := hub.Actions().Get(t.Context(), []rpw.ActionRef{ref})
	require.NoError(t, err)
	require.NoError(t, got[0].Err)
	return got[0].Action
}

// badError cannot say what is wrong when it is nil.
type badError struct{ text string }

func (e *badError) Error() string { return e.text }

// TestOutcomes: F43, F13, A5: handlers that return, panic, and end their goroutine.
func TestOutcomes(t *testing.T) {
	quick := actions.Backoff(rpw.Backoff{First: time.Second, Max: time.Second, Jitter: -1})
	cases := []struct {
		name    string
		handle  func(ctx context.Context, in string) (string, error)
		opts    []actions.Option
		state   rpw.State
		output  string
		attempt int
		message string // part of the failure's
		after   time.Duration
	}{
		{name: "Completes", state: rpw.Completed, output: "done in", attempt: 1,
			handle: func(_ context.Context, in string) (string, error) { return "done " + in, nil }},
		{name: "FailsThenCompletes", state: rpw.Completed, output: "third", attempt: 3, after: 2 * time.Second,
			handle: func(ctx context.Context, in string) (string, error) {
				if run, _ := actions.Current(ctx); run.Attempt < 3 {
					return "", errors.New("not yet")
				}
				return "third", nil
			}},
		{name: "FailsForGood", state: rpw.Failed, attempt: 3, message: "never", after: 2 * time.Second,
			handle: func(context.Context, string) (string, error) { return "", errors.New("never") }},
		{name: "NilPointerAsError", state: rpw.Failed, attempt: 3, message: "panic: runtime error", after: 2 * time.Second,
			handle: func(context.Context, string) (string, error) {
				var err *badError
				return "", err
			}},
		{name: "Permanent", state: rpw.Failed, attempt: 1, message: "no such file",
			handle: func(context.Context, string) (string, error) {
				return "", rpw.Permanent(errors.New("no such file"))
			}},
		{name: "RetryIn", state: rpw.Failed, attempt: 3, message: "busy", after: 20 * time.Minute,
			handle: func(context.Context, string) (string, error) {
				return "", rpw.RetryIn(errors.New("busy"), 10*time.Minute)
			}},
		{name: "RetryInTooFar", state: rpw.Failed, attempt: 1, message: "far", opts: []actions.Option{actions.MaxAttempts(1)},
			handle: func(context.Context, string) (string, error) {
				return "", rpw.RetryIn(errors.New("far"), 1<<62)
			}},
		{name: "Panics", state: rpw.Failed, attempt: 3, message: "panic: oh", after: 2 * time.Second,
			handle: func(context.Context, string) (string, error) { panic("oh") }},
		{name: "Goexit", state: rpw.Failed, attempt: 3, message: "Goexit", after: 2 * time.Second,
			handle: func(context.Context, string) (string, error) { runtime.Goexit(); return "", nil }},
		{name: "TimesOut", state: rpw.Failed, attempt: 3, message: "timed out after 1m0s", after: 3*time.Minute + 2*time.Second,
			opts: []actions.Option{actions.Timeout(time.Minute)},
			handle: func(ctx context.Context, _ string) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			}},
		{name: "NilAfterTheTimeoutIsSuccess", state: rpw.Completed, output: "late", attempt: 1, after: time.Minute,
			opts: []actions.Option{actions.Timeout(time.Minute)},
			handle: func(ctx context.Context, _ string) (string, error) {
				<-ctx.Done()
				return "late", nil
			}},
		{name: "OutputTooLarge", state: rpw.Failed, attempt: 1, message: "too large",
			handle: func(context.Context, string) (string, error) { return strings.Repeat("x", rpw.MaxPayload), nil }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hub *rpw.Hub) {
				def := actions.Define[string, string]("work", actions.MaxAttempts(3), quick)
				w := workers.New(hub, workers.Config{Logger: quiet})
				require.NoError(t, workers.Handle(w, def, c.handle))
				run(t, w)
				began := time.Now()
				handle, err := def.Start(t.Context(), hub, "in", c.opts...)
				require.NoError(t, err)
				out, err := handle.Wait(t.Context())
				assert.Equal(t, c.after, time.Since(began))
				a := get(t, hub, handle.Ref)
				assert.Equal(t, c.state, a.State)
				assert.Equal(t, c.attempt, a.Attempt)
				if c.state == rpw.Completed {
					require.NoError(t, err)
					assert.Equal(t, c.output, out)
					return
				}
				failure, ok := errors.AsType[*actions.Error](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, handle.Ref, failure.Ref)
				assert.Contains(t, failure.Failure.Message, c.message)
				assert.Equal(t, strings.HasPrefix(failure.Failure.Message, "panic:"), failure.Failure.Stack != "")
				assert.NotErrorIs(t, err, rpw.ErrCancelled)
			})
		})
	}
}

func TestArgumentOfAnotherType(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(w, actions.Define[int, int]("double"), func(_ context.Context, n int) (int, error) { return 2 * n, nil }))
		run(t, w)
		_, err := actions.Define[string, int]("double").Run(t.Context(), hub, "two")
		failure, ok := errors.AsType[*actions.Error](err)
		require.True(t, ok, "%v", err)
		assert.True(t, failure.Failure.Permanent)
		assert.Equal(t, 1, failure.Failure.Attempt)
		assert.Contains(t, failure.Failure.Message, "does not read as int")
	})
}

// A handler that returns why its ctx ended has failed for that, told once.
func TestTimeoutIsToldOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[int, int]("slow", actions.Timeout(time.Minute), actions.MaxAttempts(1))
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			if n == 1 {
				return 0, ctx.Err()
			}
			return 0, context.Cause(ctx)
		}))
		run(t, w)
		for n := range 2 {
			_, err := def.Run(t.Context(), hub, n)
			failure, ok := errors.AsType[*actions.Error](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, "timed out after 1m0s", failure.Failure.Message)
		}
	})
}

// A handler that ignores its timeout has failed, but keeps its slot: the next attempt of this worker waits for it.
func TestTimeoutKeepsTheSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[int, int]("deaf", actions.Timeout(time.Minute), actions.CancelGrace(5*time.Second), actions.Backoff(rpw.Backoff{First: time.Second, Jitter: -1}))
		var running, most atomic.Int32
		w := workers.New(hub, workers.Config{Concurrency: 1, Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, n int) (int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if run, _ := actions.Current(ctx); run.Attempt == 1 {
				time.Sleep(time.Hour)
			}
			return n, nil
		}))
		run(t, w)
		began := time.Now()
		handle, err := def.Start(t.Context(), hub, 7)
		require.NoError(t, err)

		time.Sleep(65*time.Second + time.Millisecond)
		a := get(t, hub, handle.Ref)
		require.Equal(t, rpw.Pending, a.State)
		require.Len(t, a.Failures, 1)
		assert.Equal(t, "timed out after 1m0s, and its handler did not return within 5s", a.Failures[0].Message)
		assert.Equal(t, 1, w.Stats().Running)

		out, err := handle.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 7, out)
		assert.Equal(t, time.Hour, time.Since(began))
		assert.EqualValues(t, 1, most.Load())
		assert.Equal(t, workers.Stats{Claimed: 2, Completed: 1, Failed: 1}, settled(w))
	})
}

// settled returns the stats once everything has come to rest.
func settled(w *workers.Worker) workers.Stats {
	synctest.Wait()
	return w.Stats()
}

func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[string, string]("long")
		causes := make(chan error, 1)
		w := workers.New(hub, workers.Config{Logger: quiet, Lease: time.Hour})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, in string) (string, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return in, nil // too late: the cancel was first
		}))
		handle, err := def.Start(t.Context(), hub, "pending")
		require.NoError(t, err)
		state, err := handle.Cancel(t.Context(), "not needed")
		require.NoError(t, err)
		assert.Equal(t, rpw.Cancelled, state)

		run(t, w)
		handle, err = def.Start(t.Context(), hub, "running")
		require.NoError(t, err)
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		began := time.Now()
		state, err = handle.Cancel(t.Context(), "changed my mind")
		require.NoError(t, err)
		assert.Equal(t, rpw.Running, state)
		_, err = handle.Wait(t.Context())
		assert.LessOrEqual(t, time.Since(began), time.Second)
		assert.ErrorIs(t, err, rpw.ErrCancelled)
		assert.ErrorContains(t, err, "changed my mind")
		assert.ErrorIs(t, <-causes, rpw.ErrCancelled)
		assert.Equal(t, workers.Stats{Claimed: 1, Cancelled: 1}, settled(w))
	})
}

// A handler that ignores a cancel is fenced off after the grace.
func TestCancelIgnored(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[string, string]("deaf", actions.CancelGrace(5*time.Second))
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, in string) (string, error) {
			time.Sleep(time.Hour)
			return in, nil
		}))
		run(t, w)
		handle, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		synctest.Wait()
		began := time.Now()
		_, err = handle.Cancel(t.Context(), "")
		require.NoError(t, err)
		_, err = handle.Wait(t.Context())
		assert.ErrorIs(t, err, rpw.ErrCancelled)
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.Equal(t, 1, w.Stats().Running)
		time.Sleep(time.Hour)
		assert.Equal(t, workers.Stats{Claimed: 1, Cancelled: 1}, settled(w))
	})
}

// TestLeaseLost: F11, A2: the lease of a handler is lost.
func TestLeaseLost(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[string, string]("work")
		causes := make(chan error, 1)
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, in string) (string, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return "too late", nil
		}))
		run(t, w)
		handle, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, rpw.Running, get(t, hub, handle.Ref).State)
		store, _ := rpw.Native[*memory.Store](hub)
		store.Flush() // nobody holds a lease any more
		began := time.Now()
		assert.ErrorIs(t, <-causes, rpw.ErrLeaseLost)
		assert.LessOrEqual(t, time.Since(began), rpw.DefaultLease/3)
		assert.Equal(t, workers.Stats{Claimed: 1, Lost: 1}, settled(w))
	})
}

func TestCompetingWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		const n = 1000
		def := actions.Define[int, int]("square")
		var mu sync.Mutex
		seen := make(map[int]int)
		var stats []*workers.Worker
		for range 3 {
			w := workers.New(hub, workers.Config{Concurrency: 4, Logger: quiet})
			require.NoError(t, workers.Handle(w, def, func(_ context.Context, i int) (int, error) {
				time.Sleep(time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				seen[i]++
				return i * i, nil
			}))
			run(t, w)
			stats = append(stats, w)
		}
		ins := make([]int, n)
		for i := range ins {
			ins[i] = i
		}
		handles, err := def.StartAll(t.Context(), hub, ins)
		require.NoError(t, err)
		for i, handle := range handles {
			out, err := handle.Wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, i*i, out)
		}
		require.Len(t, seen, n)
		for i, times := range seen {
			require.Equal(t, 1, times, i)
		}
		for _, w := range stats {
			assert.Greater(t, settled(w).Completed, int64(n/10), "all take part")
		}
	})
}

// sixHours is an action whose attempts take six hours each, five times, an hour apart.
func sixHours(ctx context.Context, hub *rpw.Hub, cfg workers.Config) (attempts int, err error) {
	def := actions.Define[string, string]("crunch", actions.MaxAttempts(5), actions.Backoff(rpw.Backoff{First: time.Hour, Max: time.Hour, Jitter: -1}))
	w := workers.New(hub, cfg)
	workers.Handle(w, def, func(ctx context.Context, _ string) (string, error) {
		run, _ := actions.Current(ctx)
		attempts = run.Attempt
		time.Sleep(6 * time.Hour)
		if run.Attempt < 5 {
			return "", fmt.Errorf("attempt %d", run.Attempt)
		}
		return "done", ctx.Err()
	})
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { err = w.Run(ctx) })
	_, failed := def.Run(ctx, hub, "")
	cancel()
	wg.Wait()
	return attempts, errors.Join(failed, err)
}

// TestSixHourAction: F10, G3, A4: handlers that run for hours, under leases of seconds.
func TestSixHourAction(t *testing.T) {
	for _, cfg := range []workers.Config{{Logger: quiet}, {Logger: quiet, Lease: time.Hour, Heartbeat: time.Minute}} {
		real := time.Now()
		inBubble(t, func(t *testing.T, hub *rpw.Hub) {
			began := time.Now()
			attempts, err := sixHours(t.Context(), hub, cfg)
			require.NoError(t, err)
			assert.Equal(t, 5, attempts)
			assert.Equal(t, 34*time.Hour, time.Since(began))
		})
		t.Logf("lease %v: %v of real time", cfg.Lease, time.Since(real))
	}
}

func TestUnhandledAction(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		known := actions.Define[string, string]("known", actions.Queue("shared"))
		other := actions.Define[string, string]("other", actions.Queue("shared"))
		var log strings.Builder
		w := workers.New(hub, workers.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		echo := func(_ context.Context, in string) (string, error) { return in, nil }
		require.NoError(t, workers.Handle(w, known, echo))
		first := run(t, w)
		handle, err := other.Start(t.Context(), hub, "x")
		require.NoError(t, err)
		time.Sleep(time.Minute + time.Second) // between two looks of the first worker
		a := get(t, hub, handle.Ref)
		assert.Equal(t, rpw.Pending, a.State)
		assert.Equal(t, 0, a.Attempt)
		second := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(second, other, echo))
		run(t, second)
		out, err := handle.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "x", out)
		require.NoError(t, first.stop())
		assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		assert.Contains(t, log.String(), "no handler here")
	})
}

func TestBadRegistrations(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[string, string]("work")
		echo := func(_ context.Context, in string) (string, error) { return in, nil }
		cases := []struct {
			name  string
			kind  error
			wrong func(w *workers.Worker) error
		}{
			{"TwoHandlers", rpw.ErrConflict, func(w *workers.Worker) error {
				workers.Handle(w, def, echo)
				return workers.Handle(w, def, echo)
			}},
			{"NilHandler", rpw.ErrInvalid, func(w *workers.Worker) error {
				return workers.Handle[string, string](w, def, nil)
			}},
			{"NilDefinition", rpw.ErrInvalid, func(w *workers.Worker) error {
				return workers.Handle(w, nil, echo)
			}},
			{"NoAttempts", rpw.ErrInvalid, func(w *workers.Worker) error {
				return workers.Handle(w, actions.Define[string, string]("work", actions.MaxAttempts(0)), echo)
			}},
			{"NilService", rpw.ErrInvalid, func(w *workers.Worker) error { return w.Service("s", nil) }},
			{"NamelessService", rpw.ErrInvalid, func(w *workers.Worker) error {
				return w.Service("", func(context.Context) error { return nil })
			}},
			{"TwoServices", rpw.ErrConflict, func(w *workers.Worker) error {
				w.Service("s", func(context.Context) error { return nil })
				return w.Service("s", func(context.Context) error { return nil })
			}},
			{"NilStreamHandler", rpw.ErrInvalid, func(w *workers.Worker) error {
				return workers.Stream(w, rpw.StreamOf[int]("numbers"), rpw.Consumer{}, nil)
			}},
		}
		for _, c := range cases {
			w := workers.New(hub, workers.Config{Logger: quiet})
			assert.ErrorIs(t, c.wrong(w), c.kind, c.name)
			assert.ErrorIs(t, w.Run(t.Context()), c.kind, c.name)
		}
		for _, cfg := range []workers.Config{{Concurrency: -1}, {Lease: time.Millisecond}, {Lease: 2 * time.Hour}, {Grace: -1}, {Heartbeat: time.Hour}, {Name: "a{b}"}} {
			assert.ErrorIs(t, workers.New(hub, cfg).Run(t.Context()), rpw.ErrInvalid, "%+v", cfg)
		}
		assert.ErrorIs(t, workers.New(nil, workers.Config{}).Run(t.Context()), rpw.ErrInvalid)
		assert.ErrorIs(t, workers.Handle(nil, def, echo), rpw.ErrInvalid)
		assert.ErrorIs(t, new(workers.Worker).Run(t.Context()), rpw.ErrInvalid)
		var none *workers.Worker
		assert.ErrorIs(t, none.Run(t.Context()), rpw.ErrInvalid)

		w := workers.New(hub, workers.Config{Logger: quiet})
		r := run(t, w)
		synctest.Wait()
		assert.ErrorIs(t, workers.Handle(w, def, echo), rpw.ErrConflict)
		assert.ErrorIs(t, w.Run(t.Context()), rpw.ErrConflict)
		require.NoError(t, r.stop())
		assert.ErrorIs(t, workers.Handle(w, def, echo), rpw.ErrClosed)
		assert.ErrorIs(t, w.Run(t.Context()), rpw.ErrClosed)
	})
}
