package workers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
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

// TestHandlersThatTurnBack: F43, A1, W1: handlers, of actions and of events, publish, start actions, wait for them, cancel themselves, panic, and close
// the very Hub they run on. Nothing is locked for ever.
func TestHandlersThatTurnBack(t *testing.T) {
	events := rpw.StreamOf[string]("events")
	inner := actions.Define[string, string]("inner")
	deeds := map[string]struct {
		do    func(ctx context.Context, hub *rpw.Hub) error
		state rpw.State // of the action
	}{
		"Publish": {func(ctx context.Context, hub *rpw.Hub) error {
			_, err := events.Publish(ctx, hub, "echo", "")
			return err
		}, rpw.Completed},
		"RunAnother": {func(ctx context.Context, hub *rpw.Hub) error {
			_, err := inner.Run(ctx, hub, "x")
			return err
		}, rpw.Completed},
		"Panic": {func(context.Context, *rpw.Hub) error { panic("oh") }, rpw.Failed},
		"Cancel": {func(ctx context.Context, hub *rpw.Hub) error {
			run, ok := actions.Current(ctx)
			if !ok {
				return rpw.Permanent(errors.New("no action"))
			}
			if _, err := inner.Handle(hub, run.Ref).Cancel(ctx, "by itself"); err != nil {
				return err
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, rpw.Cancelled},
		"Close": {func(_ context.Context, hub *rpw.Hub) error { return hub.Close() }, rpw.Pending}, // it was handed back
	}
	for name, deed := range deeds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New(memory.Options{})
				hub, err := rpw.New(store.Parts())
				require.NoError(t, err)
				other := open(t, store.Parts())
				outer := actions.Define[string, string]("outer", actions.MaxAttempts(1))
				w := workers.New(hub, workers.Config{Concurrency: 2, Logger: quiet})
				require.NoError(t, workers.Handle(w, inner, func(_ context.Context, in string) (string, error) { return in, nil }))
				require.NoError(t, workers.Handle(w, outer, func(ctx context.Context, in string) (string, error) { return in, deed.do(ctx, hub) }))
				handled := make(chan struct{}, 10)
				require.NoError(t, workers.Stream(w, events, rpw.Consumer{Group: "group", From: rpw.Oldest(), MaxDeliveries: 1}, func(ctx context.Context, m rpw.Message[string]) error {
					handled <- struct{}{}
					if m.Type == "echo" || name == "Close" {
						return nil
					}
					return deed.do(ctx, hub)
				}))
				r := run(t, w)
				_, err = events.Publish(t.Context(), other, "first", "")
				require.NoError(t, err)
				<-handled
				began := time.Now()
				h, err := outer.Start(t.Context(), other, "x")
				require.NoError(t, err)
				if name == "Close" {
					<-r.done
					assert.LessOrEqual(t, time.Since(began), rpw.CloseTimeout+time.Second)
				} else {
					_, _ = h.Wait(t.Context())
					_, err := events.Publish(t.Context(), other, "echo", "")
					require.NoError(t, err)
					<-handled
					require.NoError(t, r.stop())
					require.NoError(t, hub.Close())
				}
				assert.Equal(t, deed.state, get(t, other, h.Ref).State)
			})
		})
	}
}

// TestHandlersHoldUpNoOther: A8, F43: handlers that were claimed together share goroutines. One that does not return, or ends its goroutine, holds up none of
// those behind it; nor does a log that blocks hold up the results of others.
func TestHandlersHoldUpNoOther(t *testing.T) {
	deeds := map[string]func(free <-chan struct{}) error{
		"DoesNotReturn":     func(free <-chan struct{}) error { <-free; return nil },
		"EndsItsGoroutine":  func(<-chan struct{}) error { runtime.Goexit(); return nil },
		"FailsAndLogBlocks": func(<-chan struct{}) error { return errors.New("no luck") },
	}
	for name, deed := range deeds {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, hub *rpw.Hub) {
				free := make(chan struct{})
				log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) { <-free; return len(p), nil }), nil))
				def := actions.Define[int, int]("work", actions.MaxAttempts(1))
				w := workers.New(hub, workers.Config{Concurrency: 10, Logger: log})
				require.NoError(t, workers.Handle(w, def, func(_ context.Context, n int) (int, error) {
					if n%2 == 0 {
						return n, deed(free)
					}
					return n, nil
				}))
				handles, err := def.StartAll(t.Context(), hub, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
				require.NoError(t, err)
				r := run(t, w)
				for n := 1; n < 10; n += 2 {
					out, err := handles[n].Wait(t.Context())
					require.NoError(t, err)
					assert.Equal(t, n, out)
				}
				close(free)
				for n := 0; n < 10; n += 2 {
					_, err := handles[n].Wait(t.Context())
					assert.Equal(t, name == "DoesNotReturn", err == nil, "%v", err)
				}
				require.NoError(t, r.stop())
				stats := w.Stats()
				assert.Zero(t, stats.Running)
				assert.EqualValues(t, 10, stats.Completed+stats.Failed)
			})
		})
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestFailuresAreLogged: each failed attempt, and that no other one follows.
func TestFailuresAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := open(t, memory.New(memory.Options{}).Parts())
		var lines bytes.Buffer
		w := workers.New(hub, workers.Config{Name: "resizer", Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		def := actions.Define[string, string]("work", actions.MaxAttempts(2), actions.Backoff(rpw.Backoff{First: time.Second, Jitter: -1}))
		require.NoError(t, workers.Handle(w, def, func(context.Context, string) (string, error) { return "", errors.New("no luck") }))
		r := run(t, w)
		h, err := def.Start(t.Context(), hub, "x")
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.Error(t, err)
		require.NoError(t, r.stop())
		logged := strings.Split(strings.TrimSpace(lines.String()), "\n")
		require.Len(t, logged, 2, lines.String())
		for i, want := range []string{`level=WARN msg="rpw: an attempt failed, another follows"`, `level=ERROR msg="rpw: an action failed"`} {
			assert.Contains(t, logged[i], want)
			assert.Contains(t, logged[i], fmt.Sprintf(`worker=resizer action=%s name=work attempt=%d err="no luck"`, h.Ref, i+1))
		}
		assert.Contains(t, logged[0], "in=1s")
	})
}
