package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// everything lets everyone do everything.
func everything(config Config) Config {
	config.AllowAnonymous = true
	config.Authorize = func(context.Context, Identity, Access) error { return nil }
	return config
}

// listen serves a hub on a loopback port, for the length of the test. It returns the URL.
func listen(t testing.TB, hub *rpw.Hub, config Config) string {
	t.Helper()
	server, err := NewServer(hub, config)
	require.NoError(t, err)
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		web.Close()
	})
	return "ws" + web.URL[len("http"):]
}

// hubOver opens a hub, closed with the test.
func hubOver(t testing.TB, parts rpw.Parts) *rpw.Hub {
	t.Helper()
	hub, err := rpw.New(parts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hub.Close()) })
	return hub
}

// memoryHub is a hub over a memory store of its own.
func memoryHub(t testing.TB) *rpw.Hub {
	t.Helper()
	return hubOver(t, memory.New(memory.Options{}).Parts())
}

// dialHub opens a hub by URL, closed with the test.
func dialHub(t testing.TB, url string, opts Options) *rpw.Hub {
	t.Helper()
	parts, err := New(t.Context(), url, opts)
	require.NoError(t, err)
	return hubOver(t, parts)
}

// pipedHub opens a hub over a link whose connections dial makes, closed with the test.
func pipedHub(t testing.TB, cfg remoteConfig) *rpw.Hub {
	t.Helper()
	if cfg.notify == nil {
		cfg.notify = func(rpw.Notice) {}
	}
	l, err := newRemote(t.Context(), cfg)
	require.NoError(t, err)
	return hubOver(t, l.parts())
}

// piped dials sessions of a peer within the process; they end with the test.
func piped(t testing.TB, newPeer func() *peer) func(context.Context) (conn, error) {
	return served(t, func(ctx context.Context, c conn) { serveNative(ctx, c, newPeer()) })
}

// served dials what serve serves within the process; it ends with the test.
func served(t testing.TB, serve func(ctx context.Context, c conn)) func(context.Context) (conn, error) {
	ctx, stop := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	t.Cleanup(func() {
		stop()
		sessions.Wait()
	})
	return func(context.Context) (conn, error) {
		near, far := newPipe()
		sessions.Go(func() {
			defer far.CloseNow()
			serve(ctx, far)
		})
		return near, nil
	}
}

// notices collects what a link tells.
type notices struct {
	mu   sync.Mutex
	list []rpw.Notice
}

func (n *notices) add(one rpw.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, one)
}

func (n *notices) count(kind rpw.NoticeKind) (c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range n.list {
		if one.Kind == kind {
			c++
		}
	}
	return c
}

// TestServerRestart is K3: clients of a server that stops find the next one at its place, with all that they had begun.
func TestServerRestart(t *testing.T) {
	hub := memoryHub(t)
	serve := func(addr string) (string, func()) {
		server, err := NewServer(hub, everything(Config{Limits: Limits{DrainTime: time.Millisecond}}))
		require.NoError(t, err)
		var l net.Listener
		require.Eventually(t, func() bool {
			l, err = net.Listen("tcp", addr)
			return err == nil
		}, 10*time.Second, 10*time.Millisecond)
		web := &httptest.Server{Listener: l, Config: &http.Server{Handler: server}}
		web.Start()
		return l.Addr().String(), sync.OnceFunc(func() {
			assert.NoError(t, server.Close())
			web.Close()
		})
	}
	addr, stop := serve("127.0.0.1:0")
	defer stop()
	var told notices
	remote := dialHub(t, "ws://"+addr, Options{Notify: told.add})
	waiting := make(chan error, 1)
	go func() {
		events, err := remote.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
		if err == nil && len(events) != 1 {
			err = fmt.Errorf("%d events", len(events))
		}
		waiting <- err
	}()
	stop()
	require.Eventually(t, func() bool { return told.count(rpw.NoticeReconnecting) > 0 }, 10*time.Second, time.Millisecond)
	_, stop = serve(addr)
	defer stop()
	_, err := rpw.StreamOf[int]("s").Publish(t.Context(), remote, "t", 1)
	require.NoError(t, err)
	select {
	case err := <-waiting:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the wait did not come back")
	}
	assert.Equal(t, 2, told.count(rpw.NoticeConnected))
}

// TestNoHerd: a thousand clients that lose their server at the same moment come back spread over time, and soon (F36): when it restarts and calls
// wait for it, and when it breaks off and nobody is in a hurry.
func TestNoHerd(t *testing.T) {
	for name, restarts := range map[string]bool{"restart": true, "break": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { herd(t, restarts) })
		})
	}
}

func herd(t *testing.T, restarts bool) {
	const clients = 1000
	hub := memoryHub(t)
	ctx, lose := context.WithCancel(t.Context())
	var mu sync.Mutex
	dials := map[int64]int{} // by tenth of a second
	var told notices
	var sessions, calls sync.WaitGroup
	defer sessions.Wait()
	end, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	dial := func(context.Context) (conn, error) {
		mu.Lock()
		dials[time.Now().UnixMilli()/100]++
		mu.Unlock()
		near, far := newPipe()
		context.AfterFunc(ctx, func() {
			if restarts {
				far.Close(closeRestart, "")
			} else {
				far.CloseNow()
			}
		})
		sessions.Go(func() { serveNative(end, far, &peer{hub: hub}) })
		return near, nil
	}
	remotes := make([]*rpw.Hub, clients)
	for i := range remotes {
		l, err := newRemote(t.Context(), remoteConfig{dial: dial, notify: told.add})
		require.NoError(t, err)
		remotes[i], err = rpw.New(l.parts())
		require.NoError(t, err)
	}
	old := lose
	ctx = end
	time.Sleep(time.Second)
	clear(dials)
	old()
	time.Sleep(time.Millisecond)
	began := time.Now()
	if restarts {
		for _, remote := range remotes {
			calls.Go(func() { assert.NoError(t, remote.Health(t.Context())) })
		}
		calls.Wait()
	} else {
		for told.count(rpw.NoticeConnected) < 2*clients && time.Since(began) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
	}
	assert.Less(t, time.Since(began), 15*time.Second)
	for at, n := range dials {
		assert.Less(t, n, clients/5, "in the tenth of a second %d", at)
	}
	for _, remote := range remotes {
		require.NoError(t, remote.Close())
	}
}

// TestWhatNobodyTakesIsHandedBack: a claim whose client goes before the answer has reached it costs no attempt, and no lease.
func TestWhatNobodyTakesIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		near, far := newPipe()
		done := make(chan error, 1)
		go func() { done <- serveNative(t.Context(), clogged{far}, &peer{hub: hub}) }()
		message := appendPacket(nil, packetRequest, 1, func(b []byte) []byte {
			return opClaim.request.append(append(b, byte(opClaim.number)), &rpw.ClaimRequest{Queues: []string{"q"}, Worker: "gone", Wait: rpw.Forever})
		})
		message = appendPacket(message, packetRequest, 2, func(b []byte) []byte {
			return opFetch.request.append(append(b, byte(opFetch.number)), &rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "gone", Wait: rpw.Forever})
		})
		_, err := hub.Streams().EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: "g"})
		require.NoError(t, err)
		require.NoError(t, near.Write(t.Context(), websocket.MessageBinary, message))
		synctest.Wait()
		_, err = hub.Actions().Enqueue(t.Context(), []rpw.ActionSpec{{Ref: rpw.ActionRef{Queue: "q", ID: "1"}, Name: "n"}})
		require.NoError(t, err)
		_, err = rpw.StreamOf[int]("s").Publish(t.Context(), hub, "t", 1)
		require.NoError(t, err)
		synctest.Wait()
		claimed, err := hub.Actions().Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w"})
		require.NoError(t, err)
		require.Empty(t, claimed, "the client has it")

		near.CloseNow()
		require.Error(t, <-done)
		claimed, err = hub.Actions().Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w"})
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		assert.Equal(t, 1, claimed[0].Attempt)
		fetched, err := hub.Streams().Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
		require.NoError(t, err)
		require.Len(t, fetched, 1)
		assert.Equal(t, 1, fetched[0].Attempt)
	})
}

// clogged is a connection that takes nothing.
type clogged struct{ conn }

func (c clogged) Write(ctx context.Context, _ websocket.MessageType, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

// silent is a connection to a server that greets, and then is gone without a word.
type silent struct{ *pipeEnd }

func (s silent) Ping(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s silent) Close(websocket.StatusCode, string) error {
	<-s.mine.closed
	return net.ErrClosed
}

func dialSilent(context.Context) (conn, error) {
	near, far := newPipe()
	far.Write(context.Background(), websocket.MessageBinary, appendPacket(nil, packetHello, 0, func(b []byte) []byte { return helloPlan.append(b, &hello{}) }))
	return silent{near}, nil
}

// TestSilentServer: a server that is gone without a word holds nobody: contexts are honoured (E1), the link is given up (F40), and a Hub closes.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told notices
		hub := pipedHub(t, remoteConfig{dial: dialSilent, notify: told.add})
		for name, call := range map[string]func(ctx context.Context) error{
			"read": func(ctx context.Context) error {
				_, err := hub.Streams().Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
				return err
			},
			"get": func(ctx context.Context) error { _, _, err := rpw.Get[int](ctx, hub, "k"); return err },
			"set": func(ctx context.Context) error { return rpw.Set(ctx, hub, "k", 1) },
			"fetch": func(ctx context.Context) error {
				_, err := hub.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: rpw.Forever})
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			err := call(ctx)
			cancel()
			assert.LessOrEqual(t, time.Since(began), time.Second+50*time.Millisecond, name)
			assert.ErrorIs(t, err, context.DeadlineExceeded, name)
			assert.Equal(t, name == "set", errors.Is(err, rpw.ErrUncertain), name)
		}
		began := time.Now()
		err := rpw.Set(t.Context(), hub, "k", 1)
		assert.ErrorIs(t, err, rpw.ErrUncertain)
		assert.Equal(t, defaultTimeout, time.Since(began))
		time.Sleep(40 * time.Second)
		assert.Positive(t, told.count(rpw.NoticeReconnecting), "the link was given up")
		began = time.Now()
		require.NoError(t, hub.Close())
		assert.Less(t, time.Since(began), time.Second)
	})
}

// TestCloseWithoutServer: a Hub whose server is gone without a word closes at once, in whatever state its calls are.
func TestCloseWithoutServer(t *testing.T) {
	u, err := url.Parse(listen(t, memoryHub(t), everything(Config{})))
	require.NoError(t, err)
	proxy := redistest.NewProxy(t, u.Host)
	parts, err := New(t.Context(), "ws://"+proxy.Addr, Options{})
	require.NoError(t, err)
	remote, err := rpw.New(parts)
	require.NoError(t, err)
	proxy.Blackhole(true)
	waiting := make(chan error, 1)
	go func() {
		_, err := remote.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
		waiting <- err
	}()
	began := time.Now()
	require.NoError(t, remote.Close())
	assert.Less(t, time.Since(began), 3*time.Second)
	assert.ErrorIs(t, <-waiting, rpw.ErrClosed)
}

// TestLimitsAreKept: callers beyond the server's limits wait for their turn, instead of being refused; waits share what places there are.
func TestLimitsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		remote := pipedHub(t, remoteConfig{dial: piped(t, func() *peer { return &peer{hub: hub, limits: Limits{Requests: 4, Waits: 8}} })})
		var calls sync.WaitGroup
		for i := range 1000 {
			calls.Go(func() { assert.NoError(t, rpw.Set(t.Context(), remote, "k"+strconv.Itoa(i), i)) })
		}
		for i := range 50 {
			calls.Go(func() {
				for {
					events, err := remote.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s" + strconv.Itoa(i), Wait: rpw.Forever})
					assert.NoError(t, err)
					if len(events) > 0 || err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Second)
		for i := range 50 {
			_, err := rpw.StreamOf[int]("s"+strconv.Itoa(i)).Publish(t.Context(), hub, "t", i)
			require.NoError(t, err)
		}
		calls.Wait()
	})
}

// TestRefusedLater: a server that no longer wants the client is told of at once, and asked again only now and then.
func TestRefusedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		ctx, revoke := context.WithCancel(t.Context())
		var refuse atomic.Bool
		var dials atomic.Int64
		var told notices
		remote := pipedHub(t, remoteConfig{notify: told.add, dial: func(context.Context) (conn, error) {
			dials.Add(1)
			if refuse.Load() {
				return nil, rpw.Errorf(rpw.ErrPermission, "not you")
			}
			near, far := newPipe()
			go func() {
				serveNative(ctx, far, &peer{hub: hub})
				far.Close(closeExpired, "revoked")
			}()
			return near, nil
		}})
		refuse.Store(true)
		revoke()
		time.Sleep(time.Second)
		began := time.Now()
		require.ErrorIs(t, rpw.Set(t.Context(), remote, "k", 1), rpw.ErrPermission)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, 1, told.count(rpw.NoticeRefused))
		before := dials.Load()
		time.Sleep(time.Minute)
		assert.LessOrEqual(t, dials.Load()-before, int64(time.Minute/refusedEvery))
		ctx, revoke = context.WithCancel(t.Context())
		defer revoke()
		refuse.Store(false)
		time.Sleep(2 * refusedEvery)
		require.NoError(t, rpw.Set(t.Context(), remote, "k", 1))
	})
}

// TestLeave: a client that is asked to go is on the next connection before it leaves the old one, and no call notices.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		var told notices
		leave, peers := make(chan struct{}), 0
		remote := pipedHub(t, remoteConfig{notify: told.add, dial: piped(t, func() *peer {
			if peers++; peers > 1 {
				return &peer{hub: hub}
			}
			return &peer{hub: hub, leaving: leave, limits: Limits{DrainTime: 5 * time.Second}}
		})})
		waiting := make(chan error, 1)
		go func() {
			_, err := remote.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
			waiting <- err
		}()
		close(leave)
		for range 600 {
			time.Sleep(10 * time.Millisecond)
			require.NoError(t, rpw.Set(t.Context(), remote, "k", 1))
		}
		assert.Equal(t, 2, peers)
		assert.Zero(t, told.count(rpw.NoticeReconnecting))
		_, err := rpw.StreamOf[int]("s").Publish(t.Context(), hub, "t", 1)
		require.NoError(t, err)
		require.NoError(t, <-waiting)
	})
}
