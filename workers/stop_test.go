package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
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

// sluggish is an ActionStore in front of another one: it hangs or fails when told to, and counts.
type sluggish struct {
	rpw.ActionStore
	hang     atomic.Bool           // calls wait until their ctx ends
	fail     atomic.Pointer[error] // calls answer this
	drop     atomic.Int32          // so many claims are executed, but their answer is lost
	claims   atomic.Int32
	advances atomic.Int32
	moves    atomic.Int32
	entered  chan struct{} // if not nil, an Advance waits here
}

func (s *sluggish) gate(ctx context.Context) error {
	if s.hang.Load() {
		<-ctx.Done()
		return &rpw.Error{Kind: rpw.ErrUncertain, Err: ctx.Err()}
	}
	if err := s.fail.Load(); err != nil && *err != nil {
		return *err
	}
	return ctx.Err()
}

func (s *sluggish) setFail(err error) { s.fail.Store(&err) }

func (s *sluggish) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	s.claims.Add(1)
	if err := s.gate(ctx); err != nil {
		return nil, err
	}
	claimed, err := s.ActionStore.Claim(ctx, req)
	if err == nil && s.drop.Add(-1) >= 0 {
		return nil, rpw.Errorf(rpw.ErrUncertain, "the answer was lost")
	}
	return claimed, err
}

func (s *sluggish) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	s.advances.Add(1)
	s.moves.Add(int32(len(req.Moves)))
	if s.entered != nil {
		<-s.entered
	}
	if err := s.gate(ctx); err != nil {
		return nil, err
	}
	return s.ActionStore.Advance(ctx, req)
}

func (s *sluggish) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	if err := s.gate(ctx); err != nil {
		return nil, err
	}
	return s.ActionStore.Heartbeat(ctx, hb)
}

// inSluggish is inBubble with a sluggish store.
func inSluggish(t *testing.T, test func(t *testing.T, hub *rpw.Hub, store *sluggish)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		parts := memory.New(memory.Options{}).Parts()
		store := &sluggish{ActionStore: parts.Actions}
		parts.Actions = store
		test(t, open(t, parts), store)
	})
}

// TestStop protects W3, as the tests that follow it do.
// F31, W3: handlers that end, and that do not.
func TestStop(t *testing.T) {
	cases := []struct {
		name     string
		handle   func(ctx context.Context, in string) (string, error)
		state    rpw.State
		took     time.Duration
		returned bool
		stats    workers.Stats
	}{
		{name: "FinishesInTheGrace", state: rpw.Completed, took: 5 * time.Second, returned: true, stats: workers.Stats{Claimed: 1, Completed: 1},
			handle: func(context.Context, string) (string, error) { time.Sleep(5 * time.Second); return "", nil }},
		{name: "FailsInTheGrace", state: rpw.Pending, took: 5 * time.Second, returned: true, stats: workers.Stats{Claimed: 1, Failed: 1},
			handle: func(context.Context, string) (string, error) {
				time.Sleep(5 * time.Second)
				return "", rpw.RetryIn(errors.New("no"), time.Hour)
			}},
		{name: "ReturnsWithItsContext", state: rpw.Pending, took: 10 * time.Second, returned: true, stats: workers.Stats{Claimed: 1, HandedBack: 1},
			handle: func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", context.Cause(ctx) }},
		{name: "CompletesWithItsContext", state: rpw.Completed, took: 10 * time.Second, returned: true, stats: workers.Stats{Claimed: 1, Completed: 1},
			handle: func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", nil }},
		{name: "IgnoresItsContext", state: rpw.Pending, took: 10800 * time.Millisecond, stats: workers.Stats{Claimed: 1, HandedBack: 1, Running: 1},
			handle: func(context.Context, string) (string, error) { time.Sleep(time.Hour); return "", nil }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hub *rpw.Hub) {
				def := actions.Define[string, string]("work")
				w := workers.New(hub, workers.Config{Logger: quiet})
				require.NoError(t, workers.Handle(w, def, c.handle))
				r := run(t, w)
				handle, err := def.Start(t.Context(), hub, "")
				require.NoError(t, err)
				synctest.Wait()
				err = r.stop()
				assert.Equal(t, c.took, r.took)
				assert.Equal(t, c.stats, w.Stats())
				if c.returned {
					assert.NoError(t, err)
				} else {
					assert.ErrorContains(t, err, "1 handlers or services did not return in time")
				}
				a := get(t, hub, handle.Ref)
				assert.Equal(t, c.state, a.State)
				if c.stats.HandedBack > 0 {
					assert.Equal(t, 0, a.Attempt, "it cost no attempt")
					assert.False(t, a.RunAt.After(time.Now()), "others have it at once")
				}
				time.Sleep(time.Hour) // handlers that go on end in the bubble
			})
		})
	}
}

// TestStopUnderLoad: F31, W3: a worker is stopped under load.
func TestStopUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		def := actions.Define[int, int]("load", actions.MaxAttempts(1))
		var begun, handled atomic.Int64
		w := workers.New(hub, workers.Config{Concurrency: 16, Grace: 100 * time.Millisecond, Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, n int) (int, error) {
			begun.Add(1)
			select {
			case <-time.After(time.Duration(n%300) * time.Millisecond):
				handled.Add(1)
				return n, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}))
		ins := make([]int, 1000)
		for i := range ins {
			ins[i] = i
		}
		_, err := def.StartAll(t.Context(), hub, ins)
		require.NoError(t, err)
		r := run(t, w)
		time.Sleep(2 * time.Second)
		require.NoError(t, r.stop())
		assert.LessOrEqual(t, r.took, 200*time.Millisecond)
		counts, err := hub.Actions().Count(t.Context(), rpw.ActionFilter{})
		require.NoError(t, err)
		assert.Equal(t, handled.Load(), counts[rpw.Completed])
		assert.EqualValues(t, len(ins), counts[rpw.Completed]+counts[rpw.Pending], "%v", counts)
		stats := w.Stats()
		assert.Positive(t, stats.HandedBack)
		assert.Zero(t, stats.Failed)
		assert.Equal(t, begun.Load(), stats.Claimed)
		untouched := stats.Completed + stats.HandedBack - stats.Claimed // claimed just as the stop came
		assert.GreaterOrEqual(t, untouched, int64(0))
		assert.LessOrEqual(t, untouched, int64(16))
	})
}

// Stopping is bounded also when the backend does not answer any more.
// F31, W3: the store hangs.
func TestStopWhileTheBackendHangs(t *testing.T) {
	handlers := map[string]func(context.Context, string) (string, error){
		"Idle":           nil,
		"Finished":       func(context.Context, string) (string, error) { time.Sleep(5 * time.Second); return "", nil },
		"WaitsForItsCtx": func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
		"IgnoresItsCtx":  func(ctx context.Context, _ string) (string, error) { time.Sleep(time.Hour); return "", nil },
	}
	for name, handle := range handlers {
		t.Run(name, func(t *testing.T) {
			inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
				def := actions.Define[string, string]("work")
				w := workers.New(hub, workers.Config{Logger: quiet})
				if handle != nil {
					require.NoError(t, workers.Handle(w, def, handle))
					_, err := def.Start(t.Context(), hub, "")
					require.NoError(t, err)
				}
				r := run(t, w)
				synctest.Wait()
				store.hang.Store(true)
				r.stop()
				assert.LessOrEqual(t, r.took, rpw.DefaultGrace+time.Second)
				store.hang.Store(false)
				time.Sleep(time.Hour)
			})
		})
	}
}

// Closing the hub stops the worker first, in the time that Close has.
func TestHubClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memory.New(memory.Options{})
		hub, other := open(t, mem.Parts()), open(t, mem.Parts())
		def := actions.Define[string, string]("work")
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}))
		handle, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- w.Run(t.Context()) }()
		synctest.Wait()
		began := time.Now()
		go hub.Close()
		assert.NoError(t, <-done)
		assert.LessOrEqual(t, time.Since(began), rpw.CloseTimeout)
		a := get(t, other, handle.Ref)
		assert.Equal(t, rpw.Pending, a.State)
		assert.Zero(t, a.Attempt)
		synctest.Wait()
		assert.ErrorIs(t, workers.New(hub, workers.Config{}).Run(t.Context()), rpw.ErrClosed)
	})
}

// A worker that consumes a stream is told of the close twice: by Consume, and by its own hook.
func TestHubCloseWithStream(t *testing.T) {
	for _, returns := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			hub, err := rpw.New(memory.New(memory.Options{}).Parts())
			require.NoError(t, err)
			numbers := rpw.StreamOf[int]("numbers")
			late := make(chan struct{})
			w := workers.New(hub, workers.Config{Logger: quiet})
			require.NoError(t, workers.Stream(w, numbers, rpw.Consumer{From: rpw.Oldest()}, func(ctx context.Context, m rpw.Message[int]) error {
				if !returns {
					<-late
				}
				return nil
			}))
			_, err = numbers.Publish(t.Context(), hub, "n", 1)
			require.NoError(t, err)
			r := run(t, w)
			synctest.Wait()
			hub.Close()
			<-r.done
			if returns {
				assert.NoError(t, r.err)
			} else {
				assert.ErrorIs(t, r.err, rpw.ErrClosed, "a handler still runs")
			}
			close(late)
		})
	}
}

// A claim whose answer was lost is repeated as the same claim: what it was given is run at once, not when the lease ends.
// F12, A1: the answer of a claim is lost.
func TestLostClaim(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		def := actions.Define[string, string]("work")
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(_ context.Context, in string) (string, error) { return in, nil }))
		handle, err := def.Start(t.Context(), hub, "x")
		require.NoError(t, err)
		store.drop.Store(1)
		run(t, w)
		began := time.Now()
		_, err = handle.Wait(t.Context())
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		assert.Equal(t, 1, get(t, hub, handle.Ref).Attempt)
	})
}

// A worker that is stopped while it does not know what its last claim was given finds out, and hands it back.
// F31, W3, A1: the stop comes between two tries of a claim whose answers are lost.
func TestStopAfterALostClaim(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		def := actions.Define[string, string]("work", actions.MaxAttempts(1))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		w := workers.New(hub, workers.Config{Logger: slog.New(slog.NewTextHandler(onLine(func() { // it says so, and waits for the next try
			store.drop.Store(0)
			stop()
		}), nil))})
		require.NoError(t, workers.Handle(w, def, func(_ context.Context, in string) (string, error) { return in, nil }))
		handle, err := def.Start(t.Context(), hub, "x")
		require.NoError(t, err)
		store.drop.Store(math.MaxInt32)
		require.NoError(t, w.Run(ctx))
		a := get(t, hub, handle.Ref)
		assert.Equal(t, rpw.Pending, a.State)
		assert.Zero(t, a.Attempt)
		assert.EqualValues(t, 1, w.Stats().HandedBack)
	})
}

// onLine is a log that calls a function for each line.
type onLine func()

func (f onLine) Write(line []byte) (int, error) {
	f()
	return len(line), nil
}

// A worker goes on after an outage, with few calls and few lines of log meanwhile.
func TestOutage(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		var lines countLines
		def := actions.Define[string, string]("work")
		w := workers.New(hub, workers.Config{Logger: lines.logger()})
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, in string) (string, error) {
			time.Sleep(2 * time.Second)
			return in, ctx.Err()
		}))
		run(t, w)
		handle, err := def.Start(t.Context(), hub, "short outage")
		require.NoError(t, err)
		time.Sleep(time.Second)
		store.setFail(rpw.Errorf(rpw.ErrUnavailable, "connection refused"))
		time.Sleep(5 * time.Second) // within the lease: the result waits, and is stored
		store.setFail(nil)
		out, err := handle.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "short outage", out)
		assert.Equal(t, 1, get(t, hub, handle.Ref).Attempt)

		before := store.claims.Load()
		lines.Store(0)
		store.setFail(rpw.Errorf(rpw.ErrUnavailable, "connection refused"))
		handle, err = def.Start(t.Context(), hub, "x")
		assert.NoError(t, err)
		time.Sleep(10 * time.Minute)
		assert.Less(t, store.claims.Load()-before, int32(10*60*5), "no hot loop")
		assert.Less(t, lines.Load(), int32(60), "no flood of log lines")
		store.setFail(nil)
		began := time.Now()
		_, err = handle.Wait(t.Context())
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 5*time.Second)
		assert.Positive(t, lines.Load())
	})
}

func TestFatalClaim(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		store.setFail(rpw.Errorf(errors.ErrUnsupported, "no actions here"))
		w := workers.New(hub, workers.Config{Logger: quiet})
		workers.Handle(w, actions.Define[int, int]("work"), func(_ context.Context, n int) (int, error) { return n, nil })
		assert.ErrorIs(t, w.Run(t.Context()), errors.ErrUnsupported)
	})
}

// Results that come while a call is under way leave together in the next one.
func TestGroupCommit(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		def := actions.Define[int, int]("work")
		store.entered = make(chan struct{})
		w := workers.New(hub, workers.Config{Concurrency: 50, Logger: quiet})
		require.NoError(t, workers.Handle(w, def, func(_ context.Context, n int) (int, error) { return n, nil }))
		run(t, w)
		synctest.Wait()
		handles, err := def.StartAll(t.Context(), hub, slices.Repeat([]int{1}, 50))
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 1, store.advances.Load(), "the first goes at once")
		close(store.entered)
		for _, handle := range handles {
			_, err := handle.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, store.advances.Load(), int32(2))
		assert.EqualValues(t, 50, store.moves.Load())
	})
}

// A8: a slot is free when its handler has returned. Results that cannot be stored yet take none, but are no more than the slots.
func TestResultsOnTheirWayTakeNoSlots(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		def := actions.Define[int, int]("count")
		w := workers.New(hub, workers.Config{Concurrency: 2, Logger: quiet})
		var handled atomic.Int32
		require.NoError(t, workers.Handle(w, def, func(context.Context, int) (int, error) {
			handled.Add(1)
			return 0, nil
		}))
		_, err := def.StartAll(t.Context(), hub, make([]int, 10))
		require.NoError(t, err)
		store.entered = make(chan struct{})
		run(t, w)
		synctest.Wait()
		assert.EqualValues(t, 4, handled.Load())
		assert.Zero(t, w.Stats().Running)
		close(store.entered)
		synctest.Wait()
		assert.EqualValues(t, 10, w.Stats().Completed)
	})
}
