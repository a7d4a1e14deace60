package socket

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// tokenSubprotocol begins the subprotocol that carries a bearer token of a browser, which can send no header. It is never echoed.
const tokenSubprotocol = "auth."

// maxHeader bounds the header of a handshake, in bytes.
const maxHeader = 16 << 10

// refusal is a handshake that ends without a connection. The client gets the status and the text; what, one of few words, goes to the counters, and
// why to the log.
type refusal struct {
	status int
	text   string
	what   string
	why    error
}

func (r *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	switch r.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", "1")
	case http.StatusUpgradeRequired:
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
	case http.StatusBadRequest:
		h.Set("Sec-WebSocket-Version", "13")
	}
	http.Error(w, r.text, r.status)
}

// ServeHTTP upgrades the request to a WebSocket connection and serves it until it ends, or refuses it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, token, refused := s.admit(w, r)
	if refused == nil {
		s.serve(c)
		return
	}
	s.refused(refused.what)
	s.journal.refused(r.RemoteAddr, refused.what, refused.why, token)
	if refused.status != 0 {
		refused.write(w)
	}
}

func (s *Server) admit(w http.ResponseWriter, r *http.Request) (c *connection, token string, refused *refusal) {
	revocations, refused := s.enter()
	if refused != nil {
		return nil, "", refused
	}
	defer func() { s.entered(c, revocations) }()
	return s.handshake(w, r)
}

// handshake checks a request, cheap things first, and upgrades it. The token is for its log line to leave out.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request) (c *connection, token string, refused *refusal) {
	until := time.Now().Add(s.config.Limits.HandshakeTime)
	if !s.connects.take(r.RemoteAddr) {
		return nil, "", &refusal{http.StatusTooManyRequests, "too many connections; come back later", "rate", nil}
	}
	if refused := s.checkRequest(r); refused != nil {
		return nil, "", refused
	}
	if refused := s.checkNames(r); refused != nil {
		return nil, "", refused
	}
	asked, token, err := credential(r, s.config.TokenParameter)
	if err != nil {
		return nil, "", unauthorized(err)
	}
	ctx, cancel := context.WithDeadline(r.Context(), until)
	defer cancel()
	id, err := s.identify(asked.WithContext(ctx), token)
	switch {
	case ctx.Err() != nil:
		return nil, token, &refusal{http.StatusServiceUnavailable, "try again later", "slow", context.Cause(ctx)}
	case err != nil:
		return nil, token, unauthorized(err)
	}
	if c, err = s.upgrade(w, r, asked, id); err != nil {
		return nil, token, &refusal{0, "", "upgrade", err} // which is answered already
	}
	return c, "", nil
}

func unauthorized(why error) *refusal {
	return &refusal{http.StatusUnauthorized, "a valid credential is required", "unauthorized", why}
}

// checkRequest finds what is no handshake.
func (s *Server) checkRequest(r *http.Request) *refusal {
	h := r.Header
	if !hasToken(h, "Connection", "upgrade") || !hasToken(h, "Upgrade", "websocket") || r.ProtoMajor != 1 {
		status := http.StatusUpgradeRequired
		if s.config.Original {
			status = http.StatusBadRequest
		}
		return &refusal{status, "WebSocket endpoint only", "plain", nil}
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(h.Get("Sec-WebSocket-Key")))
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || h.Get("Sec-WebSocket-Version") != "13" ||
		err != nil || len(key) != 16 || len(h["Sec-Websocket-Key"]) != 1 {
		return &refusal{http.StatusBadRequest, "no WebSocket handshake of version 13", "handshake", nil}
	}
	offered := headerTokens(h, "Sec-WebSocket-Protocol")
	if len(offered) == 0 && s.config.Original || slices.Contains(offered, Subprotocol) {
		return nil
	}
	return &refusal{http.StatusBadRequest, "the subprotocol of this endpoint is " + Subprotocol, "subprotocol", nil}
}

// checkNames finds requests made on behalf of a web page that may not connect.
func (s *Server) checkNames(r *http.Request) *refusal {
	if !s.hostAllowed(r) {
		return &refusal{http.StatusForbidden, "not under this host name", "host", nil}
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 { // no web page: browsers always tell
		return nil
	}
	if len(origins) == 1 && slices.ContainsFunc(s.origins, func(p originPattern) bool { return p.matches(origins[0]) }) {
		return nil
	}
	return &refusal{http.StatusForbidden, "not from this origin", "origin", nil}
}

func (s *Server) hostAllowed(r *http.Request) bool {
	host, scheme := strings.ToLower(r.Host), "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if len(s.hosts) == 0 {
		return s.config.Authenticate != nil || isLoopback(host)
	}
	return slices.ContainsFunc(s.hosts, func(p hostPattern) bool { return p.matches(host) || p.matches(withoutPort(scheme, host)) })
}

// identify returns who sends the request, as a credential found it. token says whether there is a bearer token.
func (s *Server) identify(r *http.Request, token string) (Identity, error) {
	if s.config.Authenticate == nil {
		if token != "" {
			return Identity{}, errors.New("a token was sent, but the server takes none")
		}
		return Identity{}, nil
	}
	id, err := s.config.Authenticate(r)
	switch {
	case err != nil && s.config.AllowAnonymous && token == "":
		return Identity{}, nil
	case err != nil:
		return Identity{}, err
	case id.Name == "":
		return Identity{}, errors.New("Config.Authenticate gave an identity without a name")
	case !id.Expires.IsZero() && !time.Now().Before(id.Expires):
		return Identity{}, errors.New("the credential has expired")
	}
	return id, nil
}

// credential returns the request's bearer token, and the request as Authenticate sees it: the token is in its Authorization header,
// whichever way it came, and nowhere else.
func credential(r *http.Request, parameter string) (*http.Request, string, error) {
	var tokens []string
	asked := r.Clone(r.Context())
	asked.Body = http.NoBody
	for _, header := range r.Header["Authorization"] {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			if len(r.Header["Authorization"]) > 1 {
				return nil, "", errors.New("there are several Authorization headers")
			}
			continue // Authenticate may know it
		}
		tokens = append(tokens, strings.TrimSpace(token))
	}
	for _, offered := range headerTokens(r.Header, "Sec-WebSocket-Protocol") {
		coded, ok := strings.CutPrefix(offered, tokenSubprotocol)
		if !ok {
			continue
		}
		token, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(coded, "="))
		if err != nil {
			return nil, "", errors.New("the token in the subprotocol is no base64url")
		}
		tokens = append(tokens, string(token))
		asked.Header.Set("Sec-WebSocket-Protocol", Subprotocol)
	}
	if query := r.URL.Query(); parameter != "" && query.Has(parameter) {
		tokens = append(tokens, query[parameter]...)
		query.Del(parameter)
		asked.URL.RawQuery = query.Encode()
		asked.RequestURI = asked.URL.RequestURI()
	}
	switch {
	case len(tokens) == 0:
		return asked, "", nil
	case len(tokens) > 1:
		return nil, "", errors.New("there are several tokens")
	case tokens[0] == "":
		return nil, "", errors.New("the token is empty")
	case !fitsHeader(tokens[0]):
		return nil, "", errors.New("the token has characters that no header may hold")
	}
	asked.Header.Set("Authorization", "Bearer "+tokens[0])
	return asked, tokens[0], nil
}

// fitsHeader reports whether a token has only characters that may follow "Bearer ".
func fitsHeader(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// renewal returns the renew of a peer: it authenticates the sender of a handshake once more, with another token. Of the first one nothing is kept.
func (s *Server) renewal(asked *http.Request) func(context.Context, string, func(Identity) error) error {
	if s.config.Authenticate == nil {
		return nil
	}
	asked = asked.Clone(context.Background())
	asked.Header.Del("Authorization")
	return func(ctx context.Context, token string, take func(Identity) error) error {
		revocations := s.revoked()
		id, err := s.reidentify(ctx, asked, token)
		if err != nil {
			s.journal.refused(asked.RemoteAddr, "refresh", err, token)
			return rpw.Errorf(rpw.ErrPermission, "the credential was refused")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if revocations != s.revocations { // Revoke may have looked at the identity before, and the new one be what it is after
			return rpw.Errorf(rpw.ErrConflict, "credentials were revoked meanwhile; bring it again")
		}
		return take(id)
	}
}

// reidentify is identify for a token that comes later than the handshake. It is one that a handshake could have brought.
func (s *Server) reidentify(ctx context.Context, asked *http.Request, token string) (id Identity, err error) {
	if token == "" || len(token) > maxHeader || !fitsHeader(token) {
		return id, errors.New("the token is empty, or longer or of other characters than a header may be")
	}
	defer func() { // as net/http does for the handshake
		if p := recover(); p != nil {
			s.journal.panicked("Authenticate", p, token)
			err = rpw.ErrPermission
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, s.config.Limits.HandshakeTime)
	defer cancel()
	again := asked.Clone(ctx)
	again.Header.Set("Authorization", "Bearer "+token)
	return s.identify(again, token)
}

// upgrade makes the connection a WebSocket.
func (s *Server) upgrade(w http.ResponseWriter, r, asked *http.Request, id Identity) (*connection, error) {
	limits := s.config.Limits
	p := &peer{
		hub: s.hub, limits: limits, clock: s.clock,
		authorize: s.authorize, renew: s.renewal(asked), leaving: make(chan struct{}),
	}
	p.identity.Store(&id)
	c := &connection{peer: p, remote: r.RemoteAddr}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	p.renewed = c.expireAt
	counted := func(context.Context, []byte) bool { return c.pinged() }
	up := &upgrade{ResponseWriter: w, writeTime: limits.WriteTime}
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // checkNames has looked at Host and Origin
		OnPingReceived:     counted,
		OnPongReceived:     func(ctx context.Context, b []byte) { counted(ctx, b) },
	})
	if err != nil {
		c.end(err)
		return nil, err
	}
	ws.SetReadLimit(int64(limits.Message))
	c.ws, c.tcp = ws, up.tcp
	return c, nil
}

// headerTokens returns the elements of a list in a header.
func headerTokens(h http.Header, name string) (tokens []string) {
	for _, line := range h.Values(name) {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.TrimSpace(token); token != "" {
				tokens = append(tokens, token)
			}
		}
	}
	return tokens
}

func hasToken(h http.Header, name, token string) bool {
	return slices.ContainsFunc(headerTokens(h, name), func(t string) bool { return strings.EqualFold(t, token) })
}
