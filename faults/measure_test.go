package faults

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw/internal/redistest"
)

// processor measures what this process takes of the processors.
type processor struct {
	began time.Time
	used  time.Duration
}

func startProcessor(t testing.TB) processor {
	t.Helper()
	return processor{time.Now(), processorTime(t)}
}

// share is what was used since the start.
func (p processor) share(t testing.TB) percent {
	t.Helper()
	return percent(100 * float64(processorTime(t)-p.used) / float64(time.Since(p.began)))
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// memory is what the heap and the stacks hold, after a collection.
func memory() mebibytes {
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return mebibytes(stats.HeapInuse+stats.StackInuse) / (1 << 20)
}

// resident is what the system holds in memory for this process; 0 where /proc does not tell.
func resident() mebibytes {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return mebibytes(pages*os.Getpagesize()) / (1 << 20)
}

// files is how many files and connections this process has open; 0 where /proc does not tell.
func files(t testing.TB) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return len(open)
}

// lines is a slog.Handler that notes when lines came.
type lines struct {
	mu    sync.Mutex
	times []time.Time
	texts []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, r.Time)
	l.texts = append(l.texts, r.Message)
	return nil
}

// busiest is the most lines that came within a second, after since.
func (l *lines) busiest(since time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, first := 0, 0
	for i, at := range l.times {
		if at.Before(since) {
			first = i + 1
			continue
		}
		for at.Sub(l.times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// within waits for a condition and returns how long that took since a time. It fails the test after half a minute.
func within(t testing.TB, since time.Time, what string, cond func() bool) time.Duration {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within half a minute: %s", what)
		}
	}
	return time.Since(since)
}

// linksMade is how many connections the server has accepted so far.
func linksMade(t testing.TB, s *redistest.Server) int {
	t.Helper()
	return counted(t, s, "total_connections_received")
}

// commandsDone is how many commands the server has done so far.
func commandsDone(t testing.TB, s *redistest.Server) int {
	t.Helper()
	return counted(t, s, "total_commands_processed")
}

func counted(t testing.TB, s *redistest.Server, what string) int {
	t.Helper()
	_, rest, _ := strings.Cut(s.CLI(t, "INFO", "stats"), what+":")
	n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	require.NoError(t, err)
	return n
}

// recovery is from the return of what had failed until all work again.
const recovery = 3 * time.Second

// streamKey is the key of a stream on a server: the only one with its name that is a stream.
func streamKey(t testing.TB, s *redistest.Server, name string) string {
	t.Helper()
	for key := range strings.Lines(s.CLI(t, "SCAN", "0", "COUNT", "10000", "TYPE", "stream")) {
		if key = strings.TrimSpace(key); strings.HasSuffix(key, name) {
			return key
		}
	}
	t.Fatalf("there is no stream %s", name)
	return ""
}
