package soak

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw/internal/redistest"
)

// resources are what this process holds.
type resources struct {
	goroutines, files int
	heap              uint64
}

func measure(t testing.TB) resources {
	t.Helper()
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	files, err := os.ReadDir("/proc/self/fd")
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return resources{goroutines: runtime.NumGoroutine(), files: len(files), heap: stats.HeapAlloc}
}

func (r resources) max(other resources) resources {
	return resources{max(r.goroutines, other.goroutines), max(r.files, other.files), max(r.heap, other.heap)}
}

// back waits until nothing is left of a segment: no goroutine and no file more than before, and a heap that has not grown by more than a
// tenth and 5 MiB. It returns what is there then.
func back(t testing.TB, before resources) resources {
	t.Helper()
	most := before.heap + before.heap/10 + 5<<20
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		now := measure(t)
		if now.goroutines <= before.goroutines && now.files <= before.files && now.heap <= most {
			return now
		}
		if time.Now().After(end) {
			t.Errorf("%+v before, %+v now", before, now)
			return now
		}
	}
}

// connections are those that rpw has to some servers. It waits for them to end.
func connections(t testing.TB, servers []*redistest.Server) (left []string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left = nil
		for _, s := range servers {
			for _, client := range s.Clients(t) {
				if strings.Contains(client, " name=rpw") {
					left = append(left, client)
				}
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
	return left
}
