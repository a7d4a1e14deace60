package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/workers"
)

var noop = actions.Define[json.RawMessage, int]("noop")

// benchPayload is an argument of 256 bytes.
var benchPayload = json.RawMessage(`"` + strings.Repeat("x", 254) + `"`)

func benchHub(b *testing.B, s *store) *rpw.Hub {
	hub, err := rpw.New(s.parts())
	require.NoError(b, err)
	b.Cleanup(func() { hub.Close() })
	return hub
}

// runWorker runs a worker until the function it returns is called.
func runWorker(b *testing.B, hub *rpw.Hub, slots int, handle func(context.Context, json.RawMessage) (int, error)) (stop func()) {
	w := workers.New(hub, workers.Config{Name: "bench", Concurrency: slots})
	workers.Handle(w, noop, handle)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(b, <-ended)
	}
}

// serverLoad is what a server has done: commands, those of scripts included, and µs of CPU.
func serverLoad(b *testing.B, client rueidis.Client) (commands, micros float64) {
	text, err := client.Do(b.Context(), client.B().Info().Section("commandstats", "cpu").Build()).ToString()
	require.NoError(b, err)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		var n float64
		switch {
		case strings.HasPrefix(name, "cmdstat_"):
			fmt.Sscanf(value, "calls=%f", &n)
			commands += n
		case name == "used_cpu_user" || name == "used_cpu_sys":
			fmt.Sscanf(value, "%f", &n)
			micros += n * 1e6
		}
	}
	return commands, micros
}

// BenchmarkActions takes actions from enqueue to the stored result: 64 callers enqueue one at a time while a worker with 100 slots runs them.
func BenchmarkActions(b *testing.B) {
	s := testStore(b)
	hub := benchHub(b, s)
	var left atomic.Int64
	done := make(chan struct{})
	stop := runWorker(b, hub, 100, func(context.Context, json.RawMessage) (int, error) {
		if left.Add(-1) == 0 {
			close(done)
		}
		return 0, nil
	})
	left.Store(int64(b.N))
	commands, micros := serverLoad(b, s.client)
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if _, err := noop.Start(b.Context(), hub, benchPayload); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	<-done
	stop()
	b.StopTimer()
	c, m := serverLoad(b, s.client)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "actions/s")
	b.ReportMetric((c-commands)/float64(b.N), "commands/action")
	b.ReportMetric((m-micros)/float64(b.N), "server-µs/action")
}

// BenchmarkIdleStart is the time from an enqueue to its handler in an idle worker, beside a raw XREADGROUP BLOCK on the same server.
func BenchmarkIdleStart(b *testing.B) {
	b.Run("rpw", func(b *testing.B) {
		hub := benchHub(b, testStore(b))
		began := make(chan time.Time, 1)
		stop := runWorker(b, hub, 1, func(context.Context, json.RawMessage) (int, error) {
			began <- time.Now()
			return 0, nil
		})
		defer stop()
		measureLatency(b, func() time.Time {
			_, err := noop.Start(b.Context(), hub, benchPayload)
			require.NoError(b, err)
			return <-began
		})
	})
	b.Run("raw", func(b *testing.B) {
		c, ctx := dial(b, shared.Server(b)), b.Context()
		stream := "raw" + strconv.FormatInt(prefixes.Add(1), 10)
		require.NoError(b, c.Do(ctx, c.B().XgroupCreate().Key(stream).Group("g").Id("0").Mkstream().Build()).Error())
		began := make(chan time.Time, 1)
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				c.Do(ctx, c.B().Xreadgroup().Group("g", "c").Count(1).Block(1000).Streams().Key(stream).Id(">").Build())
				began <- time.Now()
			}
		})
		measureLatency(b, func() time.Time {
			require.NoError(b, c.Do(ctx, c.B().Xadd().Key(stream).Id("*").FieldValue().FieldValue("d", string(benchPayload)).Build()).Error())
			return <-began
		})
		cancel()
		for len(began) > 0 {
			<-began
		}
		wg.Wait()
	})
}

func measureLatency(b *testing.B, once func() time.Time) {
	var took []time.Duration
	for b.Loop() {
		time.Sleep(2 * time.Millisecond) // all is idle again
		start := time.Now()
		took = append(took, once().Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkActionVerbs shows what each verb costs the server, in batches of 100.
func BenchmarkActionVerbs(b *testing.B) {
	s := testStore(b)
	store := benchHub(b, s).Actions()
	const batch = 100
	var cost [3]float64
	load := func(verb int, do func()) {
		_, before := serverLoad(b, s.client)
		do()
		_, after := serverLoad(b, s.client)
		cost[verb] += after - before
	}
	rounds := 0
	for b.Loop() {
		const times = 50
		load(0, func() {
			for range times {
				specs := make([]rpw.ActionSpec, batch)
				for i := range specs {
					specs[i] = rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: strconv.FormatInt(prefixes.Add(1), 10) + "-0123-4567-89ab-cdef01234567"}, Name: "noop", Arg: benchPayload}
				}
				_, err := store.Enqueue(b.Context(), specs)
				require.NoError(b, err)
			}
		})
		var claimed [times][]rpw.Claimed
		load(1, func() {
			for i := range times {
				var err error
				claimed[i], err = store.Claim(b.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Max: batch})
				require.NoError(b, err)
				require.Len(b, claimed[i], batch)
			}
		})
		load(2, func() {
			for _, held := range claimed {
				moves := make([]rpw.Move, batch)
				for i := range moves {
					moves[i] = rpw.Move{Lease: held[i].Lease, Kind: rpw.Complete, Output: json.RawMessage("0")}
				}
				_, err := store.Advance(b.Context(), rpw.AdvanceRequest{Moves: moves})
				require.NoError(b, err)
			}
		})
		rounds += times * batch
	}
	for verb, name := range []string{"enqueue", "claim", "complete"} {
		b.ReportMetric(cost[verb]/float64(rounds), name+"-server-µs")
	}
}
