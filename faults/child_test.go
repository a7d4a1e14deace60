package faults

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/workers"
)

// A child is this program, started again to be another process; it says in lines what it sees.
const (
	childRole = "RPW_FAULTS_ROLE"
	childURL  = "RPW_FAULTS_URL"
)

const childLease = time.Second

var (
	childStream = rpw.StreamOf[int]("events")
	childGroup  = rpw.Consumer{Group: "group", From: rpw.Oldest(), Lease: childLease, MaxDeliveries: 3, Concurrency: 100, Backoff: rpw.Backoff{First: time.Millisecond}}
	childAction = actions.Define[int, string]("act", actions.MaxAttempts(3), actions.Backoff(rpw.Backoff{First: time.Millisecond, Jitter: -1}))
)

// beChild plays a role until the process is killed.
func beChild(role string) {
	fail := func(err error) {
		fmt.Println("failed:", err)
		os.Exit(2)
	}
	hub, err := rpw.Open(context.Background(), os.Getenv(childURL))
	if err != nil {
		fail(err)
	}
	switch role {
	case "member": // takes events, and finishes none
		fail(childStream.Consume(context.Background(), hub, childGroup, func(ctx context.Context, m rpw.Message[int]) error {
			fmt.Println("holds", m.Data)
			<-ctx.Done()
			return ctx.Err()
		}))
	case "poisoned member":
		fail(childStream.Consume(context.Background(), hub, childGroup, func(_ context.Context, m rpw.Message[int]) error {
			if m.Data == poison {
				os.Exit(1)
			}
			fmt.Println("handled", m.Data)
			return nil
		}))
	case "worker": // is told why each of its handlers shall end, and tries to go on all the same
		childWork(hub, fail, func(ctx context.Context, n int) (string, error) {
			fmt.Println("holds", n)
			<-ctx.Done()
			fmt.Println("ended", n, rpw.Code(context.Cause(ctx)), rpw.Code(actions.Progress(context.WithoutCancel(ctx), 0.5)))
			return "of the zombie", nil
		})
	case "poisoned worker":
		childWork(hub, fail, func(context.Context, int) (string, error) {
			os.Exit(1)
			return "", nil
		})
	}
}

const poison = 1000

func childWork(hub *rpw.Hub, fail func(error), handle func(context.Context, int) (string, error)) {
	w := workers.New(hub, workers.Config{Concurrency: 100, Lease: childLease, Logger: slog.New(slog.DiscardHandler)})
	if err := workers.Handle(w, childAction, handle); err != nil {
		fail(err)
	}
	fail(w.Run(context.Background()))
}

// child is another process of this program.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex
	lines []string
}

// startChild starts a process for the length of a test.
func startChild(t testing.TB, role, url string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childRole+"="+role, childURL+"="+url)
	c.cmd.Stderr = os.Stderr
	redistest.Bind(c.cmd)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go func() {
		defer close(c.done)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			c.mu.Lock()
			c.lines = append(c.lines, scan.Text())
			c.mu.Unlock()
		}
		_ = c.cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

// said are the lines so far that begin with a word, without it.
func (c *child) said(word string) (rest []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		if text, ok := strings.CutPrefix(line, word+" "); ok {
			rest = append(rest, text)
		}
	}
	return rest
}

func (c *child) stop()   { _ = c.cmd.Process.Signal(syscall.SIGSTOP) }
func (c *child) resume() { _ = c.cmd.Process.Signal(syscall.SIGCONT) }
func (c *child) kill()   { _ = c.cmd.Process.Kill(); <-c.done }
func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
