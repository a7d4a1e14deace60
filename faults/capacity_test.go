//go:build faults

package faults

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestManySubscriptions waits for 10,000 streams in one process. It comes first: stacks of new goroutines are as large as those before needed.
func TestManySubscriptions(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		server := redistest.Start(t)
		subscribeMany(t, "redis://"+server.Addr, server)
	})
	t.Run("cluster", func(t *testing.T) {
		nodes := redistest.StartCluster(t, 3).Nodes
		subscribeMany(t, "redis+cluster://"+nodes[0].Addr, nodes...)
	})
}

func subscribeMany(t *testing.T, url string, nodes ...*redistest.Server) {
	const many = 10_000
	before := memory()
	hub := open(t, url)
	var woken, wrong atomic.Int64
	var waiting sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	defer waiting.Wait()
	defer end()
	began := time.Now()
	each(many, func(i int) {
		sub, err := stream(i).Subscribe(ctx, hub, rpw.Newest())
		if err != nil {
			t.Errorf("subscribe: %v", err)
			return
		}
		waiting.Go(func() {
			m, err := sub.Next(ctx)
			if err != nil || m.Data != i {
				wrong.Add(1)
			}
			woken.Add(1)
			_, _ = sub.Next(ctx) // and so waits again
		})
	})
	within(t, began, "the channels of all streams are subscribed to", func() bool {
		subscribed := 0
		for _, node := range nodes {
			subscribed += channels(t, node)
		}
		return subscribed >= many
	})
	note(t, "all wait after", time.Since(began))
	most := 0
	for _, node := range nodes {
		most = max(most, clients(t, node))
	}
	atMost(t, "connections to a node", most, 8)
	cpu := startProcessor(t)
	time.Sleep(5 * time.Second)
	note(t, "processor while all wait", cpu.share(t))
	atMost(t, "memory, heap and stacks", memory()-before, 200)
	note(t, "resident memory of the whole process", resident())

	began = time.Now()
	each(many, func(i int) {
		if _, err := stream(i).Publish(t.Context(), hub, "number", i); err != nil {
			t.Errorf("publish: %v", err)
		}
	})
	published := time.Since(began)
	note(t, "one event published to each within", published)
	note(t, "all woken after", within(t, began, "all are woken", func() bool { return woken.Load() == many }))
	require.Zero(t, wrong.Load(), "each gets its own event")
	for _, node := range nodes {
		most = max(most, clients(t, node))
	}
	atMost(t, "connections to a node after that", most, 8)
}

// clients is how many connections programs have to a node.
func clients(t testing.TB, s *redistest.Server) int {
	t.Helper()
	return len(s.Clients(t))
}

// channels is how many channels have subscribers on a node.
func channels(t testing.TB, s *redistest.Server) int {
	t.Helper()
	return strings.Count(s.CLI(t, "PUBSUB", "CHANNELS", "rpw:n:*"), "\n") + 1
}
