package soak

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
	"github.com/redis-process-worker/rpw/internal/history/load"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// What a child is told by its environment.
const (
	childName  = "RPW_SOAK_CHILD"
	childURL   = "RPW_SOAK_URL"
	childBegan = "RPW_SOAK_BEGAN" // ns since 1970
	childSeed  = "RPW_SOAK_SEED"
)

// child is a worker in a process of its own: this program, started again, and again when it is killed. What it does is part of the history.
type child struct {
	t    testing.TB
	url  string
	seed uint64

	mu    sync.Mutex
	cmd   *exec.Cmd
	lives int
}

// beChild works until it is killed.
func beChild(name string) {
	began, _ := strconv.ParseInt(os.Getenv(childBegan), 10, 64)
	seed, _ := strconv.ParseUint(os.Getenv(childSeed), 10, 64)
	recorder := history.RecordTo(os.Stdout, os.Stdin, time.Unix(0, began))
	c := load.Config{Seed: seed, Pause: pause, Lease: lease, Open: func() (*rpw.Hub, error) { return rpw.Open(context.Background(), os.Getenv(childURL)) }}
	for load.Work(context.Background(), name, c, recorder) != nil { // while the backend is away
		time.Sleep(pause)
	}
}

// work keeps the child alive until ctx ends.
func (c *child) work(ctx context.Context, recorder *history.Recorder) {
	for ctx.Err() == nil {
		c.live(ctx, recorder)
	}
}

// live starts the child, and returns when it has ended.
func (c *child) live(ctx context.Context, recorder *history.Recorder) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	redistest.Bind(cmd)
	cmd.Stderr = os.Stderr
	c.mu.Lock()
	c.lives++
	cmd.Env = append(os.Environ(), childName+"=child"+strconv.Itoa(c.lives), childURL+"="+c.url,
		childBegan+"="+strconv.FormatInt(recorder.Began().UnixNano(), 10), childSeed+"="+strconv.FormatUint(c.seed+uint64(c.lives), 10))
	records, err := cmd.StdoutPipe()
	require.NoError(c.t, err)
	answers, err := cmd.StdinPipe()
	require.NoError(c.t, err)
	err = cmd.Start()
	c.cmd = cmd
	c.mu.Unlock()
	if !assert.NoError(c.t, err) {
		<-ctx.Done()
		return
	}
	assert.NoError(c.t, recorder.Join(records, answers))
	_ = cmd.Wait()
}

// signal sends a signal to the process that lives now.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd != nil {
		_ = c.cmd.Process.Signal(sig)
	}
}
