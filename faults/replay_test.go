//go:build faults

package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestReplay: F47, S6: a subscription reads a million events over a link that is cut again and again, each once and in order, with little memory.
func TestReplay(t *testing.T) {
	const events, cutEvery = 1_000_000, 100_000
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	hub, far := open(t, "redis://"+server.Addr), open(t, "redis://"+proxy.Addr)
	stream := rpw.StreamOf[int]("numbers", rpw.Keep(rpw.Retention{Events: rpw.Unlimited}))
	began := time.Now()
	publishNumbers(t, hub, stream, 0, events)
	note(t, "a million events published, in batches of a thousand, after", time.Since(began))
	sub, err := stream.Subscribe(t.Context(), far, rpw.Oldest())
	require.NoError(t, err)
	before, most := memory(), mebibytes(0)
	began = time.Now()
	for n := range events {
		m, err := sub.Next(t.Context())
		require.NoError(t, err)
		if m.Data != n {
			t.Fatalf("%d came instead of %d", m.Data, n)
		}
		if n%cutEvery == cutEvery/2 {
			most = max(most, memory()-before)
			proxy.Cut()
		}
	}
	note(t, "and read after", time.Since(began))
	atMost(t, "memory, heap and stacks, meanwhile", most, 16)
}
