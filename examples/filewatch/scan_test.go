package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// write makes files with these contents below dir, which it returns.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

// manyFiles is more than a few batches of them, with odd names and empty files.
func manyFiles() map[string]string {
	files := map[string]string{
		"empty":                            "",
		"-dash":                            "a",
		"with space/and  two":              "b",
		"{braces}/[glob]*?":                "c",
		"new\nline\tand\x1b[31mcolour":     "d",
		"bad \xff\xfe UTF-8":               "e",
		`back\slash "quoted"`:              "f",
		"100%/%2e%2e":                      "g",
		"übergröße/文件/\u202eright":         "h",
		strings.Repeat("long", 63) + "!":   "i",
		strings.Repeat("deep/", 300) + "x": "j",
	}
	for i := range 3000 {
		files[fmt.Sprintf("many/%d/%d.txt", i%37, i)] = strings.Repeat(strconv.Itoa(i), i%50)
	}
	return files
}

// tables reads the numbers of the tables: files and bytes, by the word in front of them.
func tables(t *testing.T, out string) (tables []map[string]string) {
	t.Helper()
	row := regexp.MustCompile(`(?m)^  (\w+) +([\d,]+) +(\S+(?: \w?B)?)`)
	for _, text := range strings.Split(out, "\npass ")[1:] {
		table := make(map[string]string)
		for _, match := range row.FindAllStringSubmatch(text, -1) {
			table[match[1]] = match[2] + " " + match[3]
		}
		tables = append(tables, table)
	}
	return tables
}

func TestEveryFileIsDigestedOnceAndSkippedAfterThat(t *testing.T) {
	dir := write(t, t.TempDir(), manyFiles())
	hub, url := backend(t, "memory")
	out := filewatch(t, "-dir", dir, "-url", url, "-passes", "2")

	digests, bytes := walk(t, dir)
	files := number(int64(len(digests)))
	all := files + " " + size(bytes)
	assert.Equal(t, []map[string]string{
		{"digested": all, "skipped": "0 0 B", "failed": "0 -", "scanned": all},
		{"digested": "0 0 B", "skipped": all, "failed": "0 -", "scanned": all},
	}, tables(t, out))

	assert.Equal(t, digests, published(t, hub), "each file was told of once, with its digest")
	for path, digest := range digests {
		remembered, ok, err := rpw.Get[Remembered](t.Context(), hub, cacheKey(path))
		require.NoError(t, err)
		require.True(t, ok, path)
		require.Equal(t, digest, remembered.SHA256, path)
	}
	groups, err := hub.Streams().Groups(t.Context(), FilesDone.Name())
	require.NoError(t, err)
	assert.Empty(t, groups, "nothing is left behind")

	out = filewatch(t, "-dir", dir, "-url", url)
	assert.Equal(t, all, tables(t, out)[0]["skipped"], "another process skips them, too")
}

// walk digests a folder by other means.
func walk(t *testing.T, dir string) (digests map[Path]string, bytes int64) {
	t.Helper()
	digests = make(map[Path]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		digests[Path(path)] = hex.EncodeToString(sum[:])
		bytes += int64(len(data))
		return err
	}))
	return digests, bytes
}

// published reads the stream from its beginning to its end; a file that was told of twice is a failure.
func published(t *testing.T, hub *rpw.Hub) map[Path]string {
	t.Helper()
	digests := make(map[Path]string)
	for at := rpw.Oldest(); ; {
		page, err := FilesDone.Read(t.Context(), hub, at, 0)
		require.NoError(t, err)
		if len(page) == 0 {
			return digests
		}
		for _, m := range page {
			_, twice := digests[m.Data.Path]
			require.False(t, twice, m.Data.Path)
			digests[m.Data.Path] = m.Data.SHA256
			at = rpw.After(m.Position())
		}
	}
}

func TestChangedFilesAreDigestedAgain(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"a": "one", "b": "two", "c": "three"})
	_, url := backend(t, "memory")
	filewatch(t, "-dir", dir, "-url", url)
	write(t, dir, map[string]string{"b": "another", "d": "new"})
	require.NoError(t, os.Remove(filepath.Join(dir, "c")))
	got := tables(t, filewatch(t, "-dir", dir, "-url", url))[0]
	assert.Equal(t, map[string]string{"digested": "2 10 B", "skipped": "1 3 B", "failed": "0 -", "scanned": "3 13 B"}, got)
}

func TestEmptyFolder(t *testing.T) {
	got := tables(t, filewatch(t, "-dir", t.TempDir()))
	assert.Equal(t, []map[string]string{{"digested": "0 0 B", "skipped": "0 0 B", "failed": "0 -", "scanned": "0 0 B"}}, got)
}

func TestLinkedFolder(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{"real/file": "x"})
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "link")))
	assert.Equal(t, "1 1 B", tables(t, filewatch(t, "-dir", filepath.Join(dir, "link")))[0]["digested"])
}
