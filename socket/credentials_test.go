package socket

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

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

// TestCredentialsAreRefreshed: the client brings a new token before the server's time for the old one is over, over the connection that is there.
func TestCredentialsAreRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = time.Minute
		hub := memoryHub(t)
		identify := func() Identity { return Identity{Name: "me", Expires: time.Now().Add(lifetime)} }
		var expires atomic.Pointer[time.Time]
		var told notices
		dial := piped(t, func() *peer {
			p := &peer{hub: hub, renewed: func(at time.Time) { expires.Store(&at) }}
			id := identify()
			p.identity.Store(&id)
			p.renewed(id.Expires)
			p.renew = func(_ context.Context, token string, take func(Identity) error) error {
				if token != "fresh" {
					return errors.New("stale")
				}
				return take(identify())
			}
			return p
		})
		pipedHub(t, remoteConfig{dial: dial, notify: told.add, token: func(context.Context) (string, error) { return "fresh", nil }})
		for range 100 {
			time.Sleep(lifetime / 4)
			require.True(t, time.Now().Before(*expires.Load()))
		}
		assert.Zero(t, told.count(rpw.NoticeReconnecting))
	})
}

// TestRefreshWithALongToken: what no handshake could have brought is not looked at (K4).
func TestRefreshWithALongToken(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan string, 1), make(chan struct{})
	close(answer)
	_, c := refreshing(t, asked, answer, nil)
	c.until(t, packetHello)
	c.Write(rawFrame(fin|opBinary, refreshPacket(nil, 1, strings.Repeat("x", maxHeader+1))))
	f := c.packets(t)[0]
	require.Equal(t, packetFailure, f.kind)
	assert.Equal(t, "permission", failed(t, f).Code)
	c.Write(rawFrame(fin|opBinary, refreshPacket(nil, 2, strings.Repeat("x", maxHeader))))
	assert.EqualValues(t, 2, c.until(t, packetReply).id)
	assert.Len(t, <-asked, maxHeader)
}
