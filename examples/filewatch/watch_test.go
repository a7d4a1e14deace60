package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestWatch(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"a": "one", "b/c": "two", "b/d": "three"})
	hub, url := backend(t, "memory")
	p := start(t, "-dir", dir, "-url", url, "-watch")
	p.stdout.await(t, "watching "+dir+" (2 folders)")

	write(t, dir, map[string]string{"a": "changed"})
	p.stdout.await(t, fmt.Sprintf("digested  a  7 B  %.6x…", sha256.Sum256([]byte("changed"))))
	remembered, _, err := rpw.Get[Remembered](t.Context(), hub, cacheKey(Path(dir+"/a")))
	require.NoError(t, err)
	assert.Equal(t, int64(7), remembered.Size)

	write(t, dir, map[string]string{"a": "changed again"})
	p.stdout.await(t, "digested  a  13 B")

	write(t, dir, map[string]string{"new/deep/er/file": "below folders that were not there"})
	p.stdout.await(t, "digested  new/deep/er/file  33 B")
	write(t, dir, map[string]string{"new/deep/er/file": "they are watched, too"})
	p.stdout.await(t, "digested  new/deep/er/file  21 B")

	require.NoError(t, os.Rename(filepath.Join(dir, "b/c"), filepath.Join(dir, "moved")))
	p.stdout.await(t, "removed   b/c\n")
	p.stdout.await(t, "digested  moved  3 B")
	_, ok, err := rpw.Get[Remembered](t.Context(), hub, cacheKey(Path(dir+"/b/c")))
	require.NoError(t, err)
	assert.False(t, ok)

	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	p.stdout.await(t, "failed    dangling  no such file or directory\n")

	write(t, dir, map[string]string{"odd\x1b[2J\nname": "x"})
	p.stdout.await(t, `digested  odd\x1b[2J\nname  1 B`)

	p.stop()
	assert.Equal(t, exitOK, p.wait(t))
	assert.Empty(t, p.stderr.String())
	assert.Contains(t, p.stdout.String(), " 1 failed; 0 files under way handed back, 0 left in the queue\n")
	assert.NotContains(t, p.stdout.String(), "digested  b/d", "it did not change")
}

func TestWatchEndsWithItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	write(t, dir, map[string]string{"file": "x"})
	p := start(t, "-dir", dir, "-watch")
	p.stdout.await(t, "watching")
	require.NoError(t, os.RemoveAll(dir))
	assert.Equal(t, exitFailed, p.wait(t))
	assert.Equal(t, "filewatch: "+dir+" is gone\n", p.stderr.String())
}

func TestInterruptedWatchHandsBack(t *testing.T) {
	dir := t.TempDir()
	hub, url := backend(t, "memory")
	p := start(t, "-dir", dir, "-url", url, "-watch")
	p.stdout.await(t, "watching")
	endless(t, filepath.Join(dir, "endless"))
	awaitActions(t, hub, rpw.Running, 1)
	p.stop()
	assert.Equal(t, exitOK, p.wait(t))
	assert.Contains(t, p.stdout.String(), "stopped: ")
	assert.Contains(t, p.stdout.String(), "1 file under way handed back, 1 left in the queue")
}
