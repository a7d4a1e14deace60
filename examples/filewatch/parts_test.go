package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

func TestPathsTravelUnharmed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := Path(rapid.SliceOf(rapid.Byte()).Draw(t, "path"))
		text, err := json.Marshal(DigestIn{Path: path})
		require.NoError(t, err)
		var in DigestIn
		require.NoError(t, json.Unmarshal(text, &in))
		require.Equal(t, path, in.Path)
	})
	assert.Equal(t, "/usr/src/über/文件 1.go", Path("/usr/src/über/文件 1.go").String(), "ordinary paths stay as they are")
	var p Path
	assert.Error(t, p.UnmarshalText([]byte(`half a \x`)))
}

// newLedger opens the ledger of a run that nobody works for.
func newLedger(t *testing.T, hub *rpw.Hub, onDone func(FileDone)) *ledger {
	t.Helper()
	l, err := openLedger(t.Context(), hub, onDone, func(err error) { t.Error(err) })
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.close()) })
	return l
}

func TestLedgerCountsEachFileOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := rpw.Open(t.Context(), "memory://")
		require.NoError(t, err)
		t.Cleanup(func() { hub.Close() })
		var told atomic.Int64
		l := newLedger(t, hub, func(FileDone) { told.Add(1) })
		a, b := l.begin("/a"), l.begin("/b")
		done := FileDone{DigestIn: a, DigestOut: DigestOut{Size: 5}}
		foreign := done
		foreign.Run, foreign.File = "another", b.File
		for _, event := range []FileDone{done, foreign, done, {DigestIn: b, Error: "why"}, done, {DigestIn: DigestIn{Run: l.run, File: 99}}} {
			_, err := FilesDone.Publish(t.Context(), hub, "test", event)
			require.NoError(t, err)
		}
		require.NoError(t, l.wait(t.Context(), 0))
		synctest.Wait()
		got, open := l.now()
		assert.Zero(t, open)
		assert.Equal(t, int64(2), told.Load())
		assert.Equal(t, [...]int64{1, 1, 5}, [...]int64{got.Digested, got.Failed, got.Bytes})
	})
}

func TestUnreadableFolderIsAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := rpw.Open(t.Context(), "memory://")
		require.NoError(t, err)
		t.Cleanup(func() { hub.Close() })
		s := &starter{hub: hub, ledger: newLedger(t, hub, nil)}
		s.refuse("/closed", &fs.PathError{Op: "open", Path: "/closed", Err: fs.ErrPermission})
		got, _ := s.ledger.now()
		assert.NoError(t, got.check())
		assert.Equal(t, "permission denied", got.Failures[0].Error[:17])
	})
}

func TestTotalsThatDoNotAddUp(t *testing.T) {
	unsound := totals{Scanned: 4, Digested: 1, Skipped: 1, Failed: 1}
	assert.EqualError(t, unsound.check(), "4 files were scanned, but 1 digested, 1 skipped and 1 failed")
}

func TestReport(t *testing.T) {
	r := report{title: "pass 1 of 2", dir: "/src", took: 2500 * time.Millisecond}
	for i := range 12_345 {
		r.Scanned++
		r.add(FileDone{DigestIn: DigestIn{Path: "/src/file"}, DigestOut: DigestOut{Size: 1000, Took: time.Duration(i) * time.Microsecond}})
	}
	for i := range 12 {
		r.Scanned++
		r.add(FileDone{DigestIn: DigestIn{Path: Path(fmt.Sprintf("/src/%02d", 11-i))}, Error: "bad \x1b[2J"})
	}
	var out bytes.Buffer
	r.write(&out)
	assert.Equal(t, `
pass 1 of 2 over /src in 2.5s

                 files       bytes
  digested      12,345     12.3 MB   4,938 digests/s, 4.9 MB/s
  skipped            0         0 B
  failed            12           -
  ────────   ─────────   ─────────
  scanned       12,357     12.3 MB

  slowest       12.3ms      1.0 kB   file
                12.3ms      1.0 kB   file
                12.3ms      1.0 kB   file

  failed   why
  02       bad \x1b[2J
  03       bad \x1b[2J
  04       bad \x1b[2J
  05       bad \x1b[2J
  06       bad \x1b[2J
  07       bad \x1b[2J
  08       bad \x1b[2J
  09       bad \x1b[2J
  10       bad \x1b[2J
  11       bad \x1b[2J
  and 2 more
`, out.String())
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_999: "1.0 MB", 5_000_000_000_000: "5.0 TB"} {
		assert.Equal(t, want, size(n))
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1_234_567: "1,234,567"} {
		assert.Equal(t, want, number(n))
	}
	for d, want := range map[time.Duration]string{0: "0s", 1234 * time.Microsecond: "1.23ms", 12_345 * time.Millisecond: "12.3s", 95 * time.Second: "1m35s"} {
		assert.Equal(t, want, duration(d))
	}
	assert.Zero(t, perSecond(5, 0))
	assert.Equal(t, []string{"1 file", "2 files"}, []string{counted(1, "file"), counted(2, "file")})
}

func TestProgress(t *testing.T) {
	half := totals{Scanned: 600, Digested: 400, Skipped: 90, Failed: 10, Bytes: 2_000_000}
	plain := meter{}
	assert.Equal(t, " 50 %  500 of 1,000 files  2.0 MB  200/s  10 failed", plain.text(half, 1000, 2*time.Second))
	assert.Equal(t, "500 files  2.0 MB  200/s  10 failed", plain.text(half, 0, 2*time.Second), "before the files are counted")
	terminal := meter{columns: func() int { return 20 }}
	bar := terminal.text(half, 1000, 2*time.Second)
	assert.Equal(t, "████████████░░░░░░░░░░░░   50 %  500 of 1,000 files  2.0 MB  200/s  10 failed", bar)
	assert.Equal(t, "████████████░░░░░░░", fit(bar, 19))
	assert.Contains(t, terminal.text(half, 400, time.Second), "100 %", "files came while they were counted")
}

func TestProgressOfAStuckRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := rpw.Open(t.Context(), "memory://")
		require.NoError(t, err)
		t.Cleanup(func() { hub.Close() })
		var out output
		p := &program{config: config{dir: t.TempDir()}, status: &out, hub: hub}
		hide := p.showProgress(t.Context(), newLedger(t, hub, nil))
		time.Sleep(3*time.Second + time.Millisecond)
		hide()
		assert.Equal(t, "0 files  0 B  0/s\n0 files  0 B  0/s\n0 files  0 B  0/s\n", out.String(), "a line a second, and no more")
	})
}

func TestReasons(t *testing.T) {
	assert.Equal(t, "no such file", reason(fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "/x", Err: errors.New("no such file")})))
	assert.Equal(t, "other", reason(errors.New("other")))
}
