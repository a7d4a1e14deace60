package socket

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

const (
	edgeToken  = "CANARY-edge-0123456789"
	otherToken = "CANARY-other-0123456789"
)

// tokens returns the tokens of two clients, which may do everything.
func tokens(t testing.TB) *Tokens {
	all := `[{"rights": ["read", "write", "consume", "admin"], "streams": ["*"], "keys": ["*"], "logs": ["*"], "queues": ["*"], "workers": ["*"]}]`
	list, err := NewTokens(strings.NewReader(fmt.Sprintf(`{"tokens": [
		{"name": "edge", "token": %q, "grants": %s},
		{"name": "other", "token": %q, "grants": %s}
	]}`, edgeToken, all, otherToken, all)))
	require.NoError(t, err)
	return list
}

// TestServerNeedsToKnowWhoMayComeIn is B66.
func TestServerNeedsToKnowWhoMayComeIn(t *testing.T) {
	t.Parallel()
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	defer hub.Close()
	_, err = NewServer(hub, Config{})
	require.ErrorIs(t, err, rpw.ErrInvalid)
	assert.ErrorContains(t, err, "Config.Authenticate")
	assert.ErrorContains(t, err, "Config.AllowAnonymous")

	_, err = NewServer(nil, Config{AllowAnonymous: true})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = NewServer(hub, Config{AllowAnonymous: true, TokenParameter: "token"})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	for _, limits := range []Limits{{Message: -1}, {ConnectsPerIP: -1}, {DrainTime: -1}} {
		_, err = NewServer(hub, Config{AllowAnonymous: true, Limits: limits})
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	}
}

// TestCredentials is B50 and B52: each way that a token may come, and what is refused before the upgrade. It protects K2.
func TestCredentials(t *testing.T) {
	t.Parallel()
	config := Config{Authenticate: tokens(t).Authenticate}
	s := openSite(t, config)
	config.TokenParameter = "token"
	byQuery := openSite(t, config)
	inProtocol := func(token string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Sec-WebSocket-Protocol", Subprotocol+", auth."+base64.RawURLEncoding.EncodeToString([]byte(token)))
		}
	}
	inQuery := func(r *http.Request) { r.URL.RawQuery = "token=" + edgeToken }

	for _, accepted := range []func(*http.Request){bearer(edgeToken), inProtocol(edgeToken), func(r *http.Request) {
		r.Header.Set("Authorization", "bearer "+edgeToken)
	}} {
		res, _ := s.knock(accepted)
		assert.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
		assert.Equal(t, []string{Subprotocol}, res.Header["Sec-Websocket-Protocol"], "the token is not echoed")
	}
	res, _ := byQuery.knock(inQuery)
	assert.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)

	for what, edit := range map[string]func(*http.Request){
		"none":                 nil,
		"unknown":              bearer("CANARY-unknown-0123456789"),
		"a part of one":        bearer(edgeToken[:len(edgeToken)-1]),
		"empty":                bearer(""),
		"two":                  func(r *http.Request) { bearer(edgeToken)(r); inProtocol(edgeToken)(r) },
		"two headers":          func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + edgeToken, "Basic x"} },
		"another scheme":       func(r *http.Request) { r.Header.Set("Authorization", "Basic "+edgeToken) },
		"in the query":         inQuery,
		"no base64":            func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", Subprotocol+", auth.!") },
		"a line of its own":    inProtocol("x\r\nX-Admin: 1"),
		"in a subprotocol raw": func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", Subprotocol+", auth."+edgeToken) },
	} {
		assert.Equal(t, "a valid credential is required\n", s.refused(http.StatusUnauthorized, edit), what)
	}
	byQuery.refused(http.StatusUnauthorized, func(r *http.Request) { bearer(edgeToken)(r); inQuery(r) })
	assert.NotContains(t, s.log.String()+byQuery.log.String(), "CANARY")
}

// TestAuthenticateSeesOneForm: the token is in the header, and nowhere else.
func TestAuthenticateSeesOneForm(t *testing.T) {
	t.Parallel()
	asked := make(chan *http.Request, 1)
	s := openSite(t, Config{TokenParameter: "token", Authenticate: func(r *http.Request) (Identity, error) {
		asked <- r
		return Identity{Name: "edge"}, nil
	}})
	s.connect(func(r *http.Request) { r.URL.RawQuery = "a=1&token=secret" })
	r := <-asked
	token, ok := Bearer(r)
	assert.True(t, ok)
	assert.Equal(t, "secret", token)
	assert.Equal(t, "a=1", r.URL.RawQuery)
	assert.NotContains(t, r.RequestURI, "secret")
}

// TestAnonymous: who sends no token may come in where that is allowed, but a wrong token never becomes none.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	both := openSite(t, Config{AllowAnonymous: true, Authenticate: tokens(t).Authenticate})
	both.connect(nil)
	both.connect(bearer(edgeToken))
	both.refused(http.StatusUnauthorized, bearer("CANARY-wrong"))
	openSite(t, Config{AllowAnonymous: true}).refused(http.StatusUnauthorized, bearer(edgeToken))

	nameless := openSite(t, Config{AllowAnonymous: true, Authenticate: func(*http.Request) (Identity, error) { return Identity{}, nil }})
	nameless.refused(http.StatusUnauthorized, bearer(edgeToken))
	expired := openSite(t, Config{Authenticate: func(*http.Request) (Identity, error) {
		return Identity{Name: "edge", Expires: time.Now().Add(-time.Second)}, nil
	}})
	expired.refused(http.StatusUnauthorized, bearer(edgeToken))
}

// TestOrigins is B53 and B55: web pages connect only if they are listed, ports included. It protects K2.
func TestOrigins(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Origins: []string{"https://app.example.com", "https://*.example.org:8443", "http://localhost:3000"}})
	origin := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Origin"] = values }
	}
	s.connect(nil)
	for _, ok := range []string{
		"https://app.example.com", "https://APP.example.com", "https://app.example.com:443", "https://a.example.org:8443", "https://a.b.example.org:8443", "http://localhost:3000",
	} {
		s.connect(origin(ok))
	}
	for _, bad := range [][]string{
		{"null"}, {""}, {"https://evil.com"}, {"http://app.example.com"}, {"https://app.example.com:8443"}, {"https://app.example.com.evil.com"},
		{"https://evilexample.org:8443"}, {"https://example.org:8443"}, {"https://a.example.org"}, {"https://.example.org:8443"}, {"https://app.example.com/path"},
		{"https://app.example.com@evil.com"}, {"https://app.example.com", "https://app.example.com"}, {"https://app.example.com", "https://evil.com"},
		{"http://" + s.addr}, {"app.example.com"}, {"https://app.example.com, https://evil.com"},
	} {
		assert.Equal(t, "not from this origin\n", s.refused(http.StatusForbidden, origin(bad...)), "%q", bad)
	}
}

// TestHosts is B54: a page whose name was resolved to this server is refused, also where it lists itself as its origin. It protects K2.
func TestHosts(t *testing.T) {
	t.Parallel()
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	local := openSite(t, Config{AllowAnonymous: true})
	_, port, err := net.SplitHostPort(local.addr)
	require.NoError(t, err)
	for _, ok := range []string{"localhost", "127.0.0.1:" + port, "LocalHost:" + port, "[::1]:" + port, "127.1.2.3"} {
		local.connect(host(ok))
	}
	for _, bad := range []string{"evil.com", "evil.com:" + port, "localhost.evil.com", "127.0.0.1.evil.com", "10.0.0.1"} {
		assert.Equal(t, "not under this host name\n", local.refused(http.StatusForbidden, host(bad)), bad)
	}
	local.refused(http.StatusForbidden, func(r *http.Request) { r.Host = "evil.com"; r.Header.Set("Origin", "http://evil.com") })

	named := openSite(t, Config{AllowAnonymous: true, Hosts: []string{"rpw.example.com", "*.example.org:8443"}})
	for _, ok := range []string{"rpw.example.com", "RPW.example.com:80", "a.example.org:8443"} {
		named.connect(host(ok))
	}
	for _, bad := range []string{"localhost", "rpw.example.com:8443", "a.example.org", "example.org:8443", "evilexample.org:8443", ""} {
		named.refused(http.StatusForbidden, host(bad))
	}
	openSite(t, Config{Authenticate: tokens(t).Authenticate}).connect(func(r *http.Request) { r.Host = "any.example.net"; bearer(edgeToken)(r) })
}

// TestPatternsThatCannotBeMeant is B55, too.
func TestPatternsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	defer hub.Close()
	for _, origin := range []string{"*", "null", "", "https://*", "https://*example.com", "https://a.*.com", "https://*.*.com", "*://example.com", "example.com", "https://example.com/", "https://u@example.com", "https://", "https://*."} {
		_, err := NewServer(hub, Config{AllowAnonymous: true, Origins: []string{origin}})
		assert.ErrorIs(t, err, rpw.ErrInvalid, "%q", origin)
		assert.ErrorContains(t, err, "origin", "%q", origin)
	}
	for _, host := range []string{"*", "", "*example.com", "*.*.com", "https://example.com", "a.*.com", "*."} {
		_, err := NewServer(hub, Config{AllowAnonymous: true, Hosts: []string{host}})
		assert.ErrorIs(t, err, rpw.ErrInvalid, "%q", host)
	}
}

// TestWhatIsNoHandshake: each is answered with a fixed text that repeats nothing of the request.
func TestWhatIsNoHandshake(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	without := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	with := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	assert.Equal(t, "WebSocket endpoint only\n", s.refused(http.StatusUpgradeRequired, without("Upgrade")))
	s.refused(http.StatusUpgradeRequired, without("Connection"))
	s.refused(http.StatusUpgradeRequired, with("Upgrade", "h2c"))
	for what, edit := range map[string]func(*http.Request){
		"method":       func(r *http.Request) { r.Method = "POST" },
		"version":      with("Sec-WebSocket-Version", "8"),
		"no key":       without("Sec-WebSocket-Key"),
		"short key":    with("Sec-WebSocket-Key", "CANARY=="),
		"two keys":     func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==") },
		"no protocol":  without("Sec-WebSocket-Protocol"),
		"another":      with("Sec-WebSocket-Protocol", "CANARY.v2"),
		"only a token": with("Sec-WebSocket-Protocol", "auth.CANARY"),
	} {
		assert.NotContains(t, s.refused(http.StatusBadRequest, edit), "CANARY", what)
	}
	s.gone()
}

// TestOriginalHandshake: with Original, clients without a subprotocol come in, and plain HTTP is answered as the original does.
func TestOriginalHandshake(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Original: true})
	s.connect(func(r *http.Request) { r.Header.Del("Sec-WebSocket-Protocol") })
	s.connect(nil)
	assert.Equal(t, "WebSocket endpoint only\n", s.refused(http.StatusBadRequest, func(r *http.Request) { r.Header.Del("Upgrade") }))
	s.refused(http.StatusBadRequest, func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "another") })
}

// TestSlowHandshakes is B57: whoever sends his request slowly, or too much of it, or waits too long for his authentication, holds nothing.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	s := openSite(t, Config{
		Limits: Limits{Handshakes: 2, HandshakeTime: 200 * time.Millisecond},
		Authenticate: func(r *http.Request) (Identity, error) {
			asked <- struct{}{}
			select {
			case <-r.Context().Done():
				return Identity{}, r.Context().Err()
			case <-answer:
				return Identity{Name: "edge"}, nil
			}
		},
	})
	s.refused(http.StatusServiceUnavailable, nil)
	<-asked

	web := s.srv.HTTPServer()
	assert.Equal(t, 5*time.Second, web.ReadHeaderTimeout)
	res, _ := s.knock(func(r *http.Request) { r.Header.Set("X-Bomb", strings.Repeat("x", 64<<10)) })
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)

	slow, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer slow.Close()
	_, err = slow.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n"))
	require.NoError(t, err)
	slow.SetReadDeadline(time.Now().Add(soon))
	_, err = io.ReadAll(slow) // until the server gives up
	assert.NoError(t, err)
	s.gone()
}

// TestHandshakesAreBounded is B57, too.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	s := openSite(t, Config{
		Limits: Limits{Handshakes: 2, HandshakeTime: soon},
		Authenticate: func(r *http.Request) (Identity, error) {
			asked <- struct{}{}
			<-answer
			return Identity{}, errors.New("no")
		},
	})
	done := make(chan struct{})
	for range 2 {
		go func() {
			defer func() { done <- struct{}{} }()
			s.refused(http.StatusUnauthorized, bearer("x"))
		}()
	}
	<-asked
	<-asked
	res, _ := s.knock(bearer("x"))
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.NotEmpty(t, res.Header.Get("Retry-After"))
	close(answer)
	<-done
	<-done
	s.gone()
	s.refused(http.StatusUnauthorized, bearer("x"))
}

// TestAuthenticatorThatPanics: it costs its own handshake only.
func TestAuthenticatorThatPanics(t *testing.T) {
	t.Parallel()
	calm := false
	s := openSite(t, Config{Limits: Limits{Handshakes: 1}, Authenticate: func(*http.Request) (Identity, error) {
		if !calm {
			calm = true
			panic("out of order")
		}
		return Identity{Name: "edge"}, nil
	}})
	nc, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(soon))
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", Subprotocol)
	rest, err := io.ReadAll(nc)
	assert.NoError(t, err)
	assert.Empty(t, rest)
	s.connect(nil)
}

// TestConnections: one more than allowed is told to come back later.
func TestConnections(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{Connections: 2}})
	first := s.connect(nil)
	s.connect(nil)
	res, _ := s.knock(nil)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.NotEmpty(t, res.Header.Get("Retry-After"))
	first.Close()
	s.eventually(func(now Stats) bool { return now.Connections+now.Handshakes == 1 })
	s.connect(nil)
	assert.Equal(t, uint64(1), s.srv.Stats().Refused["full"])
}

// TestConnectFlood is B43: an address may connect so often only, and its refusals are no flood of log lines.
func TestConnectFlood(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{ConnectsPerIP: 0.0001}})
	s.connect(nil)
	for range 300 {
		s.refused(http.StatusTooManyRequests, nil)
	}
	assert.Equal(t, uint64(300), s.srv.Stats().Refused["rate"])
	assert.Less(t, s.log.lines(), 250)
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	p := newPerAddress(clock{time.Now()}, 0.0001)
	p.rate.burst = 0
	for _, a := range []struct {
		remote string
		free   bool
	}{
		{"192.0.2.1:1", true}, {"192.0.2.1:2", false}, {"192.0.2.2:1", true}, {"[::ffff:192.0.2.2]:1", false},
		{"[2001:db8::1]:1", true}, {"[2001:db8::2]:1", false}, {"[2001:db8:0:1::1]:1", true}, {"[fe80::1%eth0]:1", true}, {"[fe80::2%eth1]:1", false},
		{"@", true}, {"@", true},
	} {
		assert.Equal(t, a.free, p.take(a.remote), a.remote)
	}

	p = newPerAddress(clock{time.Now()}, 1e9)
	for i := range 100_000 {
		p.take(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
	}
	assert.LessOrEqual(t, len(p.known), 2*fewAddresses, "idle addresses are forgotten")
}

// TestSecretsStayOut is B60 for the server: whatever goes wrong, no token is in a log, an error or an answer.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	talkative := func(r *http.Request) (Identity, error) {
		token, _ := Bearer(r)
		return Identity{}, fmt.Errorf("what is %s?", token)
	}
	s := openSite(t, Config{Authenticate: talkative, TokenParameter: "token"})
	var told bytes.Buffer
	for _, edit := range []func(*http.Request){
		bearer("CANARY-1"),
		func(r *http.Request) { r.URL.RawQuery = "token=CANARY-2" },
		func(r *http.Request) { r.URL.RawQuery = "other=CANARY-3" },
		func(r *http.Request) {
			r.Header.Set("Sec-WebSocket-Protocol", Subprotocol+", auth."+base64.RawURLEncoding.EncodeToString([]byte("CANARY-4")))
		},
		func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer CANARY-5", "Bearer CANARY-6"} },
		func(r *http.Request) { r.Header.Set("Authorization", "CANARY-7") },
		func(r *http.Request) { r.Header.Set("Cookie", "session=CANARY-8") },
	} {
		told.WriteString(s.refused(http.StatusUnauthorized, edit))
	}
	vars := fmt.Sprintf("%+v", s.srv.Stats())
	for _, text := range []string{s.log.String(), told.String(), vars} {
		assert.NotContains(t, text, "CANARY")
		assert.NotContains(t, text, base64.RawURLEncoding.EncodeToString([]byte("CANARY"))[:7])
	}
	assert.Contains(t, s.log.String(), "what is ***?")

	r, err := http.NewRequestWithContext(context.Background(), "GET", "http://x/?token=CANARY", nil)
	require.NoError(t, err)
	_, _, err = credential(r, "token")
	assert.NoError(t, err)
}

// TestRates: what may happen n times a second may happen so often at once, and again as time goes by.
func TestRates(t *testing.T) {
	t.Parallel()
	var b bucket
	r := rateOf(10, 5)
	for range 5 {
		assert.True(t, b.take(r, time.Second))
	}
	assert.False(t, b.take(r, time.Second))
	assert.False(t, b.take(r, time.Second+99*time.Millisecond))
	assert.True(t, b.take(r, time.Second+100*time.Millisecond))
	assert.False(t, b.take(r, time.Second+100*time.Millisecond))
	for range 5 {
		assert.True(t, b.take(r, time.Hour))
	}
	assert.False(t, b.take(r, time.Hour))

	b = bucket{}
	rare := rateOf(1e-12, 1e-11)
	assert.True(t, b.take(rare, 0))
	assert.False(t, b.take(rare, time.Hour))
	b = bucket{}
	endless := rateOf(1e12, 1e12)
	for range 1000 {
		assert.True(t, b.take(endless, 0))
	}
}
