package socket

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// frail is a connection that breaks after so many bytes in one direction.
type frail struct {
	net.Conn
	in, out *atomic.Int64 // bytes left; nil: no end
}

func spend(left *atomic.Int64, b []byte, c net.Conn) []byte {
	if left == nil {
		return b
	}
	now := left.Add(-int64(len(b)))
	if now >= 0 {
		return b
	}
	c.Close()
	return b[:max(0, len(b)+int(now))]
}

func (f frail) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if whole := spend(f.in, b[:n], f.Conn); len(whole) < n {
		return 0, net.ErrClosed
	}
	return n, err
}

func (f frail) Write(b []byte) (int, error) {
	if f.out != nil {
		if left := f.out.Add(-int64(len(b))); left < 0 {
			n, _ := f.Conn.Write(b[:max(0, len(b)+int(left))])
			f.Conn.Close()
			return n, net.ErrClosed
		}
	}
	return f.Conn.Write(b)
}

// TestCutAnywhere is K3: the connection breaks after any number of bytes of an exchange, in either direction, and then again, and each
// event of a publisher who sees no error is stored once and in order.
// F35, K3.
func TestCutAnywhere(t *testing.T) {
	const events, handshake = 8, 150
	hub := memoryHub(t)
	place, err := url.Parse(listen(t, hub, everything(Config{Limits: Limits{ConnectsPerIP: 1e6}})))
	require.NoError(t, err)
	for _, direction := range []string{"in", "out"} {
		for offset := handshake; offset < handshake+900; offset += 19 {
			t.Run(fmt.Sprintf("%s/%d", direction, offset), func(t *testing.T) {
				t.Parallel()
				d := newDialer(place, Options{})
				tries := 0
				d.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := new(net.Dialer).DialContext(ctx, network, addr)
					if tries++; tries > 2 {
						return c, err
					}
					left := new(atomic.Int64)
					left.Store(int64(offset))
					if direction == "in" {
						return frail{Conn: c, in: left}, err
					}
					return frail{Conn: c, out: left}, err
				}
				l, err := newRemote(t.Context(), remoteConfig{dial: d.dial, notify: func(rpw.Notice) {}})
				for err != nil { // cut within the handshake
					require.ErrorIs(t, err, rpw.ErrUnavailable)
					l, err = newRemote(t.Context(), remoteConfig{dial: d.dial, notify: func(rpw.Notice) {}})
				}
				remote := hubOver(t, l.parts())
				stream := direction + strconv.Itoa(offset)
				for i := range events {
					_, err := remote.Streams().Publish(t.Context(), []rpw.Batch{{Stream: stream, Events: []rpw.NewEvent{{Type: "t", Data: []byte(strconv.Itoa(i))}}}})
					require.NoError(t, err)
				}
				stored, err := hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: stream})
				require.NoError(t, err)
				require.Len(t, stored, events)
				for i, e := range stored {
					require.Equal(t, strconv.Itoa(i), string(e.Data))
				}
			})
		}
	}
}

// TestSubscriptionThroughCuts is K3: a subscription over a link that keeps breaking receives each event once, in order, without a gap.
// F35, F5, K3.
func TestSubscriptionThroughCuts(t *testing.T) {
	const events, cutEvery = 400, 40
	hub := memoryHub(t)
	u, err := url.Parse(listen(t, hub, everything(Config{})))
	require.NoError(t, err)
	proxy := redistest.NewProxy(t, u.Host)
	remote := dialHub(t, "ws://"+proxy.Addr, Options{})
	sub, err := rpw.StreamOf[int]("s").Subscribe(t.Context(), remote, rpw.Oldest())
	require.NoError(t, err)
	defer sub.Close()
	var published sync.WaitGroup
	defer published.Wait()
	published.Go(func() {
		for i := range events {
			_, err := rpw.StreamOf[int]("s").Publish(t.Context(), hub, "t", i)
			assert.NoError(t, err)
		}
	})
	next := 0
	for ev, err := range sub.All(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, next, ev.Data)
		if next++; next == events {
			break
		}
		if next%cutEvery == 0 {
			proxy.Cut()
		}
	}
}
