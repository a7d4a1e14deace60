package socket

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// Server lets clients work with a Hub over WebSocket connections. It is an [http.Handler] for any path; HTTPServer gives one with sane bounds.
// It does not close the Hub. A Server is safe for concurrent use.
//
// Clients are limited by the address that a request comes from (http.Request.RemoteAddr). Behind a proxy, which is the sender of all
// requests then, let a handler in front put the client's address there.
type Server struct {
	hub     *rpw.Hub
	config  Config // with defaults
	origins []originPattern
	hosts   []hostPattern

	clock    clock
	connects *perAddress
	journal  *journal
	ready    readiness

	ctx    context.Context // of all connections; its cause is a websocket.CloseError
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // handshakes and connections

	mu         sync.Mutex // guards all below
	draining   bool
	handshakes int
	// revocations counts the calls of Revoke: a credential that was looked at during one may have been taken for what is revoked.
	revocations int
	conns       map[*connection]struct{}
	over        chan struct{} // closed when it drains and has none left
	totals      Stats         // of what is over
}

// NewServer returns a Server over hub.
//
// What a connection makes it hold is bounded by Limits.Bytes: while so many bytes of requests are in flight nothing more is read of the connection, and a call begins
// when there is room for its answer: for the largest that it could have, as 1 MiB for each key of a get or 8 MiB for a page, then for the one that it has, until it can be
// sent. A request that waits holds nothing. If there is no room for what it waited for, that is let go, and read again when there is.
//
// A config that cannot be meant is ErrInvalid: among others one that says not who may come in.
func NewServer(hub *rpw.Hub, config Config) (*Server, error) {
	if hub == nil {
		return nil, rpw.Errorf(rpw.ErrInvalid, "the Hub is nil")
	}
	if config.Authenticate == nil && !config.AllowAnonymous {
		return nil, rpw.Errorf(rpw.ErrInvalid, "nobody could connect: set Config.Authenticate, for example to the Authenticate of NewTokens, or Config.AllowAnonymous to let everyone do all but administer")
	}
	if config.TokenParameter != "" && config.Authenticate == nil {
		return nil, rpw.Errorf(rpw.ErrInvalid, "Config.TokenParameter needs Config.Authenticate")
	}
	var err error
	if config.Limits, err = config.Limits.withDefaults(); err != nil {
		return nil, err
	}
	config.Logger = cmp.Or(config.Logger, slog.Default())
	if config.Authorize == nil {
		config.Authorize = authorize
	}
	s := &Server{hub: hub, config: config, clock: clock{time.Now()}, conns: map[*connection]struct{}{}, over: make(chan struct{})}
	for _, origin := range config.Origins {
		pattern, err := parseOrigin(origin)
		if err != nil {
			return nil, err
		}
		s.origins = append(s.origins, pattern)
	}
	for _, host := range config.Hosts {
		pattern, err := parseHost(host)
		if err != nil {
			return nil, err
		}
		s.hosts = append(s.hosts, pattern)
	}
	s.connects = newPerAddress(s.clock, config.Limits.ConnectsPerIP)
	s.journal = &journal{log: config.Logger, clock: s.clock}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

// HTTPServer returns an http.Server for s with the bounds that keep clients which send their request slowly, or too much of it, from
// holding connections. Its Addr is to be set, and its Handler where the process serves more than s.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug), // a line for each client that breaks off
	}
}

// Revoke ends the connections of the identities for which revoked reports true, with close code 4001, and returns how many. A client may come back with
// another credential: what Authenticate accepts is not changed.
func (s *Server) Revoke(revoked func(Identity) bool) int {
	s.mu.Lock()
	s.revocations++
	s.mu.Unlock()
	n := 0
	for _, c := range s.connected() {
		if revoked(c.peer.who()) {
			c.end(errRevoked)
			n++
		}
	}
	return n
}

// revoked returns how many revocations there were.
func (s *Server) revoked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revocations
}

// authorize asks Config.Authorize. Should it panic over what a client asks for, that client is refused, and the others stay.
func (s *Server) authorize(ctx context.Context, id Identity, a Access) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.journal.panicked("Authorize", p, "")
			err = rpw.ErrPermission
		}
	}()
	return s.config.Authorize(ctx, id, a)
}

// connected returns the connections there are.
func (s *Server) connected() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*connection, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// enter takes a place for a handshake. It returns how many revocations there were.
func (s *Server) enter() (revocations int, refused *refusal) {
	limits := s.config.Limits
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return 0, &refusal{http.StatusServiceUnavailable, "the server stops", "stopping", nil}
	case s.handshakes >= limits.Handshakes || len(s.conns)+s.handshakes >= limits.Connections:
		return 0, &refusal{http.StatusServiceUnavailable, "too many connections; come back later", "full", nil}
	}
	s.handshakes++
	s.tasks.Add(1)
	return s.revocations, nil
}

// entered gives the place of a handshake back, for one among the connections if it led to one.
func (s *Server) entered(c *connection, revocations int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handshakes--
	if c == nil {
		s.tasks.Done()
		return
	}
	s.conns[c] = struct{}{}
	s.totals.Accepted++
	switch {
	case s.draining:
		c.end(errRestart)
	case revocations != s.revocations:
		c.end(errAnew)
	}
}

// serve runs a connection from its upgrade to its end.
func (s *Server) serve(c *connection) {
	defer s.tasks.Done()
	var closed websocket.CloseError
	defer func() { s.forget(c, closed) }()
	defer c.CloseNow()
	defer c.end(errGone)
	c.expireAt(c.peer.expires())
	defer c.expireAt(time.Time{})

	session := serveNative
	if c.ws.Subprotocol() == "" {
		session = serveOriginal
	}
	err := c.run(session)
	closed = closeFor(err)
	s.journal.closed(c, closed, err)
	if closed.Code != 0 {
		c.Close(closed.Code, closed.Reason)
	}
}

// closeFor says with which code a session that ended with err is closed; 0: its client is gone.
func closeFor(err error) websocket.CloseError {
	closed, ok := errors.AsType[websocket.CloseError](err)
	switch {
	case ok:
		return closed
	case err == nil:
		return websocket.CloseError{Code: websocket.StatusNormalClosure}
	case isGone(err) || errors.Is(err, errGone) || errors.Is(err, rpw.ErrUnavailable):
		return websocket.CloseError{}
	}
	return errInternal
}

// forget takes a connection off, and keeps its figures.
func (s *Server) forget(c *connection, closed websocket.CloseError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.totals.add(c)
	count(&s.totals.Closed, closeLabel(closed.Code))
}

func (s *Server) refused(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count(&s.totals.Refused, what)
}
