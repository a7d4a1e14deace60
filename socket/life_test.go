package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// TestExpiry is F38: when its credential has ended, and the grace to bring another, a connection is closed with 4001, in the midst of a wait, too. It protects K2.
func TestExpiry(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	s := openSite(t, Config{
		Limits: Limits{RefreshGrace: 500 * time.Millisecond},
		Authenticate: func(r *http.Request) (Identity, error) {
			token, _ := Bearer(r)
			asked <- token
			switch token {
			case "short":
				return Identity{Name: "edge", Expires: time.Now().Add(500 * time.Millisecond)}, nil
			case "long":
				return Identity{Name: "edge", Expires: time.Now().Add(time.Hour)}, nil
			case "other":
				return Identity{Name: "other"}, nil
			}
			return Identity{}, errors.New("unknown: " + token)
		},
	})
	refreshing, waiting := s.connect(bearer("short")), s.connect(bearer("short"))
	first := refreshing.until(t, packetHello)
	var greeting hello
	require.NoError(t, helloPlan.parse(first.body, &greeting))
	assert.Positive(t, greeting.Lifetime)

	bring := func(token string) packet {
		r := refresh{Token: token}
		refreshing.Write(rawFrame(fin|opBinary, appendPacket(nil, packetRefresh, 9, func(b []byte) []byte { return refreshPlan.append(b, &r) })))
		for {
			for _, f := range refreshing.packets(t) {
				if f.id == 9 {
					return f
				}
			}
		}
	}
	for _, token := range []string{"CANARY", "other", ""} {
		f := bring(token)
		require.Equal(t, packetFailure, f.kind, token)
		assert.Equal(t, "permission", failed(t, f).Code)
		assert.NotContains(t, string(f.body), "CANARY")
	}
	assert.Equal(t, packetReply, bring("long").kind)

	waiting.Write(rawFrame(fin|opBinary, rawRequest(1, opRead, rpw.ReadRequest{Stream: "x", Wait: time.Minute})))
	waiting.SetReadDeadline(time.Now().Add(soon / 2))
	code, reason := waiting.ending()
	assert.Equal(t, closeExpired, code)
	assert.Equal(t, errExpired.Reason, reason)
	_, _, err := waiting.next()
	assert.Error(t, err, "nothing comes after the close frame")
	refreshing.alive(t)
	assert.NotContains(t, s.log.String(), "CANARY")
	assert.Equal(t, []string{"short", "short", "CANARY", "other", "long"}, []string{<-asked, <-asked, <-asked, <-asked, <-asked})
}

// TestRefreshKeepsGoing: a client that refreshes in time is never closed.
func TestRefreshKeepsGoing(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := openSite(t, Config{
		Limits: Limits{RefreshGrace: time.Second},
		Authenticate: func(r *http.Request) (Identity, error) {
			asked.Add(1)
			return Identity{Name: "edge", Expires: time.Now().Add(2 * time.Second)}, nil
		},
		Authorize: func(context.Context, Identity, Access) error { return nil },
	})
	parts, err := New(t.Context(), "ws://"+s.addr, Options{Token: func(context.Context) (string, error) { return "next", nil }})
	require.NoError(t, err)
	hub, err := rpw.New(parts)
	require.NoError(t, err)
	defer hub.Close()
	s.eventually(func(Stats) bool { return asked.Load() >= 4 })
	now := s.srv.Stats()
	assert.Equal(t, uint64(1), now.Accepted)
	assert.Empty(t, now.Closed)
}

// TestFarExpiry: a credential for longer than a Duration can say is a good one.
func TestFarExpiry(t *testing.T) {
	t.Parallel()
	never := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	s := openSite(t, Config{Authenticate: func(*http.Request) (Identity, error) { return Identity{Name: "edge", Expires: never}, nil }})
	parts, err := New(t.Context(), "ws://"+s.addr, Options{Token: func(context.Context) (string, error) { return "token", nil }})
	require.NoError(t, err)
	hub, err := rpw.New(parts)
	require.NoError(t, err)
	defer hub.Close()
	require.NoError(t, hub.Health(within(t)))
	c := s.connect(bearer("token"))
	for _, f := range c.packets(t) { // the greeting comes when the end is known
		require.Equal(t, packetHello, f.kind)
	}
	c.alive(t)
	now := s.srv.Stats()
	assert.Equal(t, 2, now.Connections)
	assert.Empty(t, now.Closed)
}

// TestRevoke ends the connections of an identity at once, and no others.
func TestRevoke(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{Authenticate: tokens(t).Authenticate})
	edge, other := s.connect(bearer(edgeToken)), s.connect(bearer(otherToken))
	other.alive(t)
	edge.alive(t)
	assert.Equal(t, 1, s.srv.Revoke(func(id Identity) bool { return id.Name == "edge" }))
	code, reason := edge.closed()
	assert.Equal(t, closeExpired, code)
	assert.Equal(t, errRevoked.Reason, reason)
	other.alive(t)
	s.eventually(func(now Stats) bool { return now.Connections == 1 })
	assert.Equal(t, 0, s.srv.Revoke(func(id Identity) bool { return id.Name == "edge" }))
}

// TestRevokeDuringHandshake: whoever is let in meanwhile may have been let in by what is revoked, and has to come again.
func TestRevokeDuringHandshake(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	s := openSite(t, Config{Authenticate: func(*http.Request) (Identity, error) {
		asked <- struct{}{}
		<-answer
		return Identity{Name: "edge"}, nil
	}})
	code := make(chan websocket.StatusCode)
	go func() {
		got, _ := s.connect(bearer("x")).closed()
		code <- got
	}()
	<-asked
	s.srv.Revoke(func(id Identity) bool { return id.Name == "edge" })
	close(answer)
	assert.Equal(t, closeBusy, <-code)
	s.connect(bearer("x")).alive(t)
}

// refreshing opens a connection whose next refreshes are looked at until answer is closed: each sends a token to asked.
func refreshing(t *testing.T, asked chan<- string, answer <-chan struct{}, grants []Grant) (*site, *rawConn) {
	s := openSite(t, Config{Authenticate: func(r *http.Request) (Identity, error) {
		token, _ := Bearer(r)
		if token == "first" {
			return Identity{Name: "edge"}, nil
		}
		asked <- token
		<-answer
		return Identity{Name: "edge", Grants: grants}, nil
	}})
	return s, s.connect(bearer("first"))
}

func refreshPacket(b []byte, id uint64, token string) []byte {
	return appendPacket(b, packetRefresh, id, func(b []byte) []byte { return refreshPlan.append(b, &refresh{Token: token}) })
}

// TestRevokeDuringRefresh: what is revoked while a credential is looked at does not come in with it (F38, K2).
func TestRevokeDuringRefresh(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan string, 10), make(chan struct{})
	s, c := refreshing(t, asked, answer, []Grant{{Rights: []Right{Read}, Streams: []string{"secret"}}})
	c.until(t, packetHello)
	c.Write(rawFrame(fin|opBinary, refreshPacket(nil, 1, "next")))
	<-asked
	mighty := func(id Identity) bool { return len(id.Grants) > 0 }
	assert.Zero(t, s.srv.Revoke(mighty))
	close(answer)
	f := c.packets(t)[0]
	require.Equal(t, packetFailure, f.kind)
	assert.Equal(t, "conflict", failed(t, f).Code)
	assert.Zero(t, s.srv.Revoke(mighty), "the connection has what it had")
	c.Write(rawFrame(fin|opBinary, refreshPacket(nil, 2, "next")))
	assert.EqualValues(t, 2, c.until(t, packetReply).id)
	assert.Equal(t, 1, s.srv.Revoke(mighty))
}

// TestRefreshFlood: a connection has one credential looked at at a time, so that it cannot keep Authenticate at work, nor its own end waiting (K4).
func TestRefreshFlood(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan string, 1000), make(chan struct{})
	_, c := refreshing(t, asked, answer, nil)
	var flood []byte
	for id := range uint64(100) {
		flood = refreshPacket(flood, id+1, "next")
	}
	c.Write(rawFrame(fin|opBinary, flood))
	for refused := 0; refused < 99; {
		for _, f := range c.packets(t) {
			if f.kind == packetFailure {
				assert.Equal(t, "full", failed(t, f).Code)
				refused++
			}
		}
	}
	close(answer)
	c.until(t, packetReply)
	assert.Len(t, asked, 1)
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
