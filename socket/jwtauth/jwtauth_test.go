package jwtauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/socket"
	"github.com/redis-process-worker/rpw/socket/jwtauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer makes tokens.
type issuer struct {
	t      *testing.T
	rsa    *rsa.PrivateKey
	ed     ed25519.PrivateKey
	secret []byte
}

func newIssuer(t *testing.T) (*issuer, *jwtauth.Authenticator) { return newIssuerWith(t, 0) }

func newIssuerWith(t *testing.T, leeway time.Duration) (*issuer, *jwtauth.Authenticator) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	i := &issuer{t, private, ed, []byte(strings.Repeat("CANARY", 10))}
	a, err := jwtauth.New(jwtauth.Config{
		Issuer: "https://id.example.com", Audience: "rpw",
		Keys: map[string]jwtauth.Key{
			"rsa":    {Algorithm: "RS256", Key: &private.PublicKey},
			"ed":     {Algorithm: "EdDSA", Key: public},
			"secret": {Algorithm: "HS256", Key: i.secret},
		},
		Leeway: leeway,
	})
	require.NoError(t, err)
	return i, a
}

// token signs the claims of a good token, changed by edit.
func (i *issuer) token(method jwt.SigningMethod, kid string, key any, edit func(jwt.MapClaims)) string {
	return i.headed(method, map[string]any{"kid": kid}, key, edit)
}

// headed is token with a header of its own.
func (i *issuer) headed(method jwt.SigningMethod, header map[string]any, key any, edit func(jwt.MapClaims)) string {
	now := time.Now()
	c := jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "rpw", "sub": "edge-1", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"grants": []socket.Grant{{Rights: []socket.Right{socket.Read, socket.Write}, Streams: []string{"orders*"}}},
	}
	if edit != nil {
		edit(c)
	}
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	require.NoError(i.t, err)
	return text
}

func (i *issuer) good() string { return i.token(jwt.SigningMethodRS256, "rsa", i.rsa, nil) }

// TestTokens: tokens of each algorithm let their client in, with its grants.
func TestTokens(t *testing.T) {
	i, a := newIssuer(t)
	for _, token := range []string{
		i.good(), i.token(jwt.SigningMethodEdDSA, "ed", i.ed, nil), i.token(jwt.SigningMethodHS256, "secret", i.secret, nil),
	} {
		id, err := a.Authenticate(&http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}})
		require.NoError(t, err)
		assert.Equal(t, "edge-1", id.Name)
		assert.WithinDuration(t, time.Now().Add(time.Hour), id.Expires, time.Minute)
		assert.Equal(t, []socket.Grant{{Rights: []socket.Right{socket.Read, socket.Write}, Streams: []string{"orders*"}}}, id.Grants)
	}
	url, _ := serve(t, a)
	hub, err := rpw.Open(t.Context(), "ws://:"+i.good()+"@"+url)
	require.NoError(t, err)
	defer hub.Close()
	assert.NoError(t, publish(t.Context(), hub, "orders-1"))
	assert.ErrorIs(t, publish(t.Context(), hub, "bills"), rpw.ErrPermission)
}

func publish(ctx context.Context, hub *rpw.Hub, stream string) error {
	answers, err := hub.Streams().Publish(ctx, []rpw.Batch{{Stream: stream, Events: []rpw.NewEvent{{Type: "x"}}}})
	if err == nil {
		err = answers[0].Err
	}
	return err
}

// TestForgedTokens is B50: each is refused before the upgrade, with one text for all, and none is in the log.
func TestForgedTokens(t *testing.T) {
	i, a := newIssuer(t)
	addr, log := serve(t, a)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	require.NoError(t, err)
	asSecret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	rs, hs := jwt.SigningMethodRS256, jwt.SigningMethodHS256
	changed := func(name string, value any) string {
		return i.token(rs, "rsa", i.rsa, func(c jwt.MapClaims) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		})
	}
	good := i.good()
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	other := i.token(rs, "rsa", i.rsa, func(c jwt.MapClaims) { c["sub"] = "admin" })

	critical := func(crit any) string {
		return i.headed(rs, map[string]any{"kid": "rsa", "crit": crit, "exp": 1, "b64": true}, i.rsa, nil)
	}

	for what, token := range map[string]string{
		"a critical extension":              critical([]string{"exp"}),
		"a payload that is not encoded":     critical([]string{"b64"}),
		"no critical extension":             critical([]string{}),
		"critical extensions of no list":    critical(nil),
		"a key id that is no text":          i.headed(rs, map[string]any{"kid": []string{"rsa"}}, i.rsa, nil),
		"an empty key id":                   i.token(rs, "", i.rsa, nil),
		"too long":                          changed("padding", strings.Repeat("x", 16<<10)),
		"a subject in capitals":             i.token(rs, "rsa", i.rsa, func(c jwt.MapClaims) { delete(c, "sub"); c["SUB"] = "admin" }),
		"an end in capitals":                i.token(rs, "rsa", i.rsa, func(c jwt.MapClaims) { delete(c, "exp"); c["EXP"] = time.Now().Add(time.Hour).Unix() }),
		"an end that is no time":            changed("exp", "never"),
		"an end of null":                    i.token(rs, "rsa", i.rsa, func(c jwt.MapClaims) { c["exp"] = nil }),
		"no algorithm":                      i.token(jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, nil),
		"public key as secret":              i.token(hs, "rsa", asSecret, nil),
		"public key as secret, der":         i.token(hs, "rsa", public, nil),
		"secret for the key of another":     i.token(hs, "rsa", i.secret, nil),
		"key of another algorithm":          i.token(rs, "ed", i.rsa, nil),
		"another algorithm of the key":      i.token(jwt.SigningMethodRS512, "rsa", i.rsa, nil),
		"a stranger's key":                  i.token(rs, "rsa", stranger, nil),
		"no key id":                         i.headed(rs, nil, i.rsa, nil),
		"unknown key id":                    i.token(rs, "../rsa", i.rsa, nil),
		"expired":                           changed("exp", time.Now().Add(-time.Second).Unix()),
		"without an end":                    changed("exp", nil),
		"not yet valid":                     changed("nbf", time.Now().Add(time.Hour).Unix()),
		"issued in the future":              changed("iat", time.Now().Add(time.Hour).Unix()),
		"another audience":                  changed("aud", "other"),
		"no audience":                       changed("aud", nil),
		"another issuer":                    changed("iss", "https://evil.example.com"),
		"no subject":                        changed("sub", nil),
		"a subject that is no text":         changed("sub", 7),
		"another payload":                   head + "." + strings.Split(other, ".")[1] + "." + signature,
		"no signature":                      head + "." + payload + ".",
		"two parts":                         head + "." + payload,
		"no token":                          "CANARY",
		"the signature with another ending": good + "=",
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr, nil)
		require.NoError(t, err)
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
			"Sec-WebSocket-Protocol": socket.Subprotocol, "Authorization": "Bearer " + token,
		} {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err, what)
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		require.NoError(t, err, what)
		assert.Equal(t, http.StatusUnauthorized, res.StatusCode, what)
		assert.Equal(t, "a valid credential is required\n", string(body), what)
		assert.NotContains(t, log.String(), token, what)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	assert.NotContains(t, log.String(), signature)
	assert.NotContains(t, log.String(), "CANARY")
}

// TestClaimsOfOtherNames: what an issuer lets others choose, a claim of nearly our name, is none of ours.
func TestClaimsOfOtherNames(t *testing.T) {
	i, a := newIssuer(t)
	token := i.token(jwt.SigningMethodRS256, "rsa", i.rsa, func(c jwt.MapClaims) {
		c["Sub"], c["suB"], c["Grants"] = "admin", "admin", []socket.Grant{{Rights: []socket.Right{socket.Admin}, Streams: []string{"*"}}}
		c["nbF"] = time.Now().Add(time.Hour).Unix()
	})
	id, err := a.Authenticate(&http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}})
	require.NoError(t, err)
	assert.Equal(t, "edge-1", id.Name)
	assert.Equal(t, []socket.Grant{{Rights: []socket.Right{socket.Read, socket.Write}, Streams: []string{"orders*"}}}, id.Grants)
}

// TestLeeway: clocks may differ by as much at the end of a token, too, but not by more.
func TestLeeway(t *testing.T) {
	i, a := newIssuerWith(t, time.Minute)
	addr, _ := serve(t, a)
	open := func(ended time.Duration) error {
		token := i.token(jwt.SigningMethodRS256, "rsa", i.rsa, func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-ended).Unix() })
		hub, err := rpw.Open(t.Context(), "ws://:"+token+"@"+addr)
		if err == nil {
			defer hub.Close()
			err = publish(t.Context(), hub, "orders-1")
		}
		return err
	}
	assert.NoError(t, open(time.Second))
	assert.ErrorIs(t, open(2*time.Minute), rpw.ErrPermission)
}

// TestConfigsThatCannotBeMeant: above all, keys that another algorithm would misread.
func TestConfigsThatCannotBeMeant(t *testing.T) {
	i, _ := newIssuer(t)
	weak := &rsa.PublicKey{N: new(big.Int).Rsh(i.rsa.N, 1100), E: 65537}
	for what, key := range map[string]jwtauth.Key{
		"public key as a secret": {Algorithm: "HS256", Key: &i.rsa.PublicKey},
		"private key":            {Algorithm: "EdDSA", Key: i.ed},
		"secret for RS256":       {Algorithm: "RS256", Key: i.secret},
		"short secret":           {Algorithm: "HS256", Key: []byte("CANARY")},
		"short key":              {Algorithm: "RS256", Key: weak},
		"no algorithm":           {Key: i.secret},
		"none":                   {Algorithm: "none", Key: i.secret},
		"no key":                 {Algorithm: "RS256"},
	} {
		_, err := jwtauth.New(jwtauth.Config{Issuer: "x", Audience: "x", Keys: map[string]jwtauth.Key{"k": key}})
		require.ErrorIs(t, err, rpw.ErrInvalid, what)
		assert.NotContains(t, err.Error(), "CANARY")
	}
	good := map[string]jwtauth.Key{"k": {Algorithm: "HS256", Key: i.secret}}
	for _, config := range []jwtauth.Config{
		{}, {Issuer: "x", Audience: "x"}, {Issuer: "x", Keys: good}, {Audience: "x", Keys: good}, {Issuer: "x", Audience: "x", Keys: good, Leeway: -1},
		{Issuer: "x", Audience: "x", Keys: map[string]jwtauth.Key{"": good["k"]}},
	} {
		_, err := jwtauth.New(config)
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	}
}

// serve runs a server over a fresh Hub.
func serve(t *testing.T, a *jwtauth.Authenticator) (addr string, log *lockedBuffer) {
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	log = new(lockedBuffer)
	server, err := socket.NewServer(hub, socket.Config{Authenticate: a.Authenticate, Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		web.Close()
		assert.NoError(t, hub.Close())
	})
	return web.Listener.Addr().String(), log
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
