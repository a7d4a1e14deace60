package redis

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestContextIsHeardWhileDialling is E1: also when a link is being made to a server that is silent, a call ends with its context.
func TestContextIsHeardWhileDialling(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	h, err := rpw.Open(t.Context(), "redis://"+proxy.Addr)
	require.NoError(t, err)
	defer h.Close()
	proxy.Blackhole(true)
	proxy.Cut()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		_, _, err := rpw.Get[int](ctx, h, "k")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(began), 500*time.Millisecond)
		cancel()
	}
	proxy.Blackhole(false)
	proxy.Cut()
	assert.Eventually(t, func() bool { _, _, err := rpw.Get[int](t.Context(), h, "k"); return err == nil }, 10*time.Second, time.Millisecond)
}

// TestContextIsHeardByWhoNeedsAnotherLink is E1: also when a link is needed for the first time long after the others were made, and the server is
// silent by then, a call ends with its context, and so do those that need the same link.
func TestContextIsHeardByWhoNeedsAnotherLink(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	address, err := url.Parse("redis://" + proxy.Addr + "?connections=64")
	require.NoError(t, err)
	parts, err := Driver{}.Open(t.Context(), rpw.OpenRequest{URL: address, Notify: func(rpw.Notice) {}})
	require.NoError(t, err)
	defer func() { assert.NoError(t, parts.Close(t.Context())) }()
	s := parts.Cache.(cache).store
	const soon = 1500 * time.Millisecond // a link that is not greeted takes 2 s to fail
	read := func(bound time.Duration) time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		began := time.Now()
		_, err := parts.Cache.Get(ctx, rpw.GetRequest{Keys: []string{"k"}})
		assert.Contains(t, []string{"deadline_exceeded", "unavailable"}, rpw.Code(err), "the latter of who waited for the link of another")
		return time.Since(began)
	}
	proxy.Blackhole(true)
	for range 5 {
		s.sender.broken.Store(0) // long ago
		assert.Less(t, read(200*time.Millisecond), soon)
	}
	s.sender.broken.Store(0)
	var reading sync.WaitGroup
	for range 50 {
		reading.Go(func() { read(5 * time.Second) })
	}
	assert.Eventually(t, func() bool { return s.sender.making.Load() > 0 }, 10*time.Second, time.Millisecond)
	for range 50 {
		reading.Go(func() { assert.Less(t, read(200*time.Millisecond), soon) })
	}
	reading.Wait()
	proxy.Blackhole(false)
	proxy.Cut()
	assert.Eventually(t, func() bool {
		_, err := parts.Cache.Get(t.Context(), rpw.GetRequest{Keys: []string{"k"}})
		return err == nil
	}, 10*time.Second, time.Millisecond)
	assert.Eventually(t, func() bool { return s.sender.making.Load() == 0 }, 10*time.Second, time.Millisecond, "all that were begun are over")
}

// TestAServerThatIsAwayIsTriedSeldom: F1, F27: however many callers need a link to it, and once more as soon as it may be back.
func TestAServerThatIsAwayIsTriedSeldom(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	var l links
	var tried atomic.Int64
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(string, string, syscall.RawConn) error { tried.Add(1); return nil }}
	_, err = l.dial(t.Context(), addr, dialer, nil)
	require.Error(t, err)
	began := time.Now()
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			for time.Since(began) < 10*dialEvery {
				_, err := l.dial(t.Context(), addr, dialer, nil)
				assert.Equal(t, "unavailable", rpw.Code(classify(t.Context(), err, true)))
			}
		})
	}
	callers.Wait()
	assert.LessOrEqual(t, tried.Load(), 2+int64(time.Since(began)/dialEvery))

	back, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	defer back.Close()
	require.Eventually(t, func() bool {
		conn, err := l.dial(t.Context(), addr, dialer, nil)
		return err == nil && conn.Close() == nil
	}, 10*time.Second, time.Millisecond)
}

// TestRestart is F1: who waited goes on, and calls work again at once.
func TestRestart(t *testing.T) {
	server := redistest.Start(t)
	h, err := rpw.Open(t.Context(), "redis://"+server.Addr)
	require.NoError(t, err)
	defer h.Close()
	for range 3 {
		server.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, _, err = rpw.Get[int](ctx, h, "k")
		assert.Error(t, err)
		cancel()
		server.Restart(t)
		began := time.Now()
		require.NoError(t, rpw.Set(t.Context(), h, "k", 1, rpw.TTL(time.Minute)))
		assert.Less(t, time.Since(began), 3*time.Second)
	}
}

// TestDemotedServer is F21: connections to a server that is the master no more are given up.
func TestDemotedServer(t *testing.T) {
	t.Parallel()
	servers := redistest.StartReplicated(t, 1, 0)
	h, err := rpw.Open(t.Context(), "redis://"+servers.Master.Addr)
	require.NoError(t, err)
	defer h.Close()
	before := servers.Master.CLI(t, "CLIENT", "LIST", "TYPE", "normal")
	servers.Master.CLI(t, "REPLICAOF", "127.0.0.1", "1")
	err = rpw.Set(t.Context(), h, "k", 1, rpw.TTL(time.Minute)) // repeated for 5 s
	assert.ErrorIs(t, err, rpw.ErrUnavailable)
	servers.Master.CLI(t, "REPLICAOF", "NO", "ONE")
	assert.NoError(t, rpw.Set(t.Context(), h, "k", 1, rpw.TTL(time.Minute)))
	assert.NotEqual(t, before, servers.Master.CLI(t, "CLIENT", "LIST", "TYPE", "normal"), "other connections")
}

// broken is a client whose connection has ended.
type broken struct {
	rueidis.Client
	err error
}

func (b broken) Do(context.Context, rueidis.Completed) rueidis.RedisResult {
	return rueidis.NewErrorResult(b.err)
}

// TestWhatMeetsALinkThatWasGivenUp: F21, E4: a call that begins when its link was given up was not sent, also if rueidis does not know yet; what was on its
// way then may have been.
func TestWhatMeetsALinkThatWasGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	l := &links{silence: time.Minute}
	conn, err := l.dial(t.Context(), listener.Addr().String(), &net.Dialer{Timeout: time.Minute}, nil)
	require.NoError(t, err)
	conn.(*link).stage.Store(inUse)
	l.redial()
	_, err = conn.Write([]byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed, "at once")
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)

	set := dial(t, shared.Server(t)).B().Set().Key("k").Value("v").Build()
	results := new(sender).ask(t.Context(), broken{err: err}, []rueidis.Completed{set})
	assert.ErrorIs(t, classify(t.Context(), results[0].Error(), true), rpw.ErrUnavailable, "it began later")
	results = new(sender).ask(t.Context(), broken{err: overError{net.ErrClosed, time.Now().Add(time.Minute)}}, []rueidis.Completed{set})
	assert.ErrorIs(t, classify(t.Context(), results[0].Error(), true), rpw.ErrUncertain, "it was on its way")
}

// TestCloseWhileDialling is E3: a connection that is being made while the hub closes does not stay.
func TestCloseWhileDialling(t *testing.T) {
	l := new(links)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	conn, err := l.dial(t.Context(), listener.Addr().String(), &net.Dialer{Timeout: time.Minute}, nil)
	require.NoError(t, err)
	l.end()
	_, err = conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = l.dial(t.Context(), listener.Addr().String(), &net.Dialer{Timeout: time.Minute}, nil)
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.ErrorIs(t, classify(t.Context(), err, true), rpw.ErrUnavailable, "nothing was sent")
}
