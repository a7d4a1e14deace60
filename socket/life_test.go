package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// alive asserts that the connection still answers.
func (c *rawConn) alive(t testing.TB) {
	t.Helper()
	mark := []byte("alive?")
	c.Write(rawFrame(fin|opPing, mark))
	for {
		opcode, payload, err := c.next()
		require.NoError(t, err)
		require.NotEqual(t, byte(opClose), opcode, "%q", payload)
		if opcode == opPong && bytes.Equal(payload, mark) {
			return
		}
	}
}

// until reads packets until there is one of a kind.
func (c *rawConn) until(t testing.TB, kind packetKind) packet {
	t.Helper()
	for {
		for _, f := range c.packets(t) {
			if f.kind == kind {
				return f
			}
		}
	}
}

// TestSlowClient is F37: a client that does not read what it asked for is closed with 4008, and the others go on. It protects K4.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{WriteTime: 300 * time.Millisecond}})
	ctx := within(t)
	for range 8 {
		_, err := s.hub.Streams().Publish(ctx, []rpw.Batch{{Stream: "x", Events: []rpw.NewEvent{{Type: "x", Data: make([]byte, rpw.MaxPayload-1024)}}}})
		require.NoError(t, err)
	}
	other := s.client("")
	var stalled []*rawConn
	for range 3 {
		c := s.connect(nil)
		for id := range uint64(10) {
			c.Write(rawFrame(fin|opBinary, rawRequest(id+1, opRead, rpw.ReadRequest{Stream: "x"})))
		}
		stalled = append(stalled, c)
	}
	s.eventually(func(now Stats) bool {
		_, err := other.Streams().Read(ctx, rpw.ReadRequest{Stream: "x", Max: 1})
		require.NoError(t, err)
		return now.Closed["4008"] == uint64(len(stalled))
	})
	s.eventually(func(now Stats) bool { return now.Connections == 1 && now.Requests == 0 })
}

// late is a server's connection on which the deadline for a message comes later than what ends the connection in this moment.
type late struct {
	net.Conn
	end  func()
	once sync.Once
	past atomic.Int64 // deadlines that let reads return
}

func (c *late) SetReadDeadline(at time.Time) error {
	if time.Until(at) > time.Minute {
		c.once.Do(func() {
			both := c.past.Load() + 2 // of the context of the reader, and of the writer
			for c.end(); c.past.Load() < both; {
				time.Sleep(time.Millisecond)
			}
		})
	}
	err := c.Conn.SetReadDeadline(at)
	if !at.IsZero() && !time.Now().Before(at) {
		c.past.Add(1)
	}
	return err
}

type lateListener struct {
	net.Listener
	end func()
}

func (l lateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &late{Conn: c, end: l.end}, err
}

// TestEndAtTheBeginningOfAMessage: a connection that is ended just when a message begins does not wait for the rest of it (K2, K4).
func TestEndAtTheBeginningOfAMessage(t *testing.T) {
	t.Parallel()
	srv, err := NewServer(memoryHub(t), Config{AllowAnonymous: true, Limits: Limits{MessageTime: time.Hour}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	web := &httptest.Server{Listener: lateListener{listener, func() { srv.Revoke(func(Identity) bool { return true }) }}, Config: srv.HTTPServer()}
	web.Start()
	defer web.Close()
	defer srv.Close()
	c := (&site{t: t, addr: listener.Addr().String()}).connect(nil)
	c.until(t, packetHello)
	c.Write(rawHeader(fin|opBinary, 100)) // and then silence
	c.SetReadDeadline(time.Now().Add(soon))
	code, reason := c.closed()
	assert.Equal(t, closeExpired, code, reason)
}

// TestHalfOpenClient is F40: a client that gives no sign of life is dropped, with all that it waits for, and one that does stays. It protects K4.
func TestHalfOpenClient(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{PingEvery: 50 * time.Millisecond, PongTime: time.Second}})
	h := s.client("")
	silent := s.connect(nil)
	silent.Write(rawFrame(fin|opBinary, rawRequest(1, opRead, rpw.ReadRequest{Stream: "x", Wait: time.Hour})))
	s.eventually(func(now Stats) bool { return now.Waits == 1 })
	s.eventually(func(now Stats) bool { return now.Connections == 1 && now.Waits == 0 && now.Closed["gone"] == 1 })
	_, err := h.Streams().Streams(within(t), rpw.StreamsRequest{})
	assert.NoError(t, err)
	assert.Equal(t, uint64(2), s.srv.Stats().Accepted)
}

// trickle is a connection whose other end is far away, over a slow link.
type trickle struct{ net.Conn }

func (c trickle) Read(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return c.Conn.Read(p[:min(len(p), 16<<10)])
}

// narrow keeps what it accepts from buffering much, which would hide that a link is slow.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

// TestSlowLink: a client that takes a large answer slowly, but steadily, gives signs of life meanwhile, and is not dropped (K4).
func TestSlowLink(t *testing.T) {
	t.Parallel()
	hub := memoryHub(t)
	srv, err := NewServer(hub, Config{AllowAnonymous: true, Limits: Limits{PingEvery: 50 * time.Millisecond, PongTime: time.Second}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	web := &httptest.Server{Listener: narrow{listener}, Config: srv.HTTPServer()}
	web.Start()
	defer web.Close()
	defer srv.Close()
	ctx := within(t)
	for range 4 {
		_, err := hub.Streams().Publish(ctx, []rpw.Batch{{Stream: "x", Events: []rpw.NewEvent{{Type: "x", Data: make([]byte, rpw.MaxPayload-1024)}}}})
		require.NoError(t, err)
	}
	c, _, err := websocket.Dial(ctx, web.URL, &websocket.DialOptions{Subprotocols: []string{Subprotocol}, HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return trickle{nc}, nc.(*net.TCPConn).SetReadBuffer(16 << 10)
		},
	}}})
	require.NoError(t, err)
	defer c.CloseNow()
	c.SetReadLimit(maxAnswer)
	require.NoError(t, c.Write(ctx, websocket.MessageBinary, rawRequest(1, opRead, rpw.ReadRequest{Stream: "x"})))
	for {
		_, message, err := c.Read(ctx)
		require.NoError(t, err)
		f, _, err := nextPacket(message)
		require.NoError(t, err)
		if f.kind == packetReply {
			assert.Greater(t, len(message), 3<<20)
			return
		}
	}
}

// TestClientThatBreaksOff: what it left waiting is let go.
func TestClientThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	c := s.connect(nil)
	c.Write(rawFrame(fin|opBinary, rawRequest(1, opRead, rpw.ReadRequest{Stream: "x", Wait: time.Hour})))
	s.eventually(func(now Stats) bool { return now.Waits == 1 })
	c.Close()
	s.gone()
}

// brokenCache is a cache whose backend can be away.
type brokenCache struct {
	rpw.Cache
	away *atomic.Bool
}

var errAway = fmt.Errorf("dial tcp CANARY.internal:6379: connection refused: %w", rpw.ErrUnavailable)

func (c brokenCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	if c.away.Load() {
		return nil, errAway
	}
	return c.Cache.Get(ctx, req)
}

// TestBackendDown is F39: the server stays up while its backend is away, says that it is not ready, and calls are told quickly.
func TestBackendDown(t *testing.T) {
	t.Parallel()
	store, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	defer store.Close()
	var away atomic.Bool
	var asked atomic.Int64
	hub, err := rpw.New(rpw.Parts{Name: "fragile", Cache: brokenCache{store.Cache(), &away}, Health: func(context.Context) error {
		asked.Add(1)
		if away.Load() {
			return errAway
		}
		return nil
	}})
	require.NoError(t, err)
	defer hub.Close()
	s := serveSite(t, hub, Config{AllowAnonymous: true})
	status := func(handler http.HandlerFunc) int {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest("GET", "/", nil))
		return w.Code
	}
	ctx, h := within(t), s.client("")
	assert.Equal(t, http.StatusOK, status(s.srv.Readyz))

	away.Store(true)
	c := s.connect(nil)
	c.Write(rawFrame(fin|opBinary, rawRequest(1, opGet, rpw.GetRequest{Keys: []string{"x"}})))
	told := c.until(t, packetFailure)
	assert.Equal(t, "unavailable", failed(t, told).Code)
	assert.NotContains(t, string(told.body), "CANARY")
	require.Eventually(t, func() bool { return status(s.srv.Readyz) == http.StatusServiceUnavailable }, soon, 10*time.Millisecond)
	assert.Equal(t, http.StatusOK, status(s.srv.Healthz))
	before := asked.Load()
	var asking sync.WaitGroup
	for range 100 {
		asking.Go(func() { status(s.srv.Readyz) })
	}
	asking.Wait()
	assert.LessOrEqual(t, asked.Load()-before, int64(50), "asking often costs the backend nothing") // a retry of the Hub counts

	away.Store(false)
	_, err = h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"x"}})
	assert.NoError(t, err)
	require.Eventually(t, func() bool { return status(s.srv.Readyz) == http.StatusOK }, soon, 10*time.Millisecond)
	assert.Empty(t, s.srv.Stats().Closed, "no connection was lost")
	require.NoError(t, s.srv.Close())
	assert.Equal(t, http.StatusServiceUnavailable, status(s.srv.Readyz))
	assert.Equal(t, http.StatusOK, status(s.srv.Healthz))
}

// TestTwoServers is F42: over one backend, they are like one; positions of the one are good at the other.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	first := openSite(t, Config{AllowAnonymous: true})
	second := serveSite(t, first.hub, Config{AllowAnonymous: true})
	ctx, a, b := within(t), first.client(""), second.client("")
	for _, h := range []*rpw.Hub{a, b, a} {
		_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "x", Events: event("x")}})
		require.NoError(t, err)
	}
	events, err := a.Streams().Read(ctx, rpw.ReadRequest{Stream: "x", Max: 1})
	require.NoError(t, err)
	require.NoError(t, first.srv.Close())
	rest, err := b.Streams().Read(ctx, rpw.ReadRequest{Stream: "x", After: events[0].Position()})
	require.NoError(t, err)
	assert.Len(t, rest, 2)
}

// TestVars shows figures, and nothing of users.
func TestVars(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	ctx, h := within(t), s.client("")
	_, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "CANARY", Events: event("CANARY")}})
	require.NoError(t, err)
	s.refused(http.StatusForbidden, func(r *http.Request) { r.Header.Set("Origin", "https://CANARY.com") })
	waiting := s.connect(nil)
	waiting.Write(rawFrame(fin|opBinary, rawRequest(1, opRead, rpw.ReadRequest{Stream: "y", Wait: time.Hour})))
	s.eventually(func(now Stats) bool { return now.Waits == 1 })

	w := httptest.NewRecorder()
	s.srv.Vars(w, httptest.NewRequest("GET", "/debug/vars", nil))
	assert.NotContains(t, w.Body.String(), "CANARY")
	var now Stats
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &now))
	assert.Equal(t, 2, now.Connections)
	assert.Equal(t, 1, now.Waits)
	assert.Equal(t, uint64(2), now.Accepted)
	assert.Equal(t, map[string]uint64{"origin": 1}, now.Refused)
	assert.GreaterOrEqual(t, now.MessagesIn, uint64(2))
	assert.GreaterOrEqual(t, now.MessagesOut, uint64(2))
	assert.Positive(t, now.BytesIn)
	assert.Positive(t, now.BytesOut)

	before := s.srv.Stats()
	waiting.Close()
	s.eventually(func(now Stats) bool { return now.Connections == 1 && now.MessagesIn >= before.MessagesIn })
}

// TestOverTLS: what ends a connection reaches the client over TLS, too.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	defer hub.Close()
	srv, err := NewServer(hub, Config{Authenticate: tokens(t).Authenticate, Hosts: []string{"rpw.example.com"}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	web := httptest.NewTLSServer(srv)
	defer web.Close()
	defer srv.Close()
	ctx := within(t)
	dial := func(host string) (*websocket.Conn, error) {
		c, _, err := websocket.Dial(ctx, web.URL, &websocket.DialOptions{
			HTTPClient: web.Client(), Host: host, Subprotocols: []string{Subprotocol}, HTTPHeader: http.Header{"Authorization": {"Bearer " + edgeToken}},
		})
		return c, err
	}
	_, err = dial("rpw.example.com:80")
	assert.Error(t, err, "80 is no port of https")
	c, err := dial("rpw.example.com:443")
	require.NoError(t, err)
	_, message, err := c.Read(ctx)
	require.NoError(t, err)
	f, _, err := nextPacket(message)
	require.NoError(t, err)
	assert.Equal(t, packetHello, f.kind)
	assert.Equal(t, 1, srv.Revoke(func(Identity) bool { return true }))
	_, _, err = c.Read(ctx)
	assert.Equal(t, closeExpired, websocket.CloseStatus(err), "%v", err)
}
