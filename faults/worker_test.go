package faults

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/workers"
)

// startWorker runs a worker of the children's actions in this process, until it is stopped or the test ends.
func startWorker(t testing.TB, hub *rpw.Hub, config workers.Config, handle func(context.Context, int) (string, error)) (stop func() error) {
	t.Helper()
	config.Logger = quiet
	w := workers.New(hub, config)
	require.NoError(t, workers.Handle(w, childAction, handle))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func actionOf(t testing.TB, hub *rpw.Hub, ref rpw.ActionRef) rpw.Action {
	t.Helper()
	got, err := hub.Actions().Get(t.Context(), []rpw.ActionRef{ref})
	require.NoError(t, err)
	require.NoError(t, got[0].Err)
	return got[0].Action
}

// ends is how often an action has reached a terminal state.
func ends(a rpw.Action) (n int) {
	for _, c := range a.Events {
		if c.State.Terminal() {
			n++
		}
	}
	return n
}

// TestZombies: F11, A2, A3: a worker is stopped until its leases have ended and others have done its work. When it goes on, its handlers are told,
// what they report and return is refused, and the results of the others stand.
func TestZombies(t *testing.T) {
	t.Parallel()
	rounds, each := 3, 20
	if full {
		rounds, each = 20, 50 // a thousand zombies
	}
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	hub := open(t, url)
	var slowest time.Duration
	for range rounds {
		ins := make([]int, each)
		for i := range ins {
			ins[i] = i
		}
		handles, err := childAction.StartAll(t.Context(), hub, ins)
		require.NoError(t, err)
		zombie := startChild(t, "worker", url)
		within(t, time.Now(), "the worker holds all", func() bool { return len(zombie.said("holds")) == each })
		zombie.stop()
		stopped := time.Now()
		stop := startWorker(t, hub, workers.Config{Concurrency: each}, func(context.Context, int) (string, error) { return "of the next", nil })
		for _, h := range handles {
			out, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "of the next", out)
		}
		slowest = max(slowest, time.Since(stopped))
		require.NoError(t, stop())
		zombie.resume()
		resumed := time.Now()
		within(t, resumed, "the zombie's handlers are told", func() bool { return len(zombie.said("ended")) == each })
		atMost(t, "the handlers of a zombie are told after", time.Since(resumed), childLease/3+time.Second)
		for _, line := range zombie.said("ended") {
			_, codes, _ := strings.Cut(line, " ")
			assert.Equal(t, "lease_lost lease_lost", codes, "why the handler shall end, and what its report is answered")
		}
		zombie.kill()
		for _, h := range handles {
			a := actionOf(t, hub, h.Ref)
			assert.Equal(t, rpw.Completed, a.State)
			assert.JSONEq(t, `"of the next"`, string(a.Output))
			assert.Equal(t, 2, a.Attempt)
			assert.Equal(t, 1, ends(a))
		}
	}
	atMost(t, "the work of a stopped worker was done by another after", slowest, childLease+recovery)
}

// TestAnswerOfACompletionIsLost: F12, A2, A3: the store completes an action and its answer is lost. The repeat is answered as the first would have
// been, whoever asks with the same lease; another end is refused; the end is told once.
func TestAnswerOfACompletionIsLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	far, near := open(t, "redis://"+proxy.Addr), open(t, "redis://"+server.Addr)
	h, err := childAction.Start(t.Context(), near, 1)
	require.NoError(t, err)
	claimed, err := far.Actions().Claim(t.Context(), rpw.ClaimRequest{Queues: []string{h.Ref.Queue}, Worker: "w"})
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	complete := func(hub *rpw.Hub, move rpw.Move) error {
		move.Lease = claimed[0].Lease
		answers, err := hub.Actions().Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{move}})
		if err != nil {
			return err
		}
		return answers[0].Err
	}
	result := rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`"done"`)}
	require.NoError(t, complete(far, rpw.Move{Kind: rpw.SetProgress, Progress: 0.5})) // the server knows the script from now on
	proxy.Mute(true)
	answer := make(chan error, 1)
	go func() { answer <- complete(far, result) }()
	within(t, time.Now(), "it is done", func() bool { return actionOf(t, near, h.Ref).State == rpw.Completed })
	proxy.Mute(false)
	proxy.Cut()
	require.NoError(t, <-answer)
	require.NoError(t, complete(near, result))
	assert.ErrorIs(t, complete(near, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no"}}), rpw.ErrFinished)
	a := actionOf(t, near, h.Ref)
	assert.Equal(t, rpw.Completed, a.State)
	assert.JSONEq(t, `"done"`, string(a.Output))
	assert.Equal(t, 1, ends(a))
}

// TestPoisonedAction: F13, A5, A1: an action that kills each worker that tries it is failed after the attempts that the store has counted; the crash
// is told from a failure of its handler.
func TestPoisonedAction(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	hub := open(t, url)
	h, err := childAction.Start(t.Context(), hub, 1)
	require.NoError(t, err)
	for range 3 {
		victim := startChild(t, "poisoned worker", url)
		within(t, time.Now(), "the action kills the worker", victim.ended)
	}
	within(t, time.Now(), "the action is failed", func() bool { return actionOf(t, hub, h.Ref).State == rpw.Failed })
	a := actionOf(t, hub, h.Ref)
	assert.Equal(t, 3, a.Attempt)
	require.Len(t, a.Failures, 3)
	for i, f := range a.Failures {
		assert.Equal(t, i+1, f.Attempt)
		assert.Contains(t, f.Message, "lease", "the worker was lost")
	}
	assert.Equal(t, 1, ends(a))
}

// TestScheduledThroughARestart: F14, A6, A1: actions that become due while three workers compete and the server is killed and comes back run once,
// never early by the clock of the server, and soon.
func TestScheduledThroughARestart(t *testing.T) {
	if !full { // 50 ms need a machine that does nothing else
		t.Parallel()
	}
	const through, after = 60, 10 // actions that become due around the outage, and when it is over
	server := redistest.StartDurable(t)
	url := "redis://" + server.Addr
	var runs [through + after]atomic.Int64
	for range 3 {
		startWorker(t, open(t, url), workers.Config{Concurrency: 10}, func(_ context.Context, n int) (string, error) {
			runs[n].Add(1)
			return strconv.Itoa(n), nil
		})
	}
	hub := open(t, url)
	schedule := func(from, to int) (handles []actions.Handle[string]) {
		for n := from; n < to; n++ {
			h, err := childAction.Start(t.Context(), hub, n, actions.Delay(500*time.Millisecond+time.Duration(n-from)*40*time.Millisecond))
			require.NoError(t, err)
			handles = append(handles, h)
		}
		return handles
	}
	begun := func(n int, h actions.Handle[string]) rpw.Action {
		_, err := h.Wait(t.Context())
		require.NoError(t, err)
		a := actionOf(t, hub, h.Ref)
		assert.EqualValues(t, 1, runs[n].Load(), "%d runs once", n)
		assert.False(t, a.Started.Before(a.RunAt), "never early")
		return a
	}
	late := time.Second
	if full {
		late = 50 * time.Millisecond
	}
	handles := schedule(0, through)
	time.Sleep(time.Second)
	killed := time.Now()
	server.Kill()
	time.Sleep(500 * time.Millisecond)
	server.Restart(t)
	server.AwaitLoaded(t)
	back := time.Now()
	var outside, inside time.Duration
	for n, h := range handles {
		if a := begun(n, h); a.RunAt.Add(late).Before(killed) {
			outside = max(outside, a.Started.Sub(a.RunAt))
		} else { // it may not have begun before the outage
			inside = max(inside, a.Started.Sub(back))
		}
	}
	atMost(t, "those due in the outage begin after its end", inside, recovery)
	for n, h := range schedule(through, through+after) {
		a := begun(through+n, h)
		outside = max(outside, a.Started.Sub(a.RunAt))
	}
	atMost(t, "actions begin late, away from the outage", outside, late)
}

// TestStopWithoutServer: F31, W3: a worker stops within its grace and a second when the server says nothing; and what it could not hand back is run
// by another when the lease has ended. With a server it is handed back at once, without the cost of an attempt.
func TestStopWithoutServer(t *testing.T) {
	t.Parallel()
	for name, frozen := range map[string]bool{"frozen": true, "there": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			url := "redis://" + server.Addr
			hub := open(t, url)
			holds := make(chan struct{})
			config := workers.Config{Concurrency: 1, Grace: time.Second, Lease: 3 * time.Second}
			stop := startWorker(t, hub, config, func(ctx context.Context, _ int) (string, error) {
				close(holds)
				<-ctx.Done()
				return "", context.Cause(ctx)
			})
			h, err := childAction.Start(t.Context(), hub, 1)
			require.NoError(t, err)
			<-holds
			if frozen {
				server.Freeze()
			}
			began := time.Now()
			_ = stop() // what it could not hand back it may say
			stopped := time.Now()
			atMost(t, "the worker stops after", stopped.Sub(began), config.Grace+time.Second+200*time.Millisecond)
			server.Thaw()
			startWorker(t, open(t, url), workers.Config{}, func(context.Context, int) (string, error) { return "", nil })
			_, err = h.Wait(t.Context())
			require.NoError(t, err)
			a := actionOf(t, hub, h.Ref)
			if frozen {
				atMost(t, "another has run it after", time.Since(stopped), config.Lease+recovery)
			} else {
				atMost(t, "another has run it after", time.Since(stopped), recovery/2)
				assert.Equal(t, 1, a.Attempt, "it cost no attempt")
			}
			assert.Equal(t, rpw.Completed, a.State)
		})
	}
}

// TestCancelRaces: F30, A3, A7: claims, completions, retries and cancels of the same actions race from three clients. Each action ends once, and what
// was cancelled before it was claimed never runs.
func TestCancelRaces(t *testing.T) {
	t.Parallel()
	races := 1500
	if full {
		races = 10_000
	}
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	worker, canceller, reader := open(t, url), open(t, url), open(t, url)
	var ran sync.Map // by number
	startWorker(t, worker, workers.Config{Concurrency: 16}, func(ctx context.Context, n int) (string, error) {
		ran.Store(n, true)
		if now, _ := actions.Current(ctx); n%3 == 0 && now.Attempt == 1 {
			return "", errors.New("the first attempt fails")
		}
		return "", ctx.Err()
	})
	var unrun, completed, cancelled atomic.Int64
	each(races, func(n int) {
		h, err := childAction.Start(t.Context(), reader, n)
		if !assert.NoError(t, err) {
			return
		}
		state, err := childAction.Handle(canceller, h.Ref).Cancel(t.Context(), "race")
		if err != nil {
			assert.ErrorIs(t, err, rpw.ErrFinished)
		}
		_, failed := h.Wait(t.Context())
		a := actionOf(t, reader, h.Ref)
		assert.Equal(t, 1, ends(a))
		switch _, begun := ran.Load(n); {
		case err == nil && state == rpw.Cancelled && a.Attempt == 0:
			unrun.Add(1)
			assert.False(t, begun, "cancelled before it was claimed")
			assert.ErrorIs(t, failed, rpw.ErrCancelled)
		case a.State == rpw.Cancelled:
			cancelled.Add(1)
			assert.ErrorIs(t, failed, rpw.ErrCancelled)
		default:
			completed.Add(1)
			assert.Equal(t, rpw.Completed, a.State)
		}
	})
	note(t, "cancelled before they ran, while they ran, too late", [3]int64{unrun.Load(), cancelled.Load(), completed.Load()})
}
