//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

func TestUnreadableFilesAreInTheTable(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"fine": "x", "folder/fine": "y"})
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	require.NoError(t, os.Symlink("folder", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("fine", filepath.Join(dir, "alias")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))

	hub, url := backend(t, "memory")
	out := filewatch(t, "-dir", dir, "-url", url, "-passes", "2")
	got := tables(t, out)
	assert.Equal(t, "3 3 B", got[0]["digested"])
	assert.Equal(t, "3 3 B", got[1]["skipped"])
	for pass := range got {
		assert.Equal(t, "4 -", got[pass]["failed"])
		assert.Equal(t, "7 3 B", got[pass]["scanned"])
	}
	assert.Contains(t, out, "failed     why\n"+
		"  dangling   no such file or directory\n"+
		"  link       not a regular file (link to a folder)\n"+
		"  loop       too many levels of symbolic links\n"+
		"  pipe       not a regular file (named pipe)\n")

	logged := 0
	for record, err := range logs.Query(t.Context(), hub, rpw.LogQuery{LogFilter: rpw.LogFilter{Attrs: map[string]string{"path": dir + "/pipe"}}}) {
		require.NoError(t, err)
		assert.Regexp(t, `^digest-[12]$`, record.Worker)
		assert.Equal(t, 1, record.Attempt, "it is not worth another")
		assert.True(t, strings.HasPrefix(record.Action, "digest/"))
		logged++
	}
	assert.Equal(t, 2, logged)
}
