package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// shared:// stands for a backend that several processes see: stores in memory that are shared by name.
func init() { rpw.Register("shared", new(memory.Driver)) }

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// process is the program, run in a goroutine.
type process struct {
	stdout, stderr output
	stop           context.CancelFunc
	code           chan int
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &process{stop: stop, code: make(chan int, 1)}
	go func() { p.code <- run(ctx, args, &p.stdout, &p.stderr, noEnv) }()
	return p
}

// wait waits for the end of the program, and returns its exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.code:
		p.stop()
		return code
	case <-time.After(patience):
		require.Fail(t, "the program did not end", "%s\n%s", p.stdout.String(), p.stderr.String())
		return -1
	}
}

// filewatch runs the program to its end, which must be a good one, and returns what it wrote to stdout.
func filewatch(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, args...)
	require.Equal(t, exitOK, p.wait(t), p.stderr.String())
	return p.stdout.String()
}

func noEnv(string) string { return "" }

// output is what a program writes; a test can wait for a part of it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until part was written.
func (o *output) await(t *testing.T, part string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		if strings.Contains(o.text.String(), part) {
			o.mu.Unlock()
			return
		}
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			require.Fail(t, "the output never came", "%q in:\n%s", part, o.String())
		}
	}
}

// backend opens a hub beside those of the programs under test, and returns it with its URL.
func backend(t *testing.T, scheme string) (*rpw.Hub, string) {
	t.Helper()
	url := scheme + "://" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	hub, err := rpw.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hub.Close()) })
	return hub, url
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"unknown flag":      {[]string{"-fast"}, "-fast"},
		"argument":          {[]string{dir}, "unexpected argument"},
		"number":            {[]string{"-passes", "two"}, "passes"},
		"no passes":         {[]string{"-passes", "0"}, "at least 1"},
		"no workers":        {[]string{"-workers", "0"}, "from 1 to 100"},
		"slots":             {[]string{"-slots", "-3"}, "from 1 to 1000"},
		"lease":             {[]string{"-lease", "1ms"}, "from 100ms to 1h"},
		"role":              {[]string{"-role", "cook"}, "all, scan, work, watch"},
		"scan on memory":    {[]string{"-role", "scan", "-dir", dir}, "shared backend"},
		"work on memory":    {[]string{"-role", "work", "-url", "memory://name"}, "shared backend"},
		"watch on memory":   {[]string{"-role", "watch", "-dir", dir}, "shared backend"},
		"watching workers":  {[]string{"-role", "work", "-url", "shared://x", "-watch"}, "-role watch"},
		"no such folder":    {[]string{"-dir", dir + "/none"}, "no such file or directory"},
		"folder is a file":  {[]string{"-dir", "main_test.go"}, "no folder"},
		"unknown backend":   {[]string{"-dir", dir, "-url", "tape://0"}, "tape"},
		"malformed backend": {[]string{"-dir", dir, "-url", "memory://?size=9"}, "size"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitUsage, run(t.Context(), test.args, &stdout, &stderr, noEnv))
			assert.Empty(t, stdout.String(), "nothing was done")
			assert.Contains(t, stderr.String(), test.says)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line: %q", stderr.String())
		})
	}
}

func TestHelp(t *testing.T) {
	out := filewatch(t, "-h")
	for _, flag := range []string{"-dir", "-url", "-role", "-workers", "-slots", "-lease", "-passes", "-watch"} {
		assert.Contains(t, out, "\n  "+flag)
	}
}

func TestURLFromEnvironment(t *testing.T) {
	var stdout, stderr bytes.Buffer
	env := func(name string) string { return map[string]string{"RPW_URL": "tape://0"}[name] }
	assert.Equal(t, exitUsage, run(t.Context(), []string{"-dir", t.TempDir()}, &stdout, &stderr, env))
	assert.Contains(t, stderr.String(), "tape")
	assert.Equal(t, exitOK, run(t.Context(), []string{"-dir", t.TempDir(), "-url", "memory://"}, &stdout, &stderr, env), "the flag wins")
}

func TestDefaultFolder(t *testing.T) {
	cfg, err := parse(t.Context(), nil, noEnv)
	require.NoError(t, err)
	assert.FileExists(t, cfg.dir+"/fmt/print.go")
}
