package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/workers"
)

// work runs a worker for the action "echo" until the returned function is called. An argument that is a text fails with it; "hang" waits for
// the end of its ctx.
func (b *backend) work() (stop func()) {
	b.t.Helper()
	echo := actions.Define[json.RawMessage, json.RawMessage]("echo", actions.MaxAttempts(1))
	w := workers.New(b.hub, workers.Config{Name: "echoer", ID: "echoer-1", Concurrency: 2, Meta: map[string]string{"zone": "a"}})
	require.NoError(b.t, workers.Handle(w, echo, func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
		actions.Progress(ctx, 0.5)
		var text string
		if json.Unmarshal(in, &text) != nil || text == "" {
			return in, nil
		}
		if text == "hang" {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return nil, rpw.Permanent(errors.New(text))
	}))
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		require.NoError(b.t, <-done)
	}
}

func TestActionStart(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		defer b.work()()
		assert.Equal(t, `{"path":"cat.png"}`+"\n", b.ok("action", "start", "echo", `{"path": "cat.png"}`, "--wait"))
		b.stdin = strings.NewReader("[1]")
		assert.Equal(t, "[1]\n", b.ok("action", "start", "echo", "-", "--wait"))
		assert.Equal(t, "null\n", b.ok("action", "start", "echo", "--wait", "--json"))

		r := b.run("action", "start", "echo", `"broken"`, "--wait")
		assert.Equal(t, exitAction, r.code)
		assert.Contains(t, r.stderr, "failed in attempt 1: broken")
		require.Equal(t, "echo/hanging\n", b.ok("action", "start", "echo", `"hang"`, "--id", "hanging"))
		p := b.start("action", "start", "echo", `"hang"`, "--id", "hanging", "--wait")
		p.interrupt()
		assert.Equal(t, exitInterrupted, p.wait().code)
		p = b.start("action", "start", "echo", `"hang"`, "--id", "hanging", "--wait")
		assert.Equal(t, "echo/hanging running\n", b.ok("action", "cancel", "echo/hanging", "--reason", "enough"))
		r = p.wait()
		assert.Equal(t, exitAction, r.code)
		assert.Contains(t, r.stderr, "cancelled")
	})
}

func TestActionStartOptions(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		started := b.lines("action", "start", "report", `{"a":"<b>"}`, "--queue", "night", "--id", "one", "--delay", "1h", "--unique", "nightly",
			"--max-attempts", "3", "--attempt-timeout", "1m", "--label", "red,blue", "--start-within", "2h")[0]
		assert.Equal(t, map[string]any{"action": "night/one", "queue": "night", "id": "one", "existing": false}, started)
		x := b.lines("action", "show", "night/one")[0]
		assert.Equal(t, "report", x["name"])
		assert.EqualValues(t, 3, x["maxAttempts"])
		assert.EqualValues(t, time.Minute, x["timeout"])
		assert.Equal(t, []any{"red", "blue"}, x["labels"])
		assert.Equal(t, "nightly", x["unique"])
		assert.Equal(t, map[string]any{"a": "<b>"}, x["arg"])
		assert.Equal(t, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), x["runAt"])

		joined := b.lines("action", "start", "report", "--queue", "night", "--unique", "nightly")[0]
		assert.Equal(t, "one", joined["id"])
		assert.Equal(t, true, joined["existing"])
		b.fails(4, "conflict", "action", "start", "report", "--queue", "night", "--unique", "nightly", "--on-unique", "reject")
		at := time.Now().Add(5 * time.Hour).UTC().Format(time.RFC3339)
		b.ok("action", "start", "report", "--queue", "night", "--unique", "nightly", "--on-unique", "reschedule", "--run-at", at)
		assert.Equal(t, at, b.lines("action", "show", "night/one")[0]["runAt"])
		b.fails(4, "conflict", "action", "start", "report", "2", "--queue", "night", "--id", "one")
	})
}

func TestActionList(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.ok("action", "start", "resize", `{"path":"cat.png"}`, "--id", "1", "--label", "red")
		time.Sleep(2 * time.Hour) // virtual
		b.ok("action", "start", "resize", "--id", "2", "--delay", "1h")
		b.ok("action", "start", "report", "--id", "3")
		b.ok("action", "cancel", "report/3", "--reason", "no need")
		found := func(args ...string) (ids []string) {
			for _, x := range b.lines(append([]string{"action", "ls"}, args...)...) {
				ids = append(ids, x["id"].(string))
			}
			return ids
		}
		assert.Equal(t, []string{"1", "2", "3"}, found())
		assert.Equal(t, []string{"3", "2"}, found("--reverse", "--limit", "2"))
		assert.Equal(t, []string{"1", "2"}, found("--queue", "resize,none"))
		assert.Equal(t, []string{"3"}, found("--queue-prefix", "rep"))
		assert.Equal(t, []string{"3"}, found("--name", "repo"))
		assert.Equal(t, []string{"1"}, found("--label", "red"))
		assert.Equal(t, []string{"1", "2"}, found("--state", "pending,running"))
		assert.Equal(t, []string{"2", "3"}, found("--since", "1h"))
		assert.Equal(t, []string{"1"}, found("--until", "1h"))

		out := b.ok("action", "ls")
		assert.Regexp(t, `ACTION +NAME +STATE +ATTEMPT +CREATED +ARG +NOTE\nresize/1 +resize +pending +0/5 +[-\d]+ [:\d]+ +{"path":"cat.png"} +-\nresize/2 .* from `, out)
		assert.Contains(t, out, "no need")
		assert.Equal(t, map[string]any{"pending": 2.0, "cancelled": 1.0}, nonzero(b.lines("action", "count")[0]))
		assert.Regexp(t, `cancelled +1\n`, b.ok("action", "count", "--queue", "report"))
	})
}

func nonzero(counts map[string]any) map[string]any {
	for state, n := range counts {
		if n == 0.0 {
			delete(counts, state)
		}
	}
	return counts
}

func TestActionShow(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		defer b.work()()
		b.run("action", "start", "echo", `"broken"`, "--id", "1", "--wait")
		out := b.ok("action", "show", "echo/1")
		assert.Regexp(t, `(?s)action +echo/1\n.*state +failed\n.*failure +broken\n.*\nTIME .*request .*claimed .*data .*50 %.*failed .*broken\n`, out)
		x := b.lines("action", "show", "echo/1")[0]
		assert.Equal(t, "failed", x["status"])
		assert.Len(t, x["events"], 4)
		b.fails(3, "not found", "action", "show", "echo/none")
	})
}

func TestActionWatch(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.ok("action", "start", "echo", "1", "--id", "1")
		p := b.start("action", "watch", "echo/1")
		assert.Contains(t, p.stdout.String(), "  snapshot  pending\n")
		stop := b.work()
		r := p.wait()
		assert.Equal(t, exitOK, r.code)
		assert.Regexp(t, `(?s)snapshot  pending\n.*claimed  running  attempt 1\n.*data  running  attempt 1  50 %\n.*completed  completed  attempt 1  1\n`, r.stdout)
		lines := b.lines("action", "watch", "echo/1", "--after", "1")
		require.Len(t, lines, 3)
		assert.Equal(t, "claimed", lines[0]["type"])
		assert.EqualValues(t, 2, lines[0]["seq"])
		lines = b.lines("action", "watch", "echo/1")
		require.Len(t, lines, 1)
		assert.Equal(t, "snapshot", lines[0]["type"])
		assert.Equal(t, "echo", lines[0]["action"].(map[string]any)["name"])

		b.run("action", "start", "echo", `"broken"`, "--id", "2", "--wait")
		b.fails(exitAction, "failed in attempt 1: broken", "action", "watch", "echo/2")
		b.fails(3, "not found", "action", "watch", "echo/none")
		stop()

		b.ok("action", "start", "echo", "1", "--id", "3")
		p = b.start("action", "watch", "echo/3")
		p.interrupt()
		assert.Equal(t, exitInterrupted, p.wait().code, "it has not seen the end")
	})
}

func TestActionControl(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		for _, id := range []string{"1", "2", "3"} {
			b.ok("action", "start", "x", "--id", id)
		}
		r := b.run("action", "cancel", "x/1", "x/none", "x/2")
		assert.Equal(t, 3, r.code)
		assert.Equal(t, "x/1 cancelled\nx/2 cancelled\n", r.stdout)
		assert.Contains(t, r.stderr, "not found")
		assert.Equal(t, map[string]any{"action": "x/1", "status": "pending"}, b.lines("action", "retry", "x/1", "--delay", "1h")[0])
		assert.Equal(t, "x/1 deleted\n", b.ok("action", "delete", "x/1"))
		b.fails(3, "not found", "action", "show", "x/1")
		b.fails(4, "conflict", "action", "retry", "x/3")
	})
}

func TestQueues(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.ok("action", "start", "resize")
		b.ok("action", "start", "report", "--delay", "1h")
		time.Sleep(time.Minute) // virtual
		b.ok("queue", "pause", "report", "none")
		out := b.ok("queue", "ls")
		assert.Regexp(t, `QUEUE +STATE +READY +SCHEDULED +RUNNING +FINISHED +OLDEST\n`, out)
		assert.Regexp(t, `report +paused +0 +1 +0 +0 +-\n`, out)
		assert.Regexp(t, `resize +open +1 +0 +0 +0 +1m\n`, out)
		assert.Equal(t, map[string]any{"queue": "resize", "paused": false, "ready": 1.0, "scheduled": 0.0, "running": 0.0, "finished": 0.0, "oldestMs": 60_000.0},
			b.lines("queue", "ls", "res")[0])
		b.ok("queue", "resume", "report")
		assert.Equal(t, false, b.lines("queue", "ls", "report")[0]["paused"])
	})
}

func TestWorkers(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		stop := b.work()
		b.ok("action", "start", "echo", `"hang"`, "--id", "1")
		time.Sleep(10 * time.Second) // virtual: a heartbeat
		assert.Regexp(t, `echoer +echoer-1 +busy .* +2 +echo +echo/1\n`, b.ok("worker", "ls"))
		w := b.lines("worker", "ls", "echo", "--status", "busy,idle")[0]
		assert.Equal(t, "echoer-1", w["id"])
		assert.Empty(t, b.lines("worker", "ls", "--status", "offline"))
		assert.Empty(t, b.lines("worker", "ls", "other"))
		stop()
		assert.Empty(t, b.lines("worker", "ls"), "it took itself off")
	})
}

// What handlers and workers say of themselves is no friend of terminals.
func TestActionsHostile(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		arg, err := json.Marshal(hostile)
		require.NoError(t, err)
		defer b.work()()
		r := b.run("action", "start", "echo", string(arg), "--id", "1", "--wait")
		assert.Equal(t, exitAction, r.code)
		assert.Equal(t, 1, strings.Count(r.stderr, "\n"))
		harmless(t, strings.ReplaceAll(r.stderr, "\ufffd", ""))
		_, err = b.hub.Actions().Heartbeat(t.Context(), rpw.Heartbeat{Worker: rpw.WorkerInfo{
			ID: "bad", Name: "bad", Status: rpw.WorkerError, Host: hostile, Error: hostile, Meta: map[string]string{"a": hostile},
		}})
		require.NoError(t, err)
		for _, args := range [][]string{{"action", "show", "echo/1"}, {"action", "ls"}, {"worker", "ls"}, {"doctor"}} {
			for _, form := range [][]string{nil, {"--json"}} {
				r := b.run(append(args, form...)...)
				harmless(t, strings.ReplaceAll(r.stdout, "\ufffd", ""))
				assert.NotEmpty(t, r.stdout)
			}
		}
		r = b.run("action", "watch", "echo/1")
		harmless(t, strings.ReplaceAll(r.stdout+r.stderr, "\ufffd", ""))
	})
}
