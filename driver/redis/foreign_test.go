package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// reading is a read that waits at the end of a stream.
type reading struct {
	bus rpw.StreamBus
	at  rpw.Position
}

func readingAt(t *testing.T, s *store, stream string) *reading {
	t.Helper()
	bus := s.streams()
	at, err := bus.Locate(t.Context(), stream, rpw.Newest())
	require.NoError(t, err)
	return &reading{bus, at}
}

// wakes says how long a read takes to come back with what do adds, after the read came to wait.
func (r *reading) wakes(t *testing.T, stream string, do func()) time.Duration {
	t.Helper()
	type answer struct {
		events []rpw.Event
		err    error
		at     time.Time
	}
	done := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		events, err := r.bus.Read(ctx, rpw.ReadRequest{Stream: stream, After: r.at, Max: 10, Wait: rpw.Forever})
		done <- answer{events, err, time.Now()}
	}()
	time.Sleep(100 * time.Millisecond) // it waits by then, or finds the event at once, which is as good
	did := time.Now()
	do()
	a := <-done
	require.NoError(t, a.err)
	require.NotEmpty(t, a.events)
	r.at = a.events[len(a.events)-1].Position()
	return a.at.Sub(did)
}

func TestForeignEventsWake(t *testing.T) {
	for _, c := range []struct {
		notify string
		within time.Duration
	}{{"", 2 * time.Second}, {"Kt", 500 * time.Millisecond}} {
		t.Run("notify-keyspace-events="+c.notify, func(t *testing.T) {
			server := redistest.Start(t, "--notify-keyspace-events", c.notify)
			s := storeOn(t, server, "p")
			r := readingAt(t, s, "x")
			for range 3 {
				took := r.wakes(t, "x", func() { server.CLI(t, "XADD", "p:s:x", "*", "t", "1") })
				assert.Less(t, took, c.within)
			}
			took := r.wakes(t, "x", func() {
				_, err := s.streams().Publish(t.Context(), []rpw.Batch{{Stream: "x", Events: []rpw.NewEvent{{Type: "t", Data: []byte("1")}}}})
				require.NoError(t, err)
			})
			assert.Less(t, took, 500*time.Millisecond, "our own wake at once in any case")
		})
	}
}

func TestForeignEventsWakeOnCluster(t *testing.T) {
	nodes := shared.Cluster(t)
	s := storeWith(t, dialCluster(t, nodes), "foreign")
	for i := range 3 { // on different nodes
		name := fmt.Sprintf("x%d", i)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := readingAt(t, s, name)
			took := r.wakes(t, name, func() { nodes.Nodes[0].CLI(t, "-c", "XADD", "foreign:s:"+name, "*", "t", "1") })
			assert.Less(t, took, 2*time.Second)
		})
	}
}

// TestForeignLooksCostLittle: one command in a while for hundreds of streams.
func TestForeignLooksCostLittle(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server, "p")
	for i := range 500 {
		w, err := s.waker.watch(t.Context(), s.keys.channel(streamChannel, fmt.Sprint(i)))
		require.NoError(t, err)
		defer w.close()
	}
	f := &foreign{store: s, known: make(map[string]string)}
	f.look(t.Context())
	server.CLI(t, "CONFIG", "RESETSTAT")
	f.look(t.Context())
	stats := server.CLI(t, "INFO", "commandstats")
	assert.Contains(t, stats, "cmdstat_xread:calls=3,")
	assert.NotContains(t, stats, "xrevrange")
}

// TestLinkThatIsMute: a link that is up and hears nothing is made again.
func TestLinkThatIsMute(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	w, err := s.waker.watch(t.Context(), "x")
	require.NoError(t, err)
	defer w.close()
	s.waker.mute.Store(true)
	assert.Empty(t, told(t, w), "told to look again")
	assert.False(t, s.waker.mute.Load())
}
