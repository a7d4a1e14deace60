// Package jwtauth lets clients of a [socket.Server] come in with JSON Web Tokens. It is a module of its own, so that
// only those who use it depend on a library for them.
package jwtauth

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/socket"
)

// Config says which tokens are good. All of its fields but Leeway are needed.
type Config struct {
	Issuer   string         // as in "iss"
	Audience string         // one of "aud"
	Keys     map[string]Key // by their id, as in "kid"; a token without one is refused
	Leeway   time.Duration  // for clocks that differ: a token is good for so much longer, and earlier; 0: none
}

// Key verifies signatures of one algorithm. What a token says of its algorithm chooses nothing: with another than its key's it is refused.
type Key struct {
	Algorithm string // "RS256", "ES256", "EdDSA" or "HS256"
	// Key is an *rsa.PublicKey of 2048 bits or more, an *ecdsa.PublicKey of P-256, an ed25519.PublicKey, or a secret of 32 bytes or more, as []byte.
	Key any
}

// check finds keys that do not go with their algorithm.
func (k Key) check() error {
	fits := false
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		fits = k.Algorithm == "RS256" && key.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		fits = k.Algorithm == "ES256" && key.Curve == elliptic.P256()
	case ed25519.PublicKey:
		fits = k.Algorithm == "EdDSA" && len(key) == ed25519.PublicKeySize
	case []byte:
		fits = k.Algorithm == "HS256" && len(key) >= 32
	}
	if !fits {
		return fmt.Errorf("a %T is no key for %q, or too short", k.Key, k.Algorithm)
	}
	return nil
}

// maxToken is how long a token may be, in bytes: it is decoded before its signature can be checked.
const maxToken = 16 << 10

// claims are what a token must hold, beside "iss" and "aud": "sub" and "exp".
type claims struct {
	jwt.RegisteredClaims
	Grants []socket.Grant `json:"grants"`
}

// UnmarshalJSON takes claims of exactly these names. encoding/json by itself reads the case away, so that a claim "Grants" or "SUB", which an issuer may leave to
// others to choose, would be taken for ours.
func (c *claims) UnmarshalJSON(data []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, into := range map[string]any{
		"iss": &c.Issuer, "aud": &c.Audience, "sub": &c.Subject, "exp": &c.ExpiresAt, "nbf": &c.NotBefore, "iat": &c.IssuedAt, "grants": &c.Grants,
	} {
		if value, ok := all[name]; ok {
			if err := json.Unmarshal(value, into); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// Authenticator verifies tokens. It is safe for concurrent use.
type Authenticator struct {
	keys   map[string]Key
	leeway time.Duration
	parser *jwt.Parser
}

// New returns an Authenticator; a Config that lacks something, or with a key that does not go with its algorithm, is ErrInvalid.
func New(config Config) (*Authenticator, error) {
	if config.Issuer == "" || config.Audience == "" || len(config.Keys) == 0 || config.Leeway < 0 {
		return nil, rpw.Errorf(rpw.ErrInvalid, "Issuer, Audience and Keys are needed, and Leeway must not be negative")
	}
	a := &Authenticator{keys: maps.Clone(config.Keys), leeway: config.Leeway}
	var methods []string
	for id, key := range a.keys {
		if err := cmp.Or(key.check(), named(id)); err != nil {
			return nil, rpw.Errorf(rpw.ErrInvalid, "key %s: %w", rpw.QuoteName(id), err)
		}
		methods = append(methods, key.Algorithm)
	}
	a.parser = jwt.NewParser(
		jwt.WithValidMethods(slices.Compact(slices.Sorted(slices.Values(methods)))),
		jwt.WithIssuer(config.Issuer), jwt.WithAudience(config.Audience), jwt.WithLeeway(config.Leeway),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	)
	return a, nil
}

func named(id string) error {
	if id == "" {
		return errors.New("its id is empty")
	}
	return nil
}

// Authenticate is for socket.Config.Authenticate. The client's name is the token's "sub"; its grants are in "grants", in the form of
// socket.Grant; the connection lives as long as "exp" and the leeway say, or until the client brings another token. A token of more than 16 KiB, or with critical
// extensions ("crit"), is refused.
func (a *Authenticator) Authenticate(r *http.Request) (socket.Identity, error) {
	token, ok := socket.Bearer(r)
	if !ok {
		return socket.Identity{}, errors.New("there is no bearer token")
	}
	if len(token) > maxToken {
		return socket.Identity{}, fmt.Errorf("the token has %d bytes (max %d)", len(token), maxToken)
	}
	var c claims
	if _, err := a.parser.ParseWithClaims(token, &c, a.key); err != nil {
		return socket.Identity{}, err
	}
	if c.Subject == "" {
		return socket.Identity{}, errors.New("the token has no subject")
	}
	return socket.Identity{Name: c.Subject, Grants: c.Grants, Expires: c.ExpiresAt.Add(a.leeway)}, nil
}

// key finds the key of a token by its id, for the algorithm of the key alone. A token with extensions that must be understood (RFC 7515, 4.1.11) is refused, since none
// is: the library passes over "crit".
func (a *Authenticator) key(token *jwt.Token) (any, error) {
	id, _ := token.Header["kid"].(string)
	key, ok := a.keys[id]
	_, extended := token.Header["crit"]
	switch {
	case extended:
		return nil, errors.New("the token has critical extensions, and none is understood")
	case !ok:
		return nil, errors.New("the token's key is unknown")
	case token.Method.Alg() != key.Algorithm:
		return nil, errors.New("the token's algorithm is not that of its key")
	}
	return key.Key, nil
}
