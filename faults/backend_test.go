package faults

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/socket"
)

// TestRedisIsAwayBehindASocket: F39, F42, K3: the server of two socket servers is killed. Both stay up and keep their clients, calls are told soon,
// readiness says so; afterwards subscriptions go on where they were, and one whose socket server is gone goes on at the other.
func TestRedisIsAwayBehindASocket(t *testing.T) {
	t.Parallel()
	server := redistest.StartDurable(t)
	front := func() (*socket.Server, *httptest.Server) {
		srv, err := socket.NewServer(open(t, "redis://"+server.Addr), socket.Config{AllowAnonymous: true, Logger: quiet})
		require.NoError(t, err)
		web := httptest.NewServer(srv)
		t.Cleanup(func() { assert.NoError(t, srv.Close()); web.Close() })
		return srv, web
	}
	first, firstWeb := front()
	second, secondWeb := front()
	lb := redistest.NewProxy(t, firstWeb.Listener.Addr().String())
	hub := open(t, "ws://"+lb.Addr)
	near := open(t, "ws"+secondWeb.URL[len("http"):])
	stream := rpw.StreamOf[int]("numbers")
	p := &publisher{hub: hub, stream: stream}
	f, other := follow(t, hub, stream), follow(t, near, stream)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	stop, published, followed, both := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(followed); f.run(ctx) }()
	go func() { defer close(both); other.run(ctx) }()
	go func() { defer close(published); p.run(ctx, t, stop, 5*time.Millisecond) }()
	works := func() func() bool {
		from := p.stored.Load() + 5
		return func() bool { return f.next.Load() > from && other.next.Load() > from }
	}
	within(t, time.Now(), "the load runs", works())
	ready := func(srv *socket.Server) int {
		w := httptest.NewRecorder()
		srv.Readyz(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Code
	}
	server.Kill()
	within(t, time.Now(), "readiness says so", func() bool { return ready(first) == http.StatusServiceUnavailable })
	asked, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	began := time.Now()
	_, _, err := rpw.Get[int](asked, near, "k")
	cancel()
	assert.Error(t, err)
	assert.Less(t, time.Since(began), time.Second)
	w := httptest.NewRecorder()
	first.Healthz(w, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusOK, w.Code)
	if full {
		time.Sleep(time.Minute)
	}
	server.Restart(t)
	server.AwaitLoaded(t)
	back := time.Now()
	atMost(t, "subscriptions over both work again after", within(t, back, "all goes on", works()), 2*recovery)
	within(t, back, "they are ready", func() bool { return ready(first) == http.StatusOK && ready(second) == http.StatusOK })
	assert.Empty(t, first.Stats().Closed, "no connection was lost")
	assert.Empty(t, second.Stats().Closed)

	lb.Lead(secondWeb.Listener.Addr().String())
	lb.Cut()
	moved := time.Now()
	within(t, moved, "all goes on at the other server", works())
	atMost(t, "with the first server gone, the other does its work after", time.Since(moved), 2*recovery)
	close(stop)
	<-published
	within(t, time.Now(), "both have everything", func() bool { return min(f.next.Load(), other.next.Load()) == p.stored.Load() })
	end()
	<-followed
	<-both
	assert.Empty(t, f.wrong)
	assert.Empty(t, other.wrong)
}
