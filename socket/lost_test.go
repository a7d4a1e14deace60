package socket

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// deaf is a server's connection that ends in place of the first answer after the greeting, when all of the work is done.
type deaf struct {
	conn
	greeted bool
}

func (d *deaf) Write(ctx context.Context, typ websocket.MessageType, data []byte) error {
	if !d.greeted {
		d.greeted = true
		return d.conn.Write(ctx, typ, data)
	}
	d.conn.CloseNow()
	return io.ErrClosedPipe
}

// TestAWriteThatWasCutOffIsNotSentAgain: a write without an identity of its own, whose answer was lost, is done once, and told as uncertain (K3, C3).
func TestAWriteThatWasCutOffIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		ctx, stop := context.WithCancel(t.Context())
		var sessions sync.WaitGroup
		t.Cleanup(func() {
			stop()
			sessions.Wait()
		})
		dials := 0
		remote := pipedHub(t, remoteConfig{dial: func(context.Context) (conn, error) {
			near, far := newPipe()
			served := conn(far)
			if dials++; dials == 1 {
				served = &deaf{conn: far}
			}
			sessions.Go(func() {
				defer far.CloseNow()
				serveNative(ctx, served, &peer{hub: hub})
			})
			return near, nil
		}})
		counter := []rpw.CacheIncrement{{Key: "n", By: 1, TTL: rpw.NoTTL}}
		_, err := remote.Cache().Increment(t.Context(), counter)
		require.ErrorIs(t, err, rpw.ErrUncertain)
		time.Sleep(time.Minute)
		counter[0].By = 0
		answers, err := remote.Cache().Increment(t.Context(), counter)
		require.NoError(t, err, "the link is up again")
		assert.EqualValues(t, 1, answers[0].Value)
		assert.Equal(t, 2, dials)
	})
}

// TestWhoLeavesFreesHisPlace: a caller who no longer waits takes no place of the server's (E1, K4).
func TestWhoLeavesFreesHisPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		remote := pipedHub(t, remoteConfig{dial: piped(t, func() *peer { return &peer{hub: hub, limits: Limits{Waits: 1}} })})
		read := func(stream string, d time.Duration) ([]rpw.Event, error) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return remote.Streams().Read(ctx, rpw.ReadRequest{Stream: stream, Wait: rpw.Forever})
		}
		for range 3 {
			_, err := read("quiet", time.Second)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		_, err := rpw.StreamOf[int]("s").Publish(t.Context(), hub, "t", 1)
		require.NoError(t, err)
		events, err := read("s", 10*time.Second)
		require.NoError(t, err)
		assert.Len(t, events, 1)
	})
}
