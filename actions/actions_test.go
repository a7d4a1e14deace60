package actions_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
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

// flaky is an ActionStore that is away while told so.
type flaky struct {
	rpw.ActionStore
	away atomic.Bool
}

func (f *flaky) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	if f.away.Load() {
		return nil, rpw.Errorf(rpw.ErrUnavailable, "connection refused")
	}
	if req.Wait > 0 { // and it drops its links now and then
		req.Wait = time.Second
		changes, err := f.ActionStore.Changes(ctx, req)
		if len(changes) == 0 && err == nil && f.away.Load() {
			err = rpw.Errorf(rpw.ErrUnavailable, "connection reset")
		}
		return changes, err
	}
	return f.ActionStore.Changes(ctx, req)
}

// inBubble runs a test in virtual time, with a hub over a fresh store.
func inBubble(t *testing.T, test func(t *testing.T, hub *rpw.Hub, store *flaky)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		parts := memory.New(memory.Options{}).Parts()
		store := &flaky{ActionStore: parts.Actions}
		parts.Actions = store
		hub, err := rpw.New(parts)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, hub.Close()) })
		test(t, hub, store)
	})
}

// handle runs a worker for a definition until the end of the test.
func handle[In, Out any](t *testing.T, hub *rpw.Hub, def *actions.Definition[In, Out], fn func(context.Context, In) (Out, error)) {
	t.Helper()
	w := workers.New(hub, workers.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, workers.Handle(w, def, fn))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done)
	})
}

func get(t *testing.T, hub *rpw.Hub, ref rpw.ActionRef) rpw.Action {
	t.Helper()
	got, err := hub.Actions().Get(t.Context(), []rpw.ActionRef{ref})
	require.NoError(t, err)
	require.NoError(t, got[0].Err)
	return got[0].Action
}

func TestOptions(t *testing.T) {
	at := time.Date(2001, 1, 2, 3, 4, 5, 0, time.UTC)
	keep := rpw.KeepActions{Completed: time.Hour, Failed: rpw.NoTTL}
	backoff := rpw.Backoff{First: time.Second, Max: time.Minute}
	def := actions.Define[int, int]("work", actions.Queue("heavy"), actions.MaxAttempts(7), actions.Timeout(time.Minute),
		actions.Backoff(backoff), actions.StartWithin(time.Hour), actions.Unique("one", rpw.UniqueReject), actions.Label("a"),
		actions.Keep(keep), actions.CancelGrace(time.Second), actions.Delay(time.Hour))
	spec, err := def.Spec()
	require.NoError(t, err)
	assert.Equal(t, rpw.ActionSpec{
		Ref: rpw.ActionRef{Queue: "heavy"}, Name: "work", MaxAttempts: 7, Timeout: time.Minute, Backoff: backoff, StartWithin: time.Hour,
		Unique: "one", OnUnique: rpw.UniqueReject, Labels: []string{"a"}, Keep: keep, CancelGrace: time.Second, Delay: time.Hour,
	}, spec)
	assert.Equal(t, "work", def.Name())

	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		h, err := def.Start(t.Context(), hub, 1, actions.RunAt(at), actions.Label("b"), actions.ID("first"))
		require.NoError(t, err)
		assert.Equal(t, "heavy/first", h.Ref.String())
		a := get(t, hub, h.Ref)
		assert.True(t, at.Equal(a.RunAt))
		assert.Equal(t, []string{"a", "b"}, a.Labels)
		spec, _ := def.Spec()
		assert.Equal(t, []string{"a"}, spec.Labels, "a definition is immutable")
	})
}

func TestBadOptions(t *testing.T) {
	bad := map[string]actions.Option{
		"no attempts":       actions.MaxAttempts(0),
		"negative attempts": actions.MaxAttempts(-1),
		"negative timeout":  actions.Timeout(-1),
		"negative delay":    actions.Delay(-1),
		"long delay":        actions.Delay(rpw.MaxDelay + 1),
		"back-off order":    actions.Backoff(rpw.Backoff{First: time.Hour, Max: time.Second}),
		"negative back-off": actions.Backoff(rpw.Backoff{First: -1}),
		"jitter":            actions.Backoff(rpw.Backoff{Jitter: 2}),
		"NaN":               actions.Backoff(rpw.Backoff{Jitter: math.NaN()}),
		"start within":      actions.StartWithin(-1),
		"unique key":        actions.Unique("", rpw.UniqueJoin),
		"unique policy":     actions.Unique("k", 99),
		"label":             actions.Label(""),
		"labels":            actions.Label(strings.Split(strings.Repeat("x ", 16)+"x", " ")...),
		"keep":              actions.Keep(rpw.KeepActions{Failed: -5}),
		"grace":             actions.CancelGrace(rpw.MaxLease + 1),
		"queue":             actions.Queue("a{b}"),
		"nil":               nil,
	}
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		good := actions.Define[int, int]("work")
		for name, opt := range bad {
			_, err := actions.Define[int, int]("work", opt).Spec()
			assert.ErrorIs(t, err, rpw.ErrInvalid, name)
			_, err = actions.Define[int, int]("work", opt).Start(t.Context(), hub, 1)
			assert.ErrorIs(t, err, rpw.ErrInvalid, name)
			_, err = good.Start(t.Context(), hub, 1, opt)
			assert.ErrorIs(t, err, rpw.ErrInvalid, name)
		}
		_, err := actions.Define[int, int]("work", actions.ID("x")).Spec()
		assert.ErrorIs(t, err, rpw.ErrInvalid, "an id is of one action")
		for id, text := range map[string]string{"a/b": `action id "a/b" holds a "/"`, "": "action id name is empty", "a/../b": `has a ".." segment`} {
			_, err = good.Start(t.Context(), hub, 1, actions.ID(id))
			assert.ErrorIs(t, err, rpw.ErrInvalid)
			assert.ErrorContains(t, err, text)
		}
		_, err = actions.Define[int, int]("").Start(t.Context(), hub, 1)
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		_, err = new(actions.Definition[int, int]).Start(t.Context(), hub, 1)
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		_, err = good.Start(t.Context(), nil, 1)
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		_, err = good.StartAll(t.Context(), hub, nil)
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		_, err = actions.Define[func(), int]("work").Start(t.Context(), hub, func() {})
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		var none actions.Handle[int]
		_, err = none.Wait(t.Context())
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		_, err = none.Cancel(t.Context(), "")
		assert.ErrorIs(t, err, rpw.ErrInvalid)
		for _, err := range none.Watch(t.Context()) {
			assert.ErrorIs(t, err, rpw.ErrInvalid)
		}
	})
}

func TestStartAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		def := actions.Define[string, string]("work")
		first, err := def.Start(t.Context(), hub, "x", actions.ID("one"))
		require.NoError(t, err)
		assert.False(t, first.Existing)
		again, err := def.Start(t.Context(), hub, "x", actions.ID("one"))
		require.NoError(t, err)
		assert.True(t, again.Existing)
		assert.Equal(t, first.Ref, again.Ref)
		_, err = def.Start(t.Context(), hub, "y", actions.ID("one"))
		assert.ErrorIs(t, err, rpw.ErrConflict)

		unique := actions.Unique("key", rpw.UniqueJoin)
		a, err := def.Start(t.Context(), hub, "a", unique)
		require.NoError(t, err)
		b, err := def.Start(t.Context(), hub, "b", unique)
		require.NoError(t, err)
		assert.Equal(t, a.Ref, b.Ref)
		assert.True(t, b.Existing)
		_, err = def.Start(t.Context(), hub, "c", actions.Unique("key", rpw.UniqueReject))
		assert.ErrorIs(t, err, rpw.ErrConflict)
	})
}

func TestStartAllIsAllOrNone(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		def := actions.Define[string, string]("work")
		_, err := def.StartAll(t.Context(), hub, []string{"a", "b"}, actions.Unique("same", rpw.UniqueReject))
		assert.ErrorIs(t, err, rpw.ErrConflict)
		counts, err := hub.Actions().Count(t.Context(), rpw.ActionFilter{})
		require.NoError(t, err)
		assert.Zero(t, counts[rpw.Pending])
	})
}

// TestOneIDIsOfOneAction: several arguments with one id are a mistake, also if they are equal.
func TestOneIDIsOfOneAction(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		def := actions.Define[string, string]("work")
		for _, ins := range [][]string{{"a", "b"}, {"a", "a"}} {
			_, err := def.StartAll(t.Context(), hub, ins, actions.ID("same"))
			assert.ErrorIs(t, err, rpw.ErrInvalid)
		}
		counts, err := hub.Actions().Count(t.Context(), rpw.ActionFilter{})
		require.NoError(t, err)
		assert.Zero(t, counts[rpw.Pending])
		_, err = def.StartAll(t.Context(), hub, []string{"a"}, actions.ID("same"))
		assert.NoError(t, err)
	})
}

func TestWait(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, store *flaky) {
		def := actions.Define[string, string]("work", actions.MaxAttempts(1))
		handle(t, hub, def, func(_ context.Context, in string) (string, error) {
			time.Sleep(time.Minute)
			if in == "bad" {
				return "", errors.New("bad input")
			}
			return in, nil
		})
		h, err := def.Start(t.Context(), hub, "good")
		require.NoError(t, err)
		store.away.Store(true)
		time.AfterFunc(2*time.Minute, func() { store.away.Store(false) })
		out, err := def.Wait(t.Context(), hub, h.Ref)
		require.NoError(t, err, "through an outage")
		assert.Equal(t, "good", out)
		out, err = h.Wait(t.Context())
		require.NoError(t, err, "again")
		assert.Equal(t, "good", out)

		_, err = def.Run(t.Context(), hub, "bad")
		failure, ok := errors.AsType[*actions.Error](err)
		require.True(t, ok)
		assert.Equal(t, rpw.Failed, failure.State)
		assert.ErrorContains(t, err, "failed in attempt 1: bad input")
		cause, ok := errors.AsType[*rpw.ActionFailure](err)
		require.True(t, ok)
		assert.Equal(t, "bad input", cause.Message)

		_, err = actions.Define[string, int]("work").Wait(t.Context(), hub, h.Ref)
		assert.ErrorIs(t, err, rpw.ErrConflict)
		_, err = def.Wait(t.Context(), hub, rpw.ActionRef{Queue: "work", ID: "absent"})
		assert.ErrorIs(t, err, rpw.ErrNotFound)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = def.Run(ctx, hub, "slow")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Minute) // the action goes on
	})
}

// Long histories are cut; Wait does not mind.
func TestWaitWithLongHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		def := actions.Define[int, int]("chatty")
		handle(t, hub, def, func(ctx context.Context, n int) (int, error) {
			for i := range n {
				if err := actions.Event(ctx, "step", i); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
		h, err := def.Start(t.Context(), hub, 1000)
		require.NoError(t, err)
		time.Sleep(time.Second)
		out, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1000, out)
		var kinds []rpw.ChangeKind
		for u, err := range h.WatchAfter(t.Context(), 1) {
			require.NoError(t, err)
			kinds = append(kinds, u.Kind)
			assert.Equal(t, 1000, u.Result)
		}
		assert.Equal(t, []rpw.ChangeKind{actions.Snapshot}, kinds, "a snapshot takes the place of what is lost")
	})
}

func TestWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, store *flaky) {
		def := actions.Define[string, string]("work", actions.Backoff(rpw.Backoff{First: time.Second, Jitter: -1}))
		handle(t, hub, def, func(ctx context.Context, in string) (string, error) {
			if run, _ := actions.Current(ctx); run.Attempt == 1 {
				assert.NoError(t, actions.Progress(ctx, 0.5, map[string]int{"page": 5}))
				return "", errors.New("try again")
			} else {
				assert.JSONEq(t, `{"page": 5}`, string(run.Data), "the next attempt finds it")
			}
			assert.NoError(t, actions.Event(ctx, "half", 12))
			time.Sleep(10 * time.Second)
			return "done " + in, nil
		})
		h, err := def.Start(t.Context(), hub, "x", actions.Delay(time.Second))
		require.NoError(t, err)
		time.AfterFunc(3*time.Second, func() { store.away.Store(true) })
		time.AfterFunc(30*time.Second, func() { store.away.Store(false) })

		var seen []actions.Update[string]
		for u, err := range h.Watch(t.Context()) {
			require.NoError(t, err)
			seen = append(seen, u)
		}
		var kinds []rpw.ChangeKind
		for i, u := range seen {
			kinds = append(kinds, u.Kind)
			assert.EqualValues(t, i+1, u.Seq, "gapless")
		}
		assert.Equal(t, []rpw.ChangeKind{actions.Snapshot, rpw.ChangeClaimed, rpw.ChangeData, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeEvent, rpw.ChangeCompleted}, kinds)
		assert.Equal(t, rpw.Pending, seen[0].Action.State)
		assert.Equal(t, 0.5, seen[2].Progress)
		assert.Equal(t, "try again", seen[3].Failure.Message)
		assert.Equal(t, "half", seen[5].Event)
		last := seen[len(seen)-1]
		assert.NoError(t, last.Err)
		assert.Equal(t, "done x", last.Result)

		for seq := range last.Seq { // who comes back goes on where he was
			next := seq + 1
			for u, err := range def.Handle(hub, h.Ref).WatchAfter(t.Context(), seq) {
				require.NoError(t, err)
				assert.Equal(t, next, u.Seq)
				next++
			}
			assert.Equal(t, last.Seq, next-1)
		}
		for range h.WatchAfter(t.Context(), last.Seq) {
			t.Error("there is nothing to tell after the result")
		}
		for u, err := range h.WatchAfter(t.Context(), last.Seq+5) {
			require.NoError(t, err)
			assert.Equal(t, actions.Snapshot, u.Kind, "the store has lost what the caller saw")
		}
		for u, err := range def.Watch(t.Context(), hub, h.Ref) {
			require.NoError(t, err)
			assert.Equal(t, "done x", u.Result)
		}
		for _, err := range def.Watch(t.Context(), hub, rpw.ActionRef{Queue: "work", ID: "absent"}) {
			assert.ErrorIs(t, err, rpw.ErrNotFound)
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		def := actions.Define[string, string]("work")
		h, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var last error
		for _, err := range h.Watch(ctx) {
			last = err
		}
		assert.ErrorIs(t, last, context.DeadlineExceeded)
		for range h.Watch(t.Context()) {
			break // a watcher may leave
		}
	})
}

func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, hub *rpw.Hub, _ *flaky) {
		def := actions.Define[string, string]("work")
		h, err := def.Start(t.Context(), hub, "")
		require.NoError(t, err)
		for range 2 {
			state, err := h.Cancel(t.Context(), "no longer needed")
			require.NoError(t, err)
			assert.Equal(t, rpw.Cancelled, state)
		}
		_, err = h.Wait(t.Context())
		assert.ErrorIs(t, err, rpw.ErrCancelled)
		assert.ErrorContains(t, err, "cancelled: no longer needed")
		_, err = def.Handle(hub, rpw.ActionRef{Queue: "work", ID: "absent"}).Cancel(t.Context(), "")
		assert.ErrorIs(t, err, rpw.ErrNotFound)
	})
}

// Handlers can be tested as plain functions.
func TestHandlerOutsideAWorker(t *testing.T) {
	ctx := t.Context()
	_, ok := actions.Current(ctx)
	assert.False(t, ok)
	assert.NoError(t, actions.Progress(ctx, 0.5))
	assert.NoError(t, actions.Progress(ctx, -1, "data"))
	assert.NoError(t, actions.Event(ctx, "half", nil))
	assert.ErrorIs(t, actions.Progress(ctx, math.NaN()), rpw.ErrInvalid)
	assert.ErrorIs(t, actions.Progress(ctx, 1.5), rpw.ErrInvalid)
	assert.ErrorIs(t, actions.Progress(ctx, 0, 1, 2), rpw.ErrInvalid)
	assert.ErrorIs(t, actions.Progress(ctx, 0, func() {}), rpw.ErrInvalid)
	assert.ErrorIs(t, actions.Progress(ctx, 0, strings.Repeat("x", rpw.MaxPayload)), rpw.ErrTooLarge)
	assert.ErrorIs(t, actions.Event(ctx, "", nil), rpw.ErrInvalid)

	var moves []rpw.Move
	ctx = actions.NewContext(ctx, actions.Run{Attempt: 3}, func(_ context.Context, m rpw.Move) error {
		moves = append(moves, m)
		return nil
	})
	run, ok := actions.Current(ctx)
	assert.True(t, ok)
	assert.Equal(t, 3, run.Attempt)
	require.NoError(t, actions.Progress(ctx, 0.25, 7))
	require.NoError(t, actions.Event(ctx, "half", "x"))
	assert.Equal(t, []rpw.Move{
		{Kind: rpw.SetProgress, Progress: 0.25, Data: json.RawMessage("7")},
		{Kind: rpw.AddEvent, Event: "half", Data: json.RawMessage(`"x"`)},
	}, moves)
	assert.NoError(t, actions.Progress(actions.NewContext(t.Context(), run, nil), 1))
}
