package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// asProgram is the environment variable that makes the test program filewatch.
const asProgram = "FILEWATCH_TEST_AS_PROGRAM"

// spawned is the program in a process of its own.
type spawned struct {
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

func spawn(t *testing.T, args ...string) *spawned {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	p := &spawned{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	redistest.Bind(p.cmd)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// wait waits for the end of the process, and returns its exit code; -1: it was killed.
func (p *spawned) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		require.Fail(t, "the process did not end", "%s\n%s", p.stdout.String(), p.stderr.String())
		return -1
	}
}

// holder waits until the digest of a file is under way beside many that are done, and returns it with the process of its worker.
func holder(t *testing.T, hub *rpw.Hub, path Path) (held rpw.Action, pid int) {
	t.Helper()
	ctx := t.Context()
	require.Eventually(t, func() bool {
		counts, err := hub.Actions().Count(ctx, rpw.ActionFilter{Queues: []string{Digest.Name()}})
		require.NoError(t, err)
		return counts[rpw.Completed] > 100
	}, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		running, err := hub.Actions().List(ctx, rpw.ListActions{ActionFilter: rpw.ActionFilter{States: []rpw.State{rpw.Running}}})
		require.NoError(t, err)
		for _, held = range running.Actions {
			var in DigestIn
			require.NoError(t, json.Unmarshal(held.Arg, &in))
			if in.Path == path {
				return true
			}
		}
		return false
	}, patience, time.Millisecond)
	registered, err := hub.Actions().Workers(ctx, rpw.WorkersRequest{})
	require.NoError(t, err)
	for _, w := range registered.Workers {
		if w.ID == held.Worker {
			pid = w.PID
		}
	}
	return held, pid
}

// TestKilledWorkerLosesNoFile: several processes share the work, one of them is killed in the middle of it, and the table is right.
func TestKilledWorkerLosesNoFile(t *testing.T) {
	dir := write(t, t.TempDir(), manyFiles())
	first := filepath.Join(dir, "!first") // is begun first, and never done by who begins it
	endless(t, first)
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	hub, err := rpw.Open(t.Context(), url)
	require.NoError(t, err)
	defer func() { assert.NoError(t, hub.Close()) }()

	crew := make(map[int]*spawned)
	for range 3 {
		p := spawn(t, "-role", "work", "-url", url, "-workers", "1", "-slots", "2", "-lease", "4s")
		crew[p.cmd.Process.Pid] = p
	}
	scanner := spawn(t, "-role", "scan", "-url", url, "-dir", dir)
	held, pid := holder(t, hub, Path(first))
	victim := crew[pid]
	require.NotNil(t, victim, "the worker of process %d", pid)
	require.NoError(t, victim.cmd.Process.Signal(syscall.SIGKILL))
	assert.Equal(t, -1, victim.wait(t))
	delete(crew, pid)
	write(t, dir, map[string]string{"!first": "now it has an end"})

	require.Equal(t, exitOK, scanner.wait(t), scanner.stderr.String())
	digests, bytes := walk(t, dir)
	all := number(int64(len(digests))) + " " + size(bytes)
	assert.Equal(t, map[string]string{"digested": all, "skipped": "0 0 B", "failed": "0 -", "scanned": all}, tables(t, scanner.stdout.String())[0])
	assert.Equal(t, digests, published(t, hub), "each file is told of once")
	end, err := hub.Actions().Changes(t.Context(), rpw.ChangesRequest{Ref: held.Ref, Final: true})
	require.NoError(t, err)
	require.Len(t, end, 1)
	assert.Equal(t, 2, end[0].Attempt, "another worker began it again")
	assert.NotEqual(t, held.Worker, end[0].Worker)

	for _, p := range crew {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
		assert.Equal(t, exitOK, p.wait(t), p.stderr.String())
		assert.Contains(t, p.stdout.String(), "stopped: 0 files under way")
	}
}
