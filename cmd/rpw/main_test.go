package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a store in memory that the program under test works on, and a Hub of the test's own beside it.
type backend struct {
	t     *testing.T
	store *memory.Store
	hub   *rpw.Hub
	stdin io.Reader
	env   map[string]string
}

// withBackend runs f in virtual time: a program that has started is either done or waits when synctest.Wait returns.
func withBackend(t *testing.T, f func(t *testing.T, b *backend)) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{t: t, store: memory.New(memory.Options{}), stdin: strings.NewReader(""), env: map[string]string{"RPW_URL": "test://"}}
		var err error
		b.hub, err = rpw.New(b.store.Parts())
		require.NoError(t, err)
		defer b.hub.Close()
		f(t, b)
	})
}

// open is rpw.Open for the program under test.
func (b *backend) open(_ context.Context, url string, opts ...rpw.Option) (*rpw.Hub, error) {
	assert.Equal(b.t, "test://", url)
	return rpw.New(b.store.Parts(), opts...)
}

// process is the program, run in a goroutine.
type process struct {
	stdout, stderr bytes.Buffer
	interrupt      context.CancelFunc
	code           chan int
}

func (b *backend) start(args ...string) *process {
	ctx, cancel := context.WithCancel(b.t.Context())
	p := &process{interrupt: cancel, code: make(chan int, 1)}
	a := &app{stdin: b.stdin, stdout: &p.stdout, stderr: &p.stderr, env: func(name string) string { return b.env[name] }, open: b.open}
	go func() { p.code <- a.run(ctx, args) }()
	synctest.Wait()
	return p
}

// result is how a program ended.
type result struct {
	code           int
	stdout, stderr string
}

func (p *process) wait() result {
	defer p.interrupt()
	code := <-p.code
	return result{code, p.stdout.String(), p.stderr.String()}
}

func (b *backend) run(args ...string) result { return b.start(args...).wait() }

// ok runs the program to a good end, and returns what it wrote.
func (b *backend) ok(args ...string) string {
	b.t.Helper()
	r := b.run(args...)
	require.Equal(b.t, exitOK, r.code, "%q: %s", args, r.stderr)
	require.Empty(b.t, r.stderr)
	return r.stdout
}

// fails runs the program to a bad end: with this code, and one line that says why.
func (b *backend) fails(code int, says string, args ...string) {
	b.t.Helper()
	r := b.run(args...)
	assert.Equal(b.t, code, r.code, "%q: %s", args, r.stderr)
	assert.Contains(b.t, r.stderr, says, "%q", args)
	assert.True(b.t, strings.HasPrefix(r.stderr, "rpw: ") && !strings.HasPrefix(r.stderr, "rpw: rpw: "), r.stderr)
	assert.Equal(b.t, 1, strings.Count(r.stderr, "\n"), "one line: %q", r.stderr)
}

// lines runs the program with --json and returns the objects it wrote.
func (b *backend) lines(args ...string) []map[string]any {
	b.t.Helper()
	return objects(b.t, b.ok(append(args, "--json")...))
}

func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		all = append(all, object)
	}
	return all
}

func (b *backend) publish(stream, kind, data string) rpw.Position {
	b.t.Helper()
	answers, err := b.hub.Streams().Publish(b.t.Context(), []rpw.Batch{{Stream: stream, Events: []rpw.NewEvent{{Type: kind, Data: []byte(data)}}}})
	require.NoError(b.t, err)
	require.NoError(b.t, answers[0].Err)
	return answers[0].Last()
}

// hostile upsets a terminal, if it gets there as it is.
const hostile = "\x1b[31mred\x1b]0;title\x07\r\nrpw: forged\x00\x7f\u202e\u009b1m\u2028\xff"

// harmless is text that upsets no terminal.
func harmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			assert.Fail(t, "it could upset a terminal", "%q in %q", r, text)
			return
		}
	}
	assert.NotContains(t, text, "\nrpw: forged")
}

func TestUsageErrors(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		for _, test := range []struct {
			says string
			args []string
		}{
			{`unknown command "frob"`, []string{"frob"}},
			{`unknown command "frob" for "rpw action"`, []string{"action", "frob"}},
			{`no help for "action frob"`, []string{"help", "action", "frob"}},
			{"--frm", []string{"tail", "s", "--frm", "start"}},
			{"the form is rpw tail STREAM", []string{"tail"}},
			{"2 arguments; the form is rpw get KEY", []string{"get", "a", "b"}},
			{"the form is rpw del KEY...", []string{"del"}},
			{"it is start, now", []string{"tail", "s", "--from", "soon"}},
			{"it is empty", []string{"tail", "s", "--from", ""}},
			{"from last", []string{"tail", "s", "--from", "now", "--last", "1"}},
			{"stop, continue, replay", []string{"tail", "s", "--on-gap", "panic"}},
			{"at least 1", []string{"tail", "s", "--last", "-1"}},
			{"at least 1", []string{"log", "tail", "--count", "-1"}},
			{"at least 1", []string{"log", "query", "--last", "-1"}},
			{"debug, info, warn, error", []string{"log", "query", "--level", "loud"}},
			{"10m, 2h, 7d", []string{"log", "query", "--since", "yesterday"}},
			{"--timeout", []string{"get", "k", "--timeout", "-1s"}},
			{"pending, running", []string{"action", "ls", "--state", "lost"}},
			{"queue/id", []string{"action", "show", "lost"}},
			{"queue/id", []string{"action", "cancel", "resize/1", "lost"}},
			{"join, reject, replace, reschedule", []string{"action", "start", "x", "--on-unique", "win"}},
			{"delay run-at", []string{"action", "start", "x", "--delay", "1s", "--run-at", "2030-01-01"}},
			{"ARG is not JSON", []string{"action", "start", "x", "{"}},
			{"max-attempts", []string{"action", "start", "x", "--max-attempts", "many"}},
			{"MaxAttempts is -1", []string{"action", "start", "x", "--max-attempts", "-1"}},
			{"offline", []string{"worker", "ls", "--status", "gone"}},
			{"from 1 to 1000", []string{"group", "redrive", "s", "g", "--max", "0"}},
			{"ms-seq", []string{"group", "redrive", "s", "g", "one"}},
			{"events age", []string{"stream", "trim", "s"}},
			{"must be positive", []string{"stream", "trim", "s", "--events", "0"}},
			{"must be positive", []string{"set", "k", "1", "--ttl", "0s"}},
			{"--raw", []string{"get", "k", "--raw", "--json"}},
			{"--key is of one event", []string{"pub", "s", "t", "-", "--key", "k"}},
			{"--old", []string{"doctor", "--old", "0s"}},
			{"stream name", []string{"pub", "a*b", "t"}},
			{"namespace", []string{"get", "k", "--namespace", "a*b"}},
		} {
			b.fails(exitUsage, test.says, test.args...)
		}
	})
}

func TestBackendIsNeeded(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.env = nil
		b.fails(exitUsage, "RPW_URL: redis://host:6379/0", "get", "k")
		assert.Equal(t, 3, b.run("get", "k", "--url", "test://").code)
	})
}

func TestFlagBeatsEnvironment(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.env["RPW_URL"] = "other://"
		b.ok("set", "k", "1", "--url", "test://") // open looks at it
	})
}

// A password that was typed at the wrong place, or that stands in a URL that does not work, is not shown.
func TestPasswordsStaySecret(t *testing.T) {
	for _, args := range [][]string{
		{"redis://user:geheim@host"},
		{"redis://us er:geh eim@\ngeheim@host"},
		{"-redis://user:geheim@host"},
		{"tail", "s", "--from", "redis://:geheim@host"},
		{"tail", "s", "--url", "redis://user:geheim@127.0.0.1:1"},
		{"tail", "s", "--url", "redis://user:geheim@127.0.0.1:1?tiemout=1s"},
		{"tail", "s", "--url", "tape://user:geheim@host"},
		{"tail", "s", "--url", "redis://us er:geheim@host\x7f"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
		assert.Contains(t, []int{exitUsage, 6}, code, "%q", args)
		assert.NotContains(t, stdout.String()+stderr.String(), "geheim", "%q", args)
		assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "%q", stderr.String())
	}
}

func TestNamespace(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.ok("set", "k", "1", "--namespace", "blue")
		assert.Equal(t, "blue:k\n", b.ok("keys"))
		assert.Equal(t, "k\n", b.ok("keys", "--namespace", "blue"))
		b.fails(3, `get "k" (memory): not found`, "get", "k")
	})
}

func TestTimeout(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.fails(9, "not done within 1h0m0s", "tail", "s", "--timeout", "1h")
		b.fails(9, "not done within 1h0m0s", "log", "tail", "--timeout", "1h")
		b.fails(9, "not done within 1h0m0s", "action", "start", "x", "--wait", "--timeout", "1h")
	})
}

// Each word of rpw.Code has an exit code.
func TestExitCodes(t *testing.T) {
	assert.Equal(t, exitOK, exitCode(nil))
	assert.Equal(t, exitInternal, exitCode(io.ErrUnexpectedEOF))
	assert.Equal(t, 8, exitCode(&rpw.GapError{}))
	assert.Equal(t, 3, exitCode(failures{rpw.ErrNotFound, rpw.ErrConflict}), "the first decides")
	assert.Equal(t, 7, exitCode(errors.Join(rpw.ErrUncertain, context.Canceled)))
	seen := map[string]bool{}
	for _, exit := range exits {
		for _, word := range exit.codes {
			assert.False(t, seen[word], word)
			seen[word] = true
		}
	}
	for _, word := range []string{"uncertain", "not_found", "conflict", "invalid", "too_large", "full", "lease_lost", "cancelled", "finished",
		"closed", "permission", "unavailable", "unsupported", "deadline_exceeded", "canceled", "gap", "internal"} {
		assert.True(t, seen[word], word)
		if sentinel := rpw.Sentinel(word); sentinel != nil {
			assert.Equal(t, word, rpw.Code(sentinel))
			delete(seen, word)
		}
	}
	assert.Len(t, seen, 2, "gap and internal have no sentinel: %v", seen)
}

func TestHelp(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.env = nil // it needs no backend
		out := b.ok("help", "exit-codes")
		for _, word := range []string{"130  interrupted", "  0  done", "(not_found)", "doctor: there are problems"} {
			assert.Contains(t, out, word)
		}
		assert.Contains(t, b.ok(), "RPW_URL")
		assert.Contains(t, b.ok("help", "action", "start"), "--on-unique")
		assert.Contains(t, b.ok("action"), "Available Commands")
		assert.Contains(t, b.ok("completion", "bash"), "__start_rpw")
		assert.Contains(t, b.ok("version"), "rpw ")
		assert.Contains(t, b.lines("version")[0], "version")
		var check func(path []string)
		check = func(path []string) {
			out := b.ok(append(path, "--help")...)
			_, commands, parent := strings.Cut(out, "Available Commands:\n")
			if !parent {
				assert.Contains(t, out, "Examples:\n", "%q", path)
				return
			}
			commands, _, _ = strings.Cut(commands, "\n\n")
			for line := range strings.Lines(commands) {
				name := strings.Fields(line)[0]
				if name != "completion" && name != "help" && name != "version" {
					check(append(path[:len(path):len(path)], name))
				}
			}
		}
		check(nil)
	})
}

// The commands that the README shows run.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	withBackend(t, func(t *testing.T, b *backend) {
		n := 0
		for line := range strings.Lines(string(readme)) {
			if command, ok := strings.CutPrefix(line, "go run ./cmd/rpw "); ok && !strings.Contains(line, "127.0.0.1") { // see TestServeReadme
				n++
				b.ok(strings.Fields(strings.ReplaceAll(command, "'", ""))...)
			}
		}
		assert.Greater(t, n, 5)
	})
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Output that cannot be written is an error, so that no half answer looks whole.
func TestOutputErrors(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.ok("set", "k", "1")
		b.publish("s", "t", "1")
		b.ok("action", "start", "x", "--id", "1")
		for _, args := range [][]string{
			{"get", "k"}, {"get", "k", "--json"}, {"get", "k", "--raw"}, {"keys"}, {"tail", "s", "--from", "start"}, {"stream", "ls"}, {"stream", "ls", "--json"},
			{"pub", "s", "t"}, {"action", "show", "x/1"}, {"action", "watch", "x/1"}, {"action", "ls"}, {"queue", "ls"}, {"doctor"}, {"del", "none"}, {"version"},
		} {
			var stderr bytes.Buffer
			a := &app{stdin: b.stdin, stdout: full{}, stderr: &stderr, env: func(name string) string { return b.env[name] }, open: b.open}
			assert.Equal(t, exitInternal, a.run(t.Context(), args), "%q", args)
			assert.Equal(t, "rpw: no space left on device\n", stderr.String(), "%q", args)
		}
	})
}
