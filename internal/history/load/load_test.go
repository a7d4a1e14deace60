package load_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
	_ "github.com/redis-process-worker/rpw/driver/redis"
	"github.com/redis-process-worker/rpw/internal/history"
	"github.com/redis-process-worker/rpw/internal/history/load"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed of the loads")
	seeds     = flag.Uint64("seeds", 100, "how many loads run on the memory driver")
	seconds   = flag.Int("seconds", 4, "how long the loads on Redis last")
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
	opens := 0
	rate := float64(seed%3) * 0.02
	c := load.Config{
		Open: func() (*rpw.Hub, error) {
			mu.Lock()
			defer mu.Unlock()
			if opens++; opens%3 == 0 {
				return nil, rpw.ErrUnavailable
			}
			link := load.NewLink(store.Parts(), seed<<32+uint64(len(links)), rate)
			links = append(links, link)
			return rpw.New(link.Spoilt())
		},
		Seed: seed, Duration: 3 * time.Second, Pause: 100 * time.Millisecond, Lease: 500 * time.Millisecond, Patience: 10 * time.Minute,
		Resets: seed%2 == 0,
		Bounds: history.Bounds{Clock: time.Millisecond, Return: 50 * time.Millisecond, Publish: 10 * time.Second, CatchUp: 10 * time.Second},
	}
	if c.Resets {
		c.Faults = append(c.Faults, load.Fault{Kind: "flush", Loses: history.OpReset, Do: func(*rand.Rand) { store.Flush() }})
	}
	h := load.Run(t, c)
	for _, link := range links {
		link.Wait()
	}
	return h
}

// TestRedis loads a Redis server of its own, whose scripts are forgotten, whose clients are cut off and whose writes are held up. In the
// second run it loses all data, too.
func TestRedis(t *testing.T) {
	for name, resets := range map[string]bool{"kept": false, "flushed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			command := func(args ...string) func(*rand.Rand) {
				return func(*rand.Rand) { server.CLI(t, args...) }
			}
			c := load.Config{
				Open: func() (*rpw.Hub, error) { return rpw.Open(t.Context(), "redis://"+server.Addr) },
				Seed: *firstSeed, Duration: time.Duration(*seconds) * time.Second, Pause: 30 * time.Millisecond, Lease: 500 * time.Millisecond,
				Patience: time.Minute, Resets: resets,
				Faults: []load.Fault{
					{Kind: "script flush", Do: command("SCRIPT", "FLUSH")},
					{Kind: "client kill", Do: command("CLIENT", "KILL", "TYPE", "normal")},
					{Kind: "client kill pubsub", Do: command("CLIENT", "KILL", "TYPE", "pubsub")},
					{Kind: "client pause", Do: func(r *rand.Rand) {
						pause := 1 + r.IntN(300)
						server.CLI(t, "CLIENT", "PAUSE", fmt.Sprint(pause), "WRITE")
						time.Sleep(time.Duration(pause) * time.Millisecond)
					}},
				},
				Bounds: history.Bounds{Clock: 20 * time.Millisecond, Return: 5 * time.Second, Publish: 20 * time.Second, CatchUp: 30 * time.Second},
			}
			if resets {
				c.Faults = append(c.Faults, load.Fault{Kind: "flush", Loses: history.OpReset, Do: command("FLUSHALL")})
			}
			h := load.Run(t, c)
			require.NotEmpty(t, h.Records)
			history.Require(t, h)
		})
	}
}
