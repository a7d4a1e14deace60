package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
	"github.com/redis-process-worker/rpw/socket"
)

func newServeCommand(a *app) *cobra.Command {
	s := &serve{app: a}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Let clients without access to the backend in, over WebSocket",
		Long: `Serve the backend to clients over WebSocket, until a signal. They open it as ws://HOST/ws, or as wss://:TOKEN@HOST/ws.

Somebody must be allowed in: clients with a token of --tokens, or anyone with --allow-anonymous. A file of tokens is JSON:

  {"tokens": [
    {"name": "edge-1", "sha256": "the SHA-256 of the token in hex", "expires": "2030-01-01T00:00:00Z",
     "grants": [{"rights": ["read", "write"], "streams": ["orders", "orders-*"], "keys": ["*"]}]}
  ]}

Rights are read, write, consume (groups, actions) and admin (remove and operate; also to publish with a retention of one's own);
names are those of streams, keys, logs, queues and workers.

The file of --config is JSON with flags as keys ("listen", "origin": ["https://example.com"], "tls-cert", ...), and tokens and
limits of their own: "tokens" is the list above, "limits" an object with the fields of socket.Limits ("Requests": 256, "DrainTime": "5s").
A flag that is given wins over the file.

Beside the endpoint there are /healthz (the process is alive), /readyz (the backend is, too; 503 while stopping) and, with --vars,
/debug/vars (figures as JSON). SIGINT and SIGTERM stop it gracefully: clients are told to come back elsewhere, spread over some
seconds; a second signal ends it at once.`,
		Example: `  rpw serve --url redis://localhost --tokens tokens.json --tls-cert cert.pem --tls-key key.pem --listen :8443
  rpw serve --url memory:// --allow-anonymous --original
  rpw tail file-change --url ws://127.0.0.1:8080/ws`,
		Args:    positional(0, 0),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return s.configure(cmd) },
		RunE:    a.over(s.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&s.configFile, "config", "", "take flags, tokens and limits from this file")
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8080", "the address to listen on")
	flags.StringVar(&s.path, "path", "/ws", "the path of the endpoint; with --original every other one is, too")
	flags.StringVar(&s.tokenFile, "tokens", "", "let in who has a token of this file")
	flags.BoolVar(&s.config.AllowAnonymous, "allow-anonymous", false, "let anyone do all but administer")
	flags.StringArrayVar(&s.config.Origins, "origin", nil, "web pages that may connect: https://app.example.com, https://*.example.com")
	flags.StringArrayVar(&s.config.Hosts, "host", nil, "names under which the server is reached (default: any, or loopback names without tokens)")
	flags.StringVar(&s.config.TokenParameter, "token-parameter", "", "the query parameter that may carry a token; URLs end up in logs")
	flags.BoolVar(&s.config.Original, "original", false, "let clients of the original redis-process-worker in")
	flags.StringVar(&s.certFile, "tls-cert", "", "serve TLS with the certificate chain in this PEM file")
	flags.StringVar(&s.keyFile, "tls-key", "", "its private key")
	flags.BoolVar(&s.vars, "vars", false, "serve figures at /debug/vars, to anyone who can reach it")
	flags.DurationVar(&s.grace, "grace", 15*time.Second, "how long a graceful stop may take")
	return cmd
}

type serve struct {
	*app
	config                socket.Config
	configFile, tokenFile string
	listen, path          string
	certFile, keyFile     string
	vars                  bool
	grace                 time.Duration
	inlineTokens          []byte
}

// run serves until ctx ends.
func (s *serve) run(ctx context.Context, hub *rpw.Hub, _ []string) error {
	logger := slog.New(logs.Console(s.stderr))
	s.config.Logger = logger
	server, err := socket.NewServer(hub, s.config)
	if err != nil {
		return usageError{err}
	}
	defer server.Close()
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return misuse("cannot listen on %s: %w", s.listen, err)
	}
	web := server.HTTPServer()
	web.Handler = s.routes(server)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = s.accept(web, listener)
	}()
	defer func() { web.Close(); <-ended }()

	logger.Info("serving", "backend", hub.Driver(), "endpoint", s.endpoint(listener.Addr()))
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	logger.Info("stopping", "grace", s.grace)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	if err := errors.Join(server.Shutdown(stopping), web.Shutdown(stopping)); err != nil {
		logger.Warn("some clients were dropped", "error", err)
	}
	return nil
}

func (s *serve) accept(web *http.Server, listener net.Listener) error {
	var err error
	if s.certFile != "" {
		err = web.ServeTLS(listener, s.certFile, s.keyFile)
	} else {
		err = web.Serve(listener)
	}
	listener.Close() // which ServeTLS leaves open if it cannot read its files
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// routes puts the endpoint among what is for operators.
func (s *serve) routes(server *socket.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(s.path, server)
	if s.config.Original && s.path != "/" {
		mux.Handle("/", server)
	}
	mux.HandleFunc("GET /healthz", server.Healthz)
	mux.HandleFunc("GET /readyz", server.Readyz)
	if s.vars {
		mux.HandleFunc("GET /debug/vars", server.Vars)
	}
	return mux
}

func (s *serve) endpoint(addr net.Addr) string {
	scheme := "ws://"
	if s.certFile != "" {
		scheme = "wss://"
	}
	return scheme + addr.String() + s.path
}

// authenticate reads the tokens, if there are any.
func (s *serve) authenticate() error {
	from, data := s.configFile, s.inlineTokens
	switch {
	case s.tokenFile != "" && data != nil:
		return misuse("the tokens are in --config and in --tokens; keep them in one place")
	case s.tokenFile != "":
		var err error
		if data, err = os.ReadFile(s.tokenFile); err != nil {
			return usageError{err}
		}
		from = s.tokenFile
	case data == nil && !s.config.AllowAnonymous:
		return misuse("nobody could connect; say who may with --tokens, or let everyone with --allow-anonymous")
	case data == nil:
		return nil
	}
	tokens, err := socket.NewTokens(bytes.NewReader(data))
	if err != nil {
		return misuse("%s: %w", from, err)
	}
	s.config.Authenticate = tokens.Authenticate
	return nil
}
