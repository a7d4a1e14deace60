package load_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/internal/history"
	"github.com/redis-process-worker/rpw/internal/history/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed of the loads")
	seeds     = flag.Uint64("seeds", 120, "how many loads run on the memory driver")
)

// TestMemory loads the memory driver in virtual time. Each seed is a history of its own; every other one loses all data now and then.
func TestMemory(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var h *history.History
			synctest.Test(t, func(t *testing.T) { h = onMemory(t, seed) })
			history.Require(t, h)
		})
	}
}

func onMemory(t *testing.T, seed uint64) *history.History {
	store := memory.New(memory.Options{})
	var mu sync.Mutex
	var links []*load.Link
	rate := float64(seed%3) * 0.02
	c := load.Config{
		Open: func() (*rpw.Hub, error) {
			mu.Lock()
			defer mu.Unlock()
			link := load.NewLink(store.Parts(), seed<<32+uint64(len(links)), rate)
			links = append(links, link)
			return rpw.New(link.Spoilt())
		},
		Seed: seed, Duration: 8 * time.Second, Pause: 100 * time.Millisecond, Lease: 500 * time.Millisecond, Patience: 10 * time.Minute,
		Resets: seed%2 == 0,
		Bounds: history.Bounds{Clock: time.Millisecond, Return: 50 * time.Millisecond, Publish: 10 * time.Second, CatchUp: 10 * time.Second},
	}
	if c.Resets {
		c.Faults = append(c.Faults, load.Fault{Kind: "flush", Reset: true, Do: func(*rand.Rand) { store.Flush() }})
	}
	h := load.Run(t, c)
	for _, link := range links {
		link.Wait()
	}
	return h
}
