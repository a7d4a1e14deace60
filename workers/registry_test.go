package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
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

// countLines is a log of which only the number of lines matters.
type countLines struct{ atomic.Int32 }

func (c *countLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(c, nil)) }

func (c *countLines) Write(line []byte) (int, error) {
	c.Add(1)
	return len(line), nil
}

func registry(t *testing.T, hub *rpw.Hub) []rpw.WorkerInfo {
	t.Helper()
	page, err := hub.Actions().Workers(t.Context(), rpw.WorkersRequest{})
	require.NoError(t, err)
	return page.Workers
}

func TestRegistry(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		def := actions.Define[string, string]("work")
		w := workers.New(hub, workers.Config{Name: "resizer", Concurrency: 3, Logger: quiet, Meta: map[string]string{"zone": "a"}})
		require.NoError(t, workers.Handle(w, def, func(_ context.Context, in string) (string, error) {
			time.Sleep(time.Minute)
			return in, nil
		}))
		r := run(t, w)
		synctest.Wait()
		all := registry(t, hub)
		require.Len(t, all, 1)
		me := all[0]
		assert.Equal(t, w.ID(), me.ID)
		assert.Equal(t, "resizer", me.Name)
		assert.Equal(t, rpw.WorkerIdle, me.Status)
		assert.Equal(t, 3, me.Slots)
		assert.Equal(t, []string{"work"}, me.Queues)
		assert.Equal(t, map[string]string{"zone": "a"}, me.Meta)
		assert.NotZero(t, me.PID)

		handle, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		since := time.Now()
		time.Sleep(time.Second + time.Millisecond)
		me = registry(t, hub)[0]
		assert.Equal(t, rpw.WorkerBusy, me.Status, "within a second")
		assert.Equal(t, []rpw.WorkerTask{{Kind: "action", Name: handle.Ref.String(), Since: since}}, me.Running)

		_, err = handle.Wait(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second + time.Millisecond)
		assert.Equal(t, rpw.WorkerIdle, registry(t, hub)[0].Status)

		store.setFail(rpw.Errorf(rpw.ErrUnavailable, "connection refused"))
		time.Sleep(3*workers.DefaultHeartbeat + time.Millisecond)
		assert.Equal(t, rpw.WorkerOffline, registry(t, hub)[0].Status, "within three heartbeats")
		store.setFail(nil)
		time.Sleep(2 * time.Second)
		assert.Equal(t, rpw.WorkerIdle, registry(t, hub)[0].Status)

		require.NoError(t, r.stop())
		assert.Empty(t, registry(t, hub), "it signed off")
	})
}

// TestServiceRestarts protects W1, as the tests of services, singletons and streams that follow it do.
// absent is an ActionStore whose registry is away at first.
type absent struct {
	rpw.ActionStore
	until time.Time
}

func (a *absent) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	if time.Now().Before(a.until) {
		return nil, rpw.Errorf(rpw.ErrUnavailable, "away")
	}
	return a.ActionStore.Heartbeat(ctx, hb)
}

// The store has no signals for a worker it does not know; what it was asked to cancel until then the worker learns when it is known.
func TestCancelBeforeTheFirstHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := memory.New(memory.Options{}).Parts()
		parts.Actions = &absent{parts.Actions, time.Now().Add(time.Second)}
		hub := open(t, parts)
		def := actions.Define[string, string]("work")
		w := workers.New(hub, workers.Config{Logger: quiet, Lease: time.Hour})
		var ended time.Duration
		require.NoError(t, workers.Handle(w, def, func(ctx context.Context, _ string) (string, error) {
			began := time.Now()
			<-ctx.Done()
			ended = time.Since(began)
			return "", ctx.Err()
		}))
		run(t, w)
		handle, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		synctest.Wait()
		_, err = handle.Cancel(t.Context(), "")
		require.NoError(t, err)
		_, err = handle.Wait(t.Context())
		require.ErrorIs(t, err, rpw.ErrCancelled)
		assert.Greater(t, ended, time.Duration(0))
		assert.LessOrEqual(t, ended, 3*time.Second, "the second away, and the pause after it")
	})
}

func TestServiceRestarts(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		var starts []time.Duration
		began := time.Now()
		w := workers.New(hub, workers.Config{Logger: quiet})
		backoff := workers.RestartBackoff(rpw.Backoff{First: 5 * time.Second, Max: 20 * time.Second, Jitter: -1})
		require.NoError(t, w.Service("watcher", func(ctx context.Context) error {
			origin, _ := rpw.OriginOf(ctx)
			assert.Equal(t, "worker", origin.Worker)
			starts = append(starts, time.Since(began))
			switch len(starts) {
			case 1, 2:
				return errors.New("no such directory")
			case 3:
				panic("oh")
			case 4:
				runtime.Goexit()
			case 5:
				time.Sleep(time.Hour)
				return errors.New("after an hour")
			}
			<-ctx.Done()
			return ctx.Err()
		}, backoff))
		r := run(t, w)
		time.Sleep(2 * time.Second)
		me := registry(t, hub)[0]
		assert.Equal(t, rpw.WorkerError, me.Status)
		assert.Equal(t, "service watcher: no such directory", me.Error)
		time.Sleep(2 * time.Hour)
		me = registry(t, hub)[0]
		assert.Equal(t, rpw.WorkerIdle, me.Status)
		require.Len(t, me.Running, 1)
		assert.Equal(t, "service", me.Running[0].Kind)
		assert.Equal(t, "watcher", me.Running[0].Name)
		require.NoError(t, r.stop())
		s := time.Second
		assert.Equal(t, []time.Duration{0, 5 * s, 15 * s, 35 * s, 55 * s, 55*s + time.Hour + 5*s}, starts)
		assert.EqualValues(t, 1, w.Stats().Panics)
	})
}

func TestServiceEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		var runs atomic.Int32
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, w.Service("once", func(context.Context) error { runs.Add(1); return nil }))
		require.NoError(t, w.Service("broken", func(context.Context) error {
			time.Sleep(time.Hour)
			return rpw.Permanent(errors.New("no configuration"))
		}))
		began := time.Now()
		assert.ErrorContains(t, w.Run(t.Context()), "no configuration")
		assert.Equal(t, time.Hour, time.Since(began))
		assert.EqualValues(t, 1, runs.Load())
	})
}

func TestSingleton(t *testing.T) {
	inSluggish(t, func(t *testing.T, hub *rpw.Hub, store *sluggish) {
		var leading, most, terms atomic.Int32
		var tokens []uint64
		start := func() *runner {
			w := workers.New(hub, workers.Config{Logger: quiet})
			require.NoError(t, w.Service("scheduler", func(ctx context.Context) error {
				most.Store(max(most.Load(), leading.Add(1)))
				defer leading.Add(-1)
				terms.Add(1)
				run, ok := actions.Current(ctx)
				assert.True(t, ok)
				tokens = append(tokens, run.Token)
				<-ctx.Done()
				return context.Cause(ctx)
			}, workers.Singleton()))
			return run(t, w)
		}
		first := start()
		synctest.Wait()
		second, third := start(), start()
		time.Sleep(time.Hour)
		assert.EqualValues(t, 1, leading.Load())
		assert.EqualValues(t, 1, terms.Load())

		began := time.Now()
		require.NoError(t, first.stop())
		synctest.Wait()
		assert.EqualValues(t, 1, leading.Load(), "another one has taken over")
		assert.Zero(t, time.Since(began))

		hubStore, _ := rpw.Native[interface{ Flush() }](hub)
		hubStore.Flush()
		time.Sleep(2 * time.Minute)
		assert.EqualValues(t, 1, leading.Load(), "one goes on after the store has lost the lease")
		assert.EqualValues(t, 1, most.Load(), "never two")
		require.NoError(t, second.stop())
		require.NoError(t, third.stop())
		assert.IsIncreasing(t, tokens)
		assert.Zero(t, leading.Load())
	})
}

// Cancelling the action of a singleton stops it everywhere, until it is retried.
func TestSingletonCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		var leading atomic.Int32
		for range 2 {
			w := workers.New(hub, workers.Config{Logger: quiet})
			require.NoError(t, w.Service("scheduler", func(ctx context.Context) error {
				leading.Add(1)
				defer leading.Add(-1)
				<-ctx.Done()
				return context.Cause(ctx)
			}, workers.Singleton()))
			run(t, w)
		}
		time.Sleep(time.Minute)
		assert.EqualValues(t, 1, leading.Load())
		command := func(kind rpw.CommandKind) {
			ref := rpw.ActionRef{Queue: "rpw.service/scheduler", ID: "leader"}
			answers, err := hub.Actions().Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: kind, Ref: ref}}})
			require.NoError(t, err)
			require.NoError(t, answers[0].Err)
		}
		command(rpw.Cancel)
		time.Sleep(time.Hour)
		assert.Zero(t, leading.Load())
		command(rpw.Retry)
		time.Sleep(time.Second)
		assert.EqualValues(t, 1, leading.Load())
	})
}

// The service learns of it at once, not when its lease is renewed next.
func TestSingletonCancelledAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		w := workers.New(hub, workers.Config{Lease: time.Hour, Logger: quiet})
		ended := make(chan error, 1)
		require.NoError(t, w.Service("scheduler", func(ctx context.Context) error {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil
		}, workers.Singleton()))
		run(t, w)
		time.Sleep(10 * time.Second)
		began := time.Now()
		ref := rpw.ActionRef{Queue: "rpw.service/scheduler", ID: "leader"}
		answers, err := hub.Actions().Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref}}})
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
		assert.ErrorIs(t, <-ended, rpw.ErrCancelled)
		assert.LessOrEqual(t, time.Since(began), time.Second)
		synctest.Wait()
		assert.Equal(t, rpw.Cancelled, get(t, hub, ref).State, "acknowledged")
	})
}

func TestStream(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		numbers := rpw.StreamOf[int]("numbers")
		var sum atomic.Int64
		start := func(c rpw.Consumer) *runner {
			w := workers.New(hub, workers.Config{Name: "adder", Logger: quiet})
			require.NoError(t, workers.Stream(w, numbers, c, func(ctx context.Context, m rpw.Message[int]) error {
				origin, _ := rpw.OriginOf(ctx)
				assert.Equal(t, "adder", origin.Worker)
				time.Sleep(3 * time.Second)
				sum.Add(int64(m.Data))
				return nil
			}))
			return run(t, w)
		}
		r := start(rpw.Consumer{From: rpw.Oldest(), Concurrency: 2})
		synctest.Wait()
		start(rpw.Consumer{})
		for i := range 10 {
			_, err := numbers.Publish(t.Context(), hub, "n", i)
			require.NoError(t, err)
		}
		synctest.Wait()
		time.Sleep(1100 * time.Millisecond)
		me := registry(t, hub)
		require.Len(t, me, 2)
		assert.Equal(t, rpw.WorkerBusy, me[0].Status)
		require.Len(t, me[0].Running, 1)
		assert.Equal(t, "stream", me[0].Running[0].Kind)
		assert.Equal(t, "numbers/adder", me[0].Running[0].Name)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 45, sum.Load())
		require.NoError(t, r.stop())

		other := workers.New(hub, workers.Config{Name: "adder", Logger: quiet})
		require.NoError(t, workers.Stream(other, numbers, rpw.Consumer{MaxDeliveries: 99}, func(context.Context, rpw.Message[int]) error { return nil }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.ErrorIs(t, other.Run(ctx), rpw.ErrConflict, "a mistake in the configuration stops the worker")
	})
}

// TestRestartBackoffInPart: what it leaves out has the defaults of services, not those of actions.
func TestRestartBackoffInPart(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		starts := 0
		w := workers.New(hub, workers.Config{Logger: quiet})
		require.NoError(t, w.Service("watcher", func(context.Context) error {
			starts++
			return errors.New("no such directory")
		}, workers.RestartBackoff(rpw.Backoff{Jitter: -1})))
		r := run(t, w)
		time.Sleep(63*time.Second + time.Hour + time.Millisecond)
		require.NoError(t, r.stop())
		assert.Equal(t, 7+60, starts, "after 1, 2, 4, 8, 16 and 32 s, and then each minute")
	})
}

// TestMetaIsBounded: what no heartbeat could carry is said at once.
func TestMetaIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub) {
		w := workers.New(hub, workers.Config{Meta: map[string]string{"k": strings.Repeat("x", 64<<10)}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.ErrorIs(t, w.Run(ctx), rpw.ErrTooLarge)
	})
}
