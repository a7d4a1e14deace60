package socket

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

const canary = "hunter2-canary"

// TestOpenFailsClearly: what is at the other end is told, at once, with the kind that fits and what to do; nobody else gets the token (F41, B56).
func TestOpenFailsClearly(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	answer := func(status int, page string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "Bearer "+canary, r.Header.Get("Authorization"))
			assert.Empty(t, r.URL.RawQuery)
			http.Error(w, page, status)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    error
		says    string
	}{
		"401":      {answer(401, "who are you"), rpw.ErrPermission, "401"},
		"403":      {answer(403, "no"), rpw.ErrPermission, "403"},
		"404":      {answer(404, "<html>"), rpw.ErrUnavailable, "check the path"},
		"HTML":     {answer(200, "<html>Welcome</html>"), rpw.ErrUnavailable, "no server of rpw"},
		"502":      {answer(502, "<html>Bad gateway</html>"), rpw.ErrUnavailable, "502"},
		"503":      {answer(503, "full"), rpw.ErrUnavailable, "at the moment"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, rpw.ErrUnavailable, "redirects"},
		"another protocol": {func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, nil); err == nil {
				c.CloseNow()
			}
		}, rpw.ErrUnavailable, "rpw.v1"},
		"no greeting": {func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}}); err == nil {
				c.Write(r.Context(), websocket.MessageBinary, []byte("hello"))
				c.CloseNow()
			}
		}, rpw.ErrUnavailable, "greet"},
		"silence": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, rpw.ErrUnavailable, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(c.handler)
			defer web.Close()
			_, err := rpw.Open(t.Context(), strings.Replace(web.URL, "http://", "ws://:"+canary+"@", 1)+"/?dial_timeout=500ms")
			require.ErrorIs(t, err, c.kind)
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), canary)
		})
	}
	t.Cleanup(func() { assert.Zero(t, elsewhere.Load(), "nobody follows a redirect") })
}

// TestOpenWithoutServer: a port nobody listens on is refused at once, and one that swallows everything within the time of ctx.
func TestOpenWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = rpw.Open(ctx, "ws://"+addr)
	require.ErrorIs(t, err, rpw.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, l.Close())
	_, err = rpw.Open(t.Context(), "ws://"+addr)
	require.ErrorIs(t, err, rpw.ErrUnavailable)
	assert.ErrorContains(t, err, addr)
}

// TestOpenTLS: certificates are checked, and what is wrong with one is told with the parameter that helps.
func TestOpenTLS(t *testing.T) {
	server, err := NewServer(memoryHub(t), everything(Config{}))
	require.NoError(t, err)
	web := httptest.NewTLSServer(server)
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		web.Close()
	})
	host := web.Listener.Addr().String()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600))

	hub, err := rpw.Open(t.Context(), "wss://"+host+"/?tls_ca="+url.QueryEscape(ca))
	require.NoError(t, err)
	require.NoError(t, hub.Health(t.Context()))
	require.NoError(t, hub.Close())

	for query, says := range map[string]string{
		"wss://" + host: "tls_ca",
		"wss://" + host + "/?tls_server_name=other.test&tls_ca=" + url.QueryEscape(ca): "tls_server_name",
		"ws://" + host: "use wss",
	} {
		_, err := rpw.Open(t.Context(), query)
		require.ErrorIs(t, err, rpw.ErrInvalid)
		assert.ErrorContains(t, err, says)
	}
	plain := httptest.NewServer(server)
	defer plain.Close()
	_, err = rpw.Open(t.Context(), strings.Replace(plain.URL, "http", "wss", 1))
	require.ErrorIs(t, err, rpw.ErrInvalid)
	assert.ErrorContains(t, err, "use ws")
}

// TestURLs: whatever has no meaning in a URL is an error that names it, and no error holds a secret (B60).
func TestURLs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(canary+"\n"), 0o600))
	for raw, says := range map[string]string{
		"ws:host":                                    "slashes",
		"ws:///path":                                 "host",
		"ws://host/#" + canary:                       "fragment",
		"ws://me:" + canary + "@host":                "user",
		"ws://" + canary + "@host":                   "user",
		"ws://:@localhost":                           "empty",
		"ws://:" + canary + "@host":                  "insecure=true",
		"ws://host?token_file=" + file:               "insecure=true",
		"wss://:" + canary + "@h?token_file=" + file: "say one",
		"wss://h?token_file=/no/such":                "token_file",
		"wss://h?tls_ca=/no/such":                    "tls_ca",
		"wss://h?tls_ca=" + file:                     "PEM",
		"ws://h?tls_server_name=x":                   "wss only",
		"wss://h?token=" + canary:                    `unknown URL parameter "token"`,
		"wss://h?timeout=1s&timeout=2s":              "2 times",
		"wss://h?timeout=1h":                         "timeout must be",
		"wss://h?dial_timeout=soon":                  "dial_timeout must be",
		"wss://h?insecure=yes":                       "true or false",
	} {
		_, err := rpw.Open(t.Context(), raw)
		require.ErrorIs(t, err, rpw.ErrInvalid, raw)
		assert.ErrorContains(t, err, says, raw)
		assert.NotContains(t, err.Error(), canary)
	}
}

// TestTokensOfClients: the token of a URL or a file comes with the handshake.
func TestTokensOfClients(t *testing.T) {
	config := everything(Config{})
	config.AllowAnonymous = false
	config.Authenticate = func(r *http.Request) (Identity, error) {
		if r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("X-Extra") == "no" {
			return Identity{}, rpw.ErrPermission
		}
		return Identity{Name: "me"}, nil
	}
	place := listen(t, memoryHub(t), config)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(canary+"\n"), 0o600))
	for _, raw := range []string{
		strings.Replace(place, "ws://", "ws://:"+canary+"@", 1),
		place + "?token_file=" + url.QueryEscape(file),
	} {
		hub, err := rpw.Open(t.Context(), raw)
		require.NoError(t, err)
		require.NoError(t, rpw.Set(t.Context(), hub, "k", 1))
		require.NoError(t, hub.Close())
	}
	_, err := rpw.Open(t.Context(), place)
	require.ErrorIs(t, err, rpw.ErrPermission)
	token := func(context.Context) (string, error) { return canary, nil }
	_, err = New(t.Context(), place, Options{Token: token, Header: http.Header{"X-Extra": {"no"}}})
	require.ErrorIs(t, err, rpw.ErrPermission)
	dialHub(t, place, Options{Token: token})
}
