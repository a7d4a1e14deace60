package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// endless makes a file that takes for ever to read, and nothing to store: a terabyte of holes.
func endless(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	require.NoError(t, os.Truncate(path, 1<<40))
}

// awaitActions waits until so many actions are in this state.
func awaitActions(t *testing.T, hub *rpw.Hub, state rpw.State, n int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		counts, err := hub.Actions().Count(t.Context(), rpw.ActionFilter{Queues: []string{Digest.Name()}})
		require.NoError(t, err)
		return counts[state] == n
	}, patience, time.Millisecond)
}

// blockedTree is a folder whose first file occupies the only slot, so that the others wait.
func blockedTree(t *testing.T, others int) (dir, first string) {
	t.Helper()
	dir = t.TempDir()
	first = filepath.Join(dir, "0")
	endless(t, first)
	for i := range others {
		write(t, dir, map[string]string{fmt.Sprint(i + 1): "x"})
	}
	return dir, first
}

func TestInterruptHandsBack(t *testing.T) {
	const others = 20
	dir, first := blockedTree(t, others)
	hub, url := backend(t, "shared")
	p := start(t, "-dir", dir, "-url", url, "-workers", "1", "-slots", "1")
	awaitActions(t, hub, rpw.Running, 1)
	awaitActions(t, hub, rpw.Pending, others)
	p.stop()
	assert.Equal(t, exitFailed, p.wait(t))
	assert.Contains(t, p.stderr.String(), "filewatch: interrupted: 1 file under way handed back, 21 left in the queue, which ends with this process\n")
	assert.Contains(t, p.stdout.String(), "left              21           -   21 of them started\n")
	assert.Equal(t, "21 0 B", tables(t, p.stdout.String())[0]["scanned"])

	page, err := hub.Actions().List(t.Context(), rpw.ListActions{})
	require.NoError(t, err)
	require.Len(t, page.Actions, others+1)
	for _, action := range page.Actions {
		assert.Equal(t, rpw.Pending, action.State)
		assert.Zero(t, action.Attempt, "it costs no attempt")
	}

	require.NoError(t, os.Truncate(first, 1))
	p = start(t, "-role", "work", "-url", url)
	awaitActions(t, hub, rpw.Completed, others+1)
	p.stop()
	assert.Equal(t, exitOK, p.wait(t))
	out := filewatch(t, "-dir", dir, "-url", url)
	assert.Equal(t, "21 21 B", tables(t, out)[0]["skipped"], "what was handed back was done by others")
}

func TestInterruptBeforeTheBeginning(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr output
	assert.Equal(t, exitFailed, run(ctx, []string{"-dir", t.TempDir()}, &stdout, &stderr, noEnv))
	assert.Equal(t, "filewatch: interrupted\n", stderr.String())
}

func TestActionsThatEndWithoutAnEventAreAccountedFor(t *testing.T) {
	dir, first := blockedTree(t, 3)
	hub, url := backend(t, "memory")
	p := start(t, "-dir", dir, "-url", url, "-workers", "1", "-slots", "1")
	awaitActions(t, hub, rpw.Running, 1)
	awaitActions(t, hub, rpw.Pending, 3)
	page, err := hub.Actions().List(t.Context(), rpw.ListActions{ActionFilter: rpw.ActionFilter{States: []rpw.State{rpw.Pending}}})
	require.NoError(t, err)
	answers, err := hub.Actions().Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{
		{Kind: rpw.Cancel, Ref: page.Actions[0].Ref, Reason: "not wanted"},
		{Kind: rpw.DeleteAction, Ref: page.Actions[1].Ref},
	}})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err)
	require.NoError(t, answers[1].Err)
	require.NoError(t, os.Truncate(first, 0)) // its reader meets the end
	require.Equal(t, exitOK, p.wait(t), p.stderr.String())
	table := tables(t, p.stdout.String())[0]
	assert.Equal(t, "2", table["digested"][:1])
	assert.Equal(t, "2 -", table["failed"])
	assert.Contains(t, p.stdout.String(), "cancelled: not wanted")
	assert.Contains(t, p.stdout.String(), "its action was deleted")
}

func TestRolesShareTheWork(t *testing.T) {
	dir := write(t, t.TempDir(), manyFiles())
	digests, bytes := walk(t, dir)
	hub, url := backend(t, "shared")
	scanner := start(t, "-role", "scan", "-dir", dir, "-url", url)
	awaitActions(t, hub, rpw.Pending, maxOpen-maxOpen%batchSize) // no more than that before a worker comes
	one := start(t, "-role", "work", "-url", url)
	other := start(t, "-role", "work", "-url", url)
	require.Equal(t, exitOK, scanner.wait(t), scanner.stderr.String())
	assert.Equal(t, number(int64(len(digests)))+" "+size(bytes), tables(t, scanner.stdout.String())[0]["digested"])
	assert.Equal(t, digests, published(t, hub))

	watch := start(t, "-role", "watch", "-dir", dir, "-url", url)
	watch.stdout.await(t, "Ctrl-C stops")
	write(t, dir, map[string]string{"new": "content"})
	watch.stdout.await(t, "digested  new  7 B")
	for _, p := range []*process{watch, one, other} {
		p.stop()
		assert.Equal(t, exitOK, p.wait(t), p.stderr.String())
		assert.Empty(t, p.stderr.String())
		assert.Contains(t, p.stdout.String(), "stopped: ")
	}
}
