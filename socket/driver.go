package socket

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"

	"github.com/redis-process-worker/rpw"
)

func init() {
	rpw.Register("ws", Driver{})
	rpw.Register("wss", Driver{})
}

// Driver opens remote Hubs by URL; the package documentation has its forms.
type Driver struct{}

// Open implements rpw.Driver.
func (Driver) Open(ctx context.Context, req rpw.OpenRequest) (rpw.Parts, error) {
	place, opts, err := parseURL(req.URL)
	if err != nil {
		return rpw.Parts{}, err
	}
	opts.Notify = req.Notify
	return connect(ctx, place, opts)
}

// Options are what a URL cannot hold. The zero Options are the defaults of the URL's parameters.
type Options struct {
	// Token returns the bearer token to come with; nil: no token, or that of the URL. It is asked for each connection, and again before
	// the server's time for it is over, then for the connection that is there.
	Token func(ctx context.Context) (string, error)
	// Header is sent with each handshake, beside Authorization.
	Header http.Header
	// TLS is for wss; nil: the system's certificates.
	TLS *tls.Config
	// Insecure allows a token over ws:// to another machine, where everyone on the way can read it.
	Insecure bool
	// DialTimeout is for a connection, up to the server's greeting; 0: 10 s.
	DialTimeout time.Duration
	// Timeout is for a call that does not wait, with the time until there is a connection; 0: 5 s.
	Timeout time.Duration
	// Notify hears of changes of the link; nil: nobody does.
	Notify func(rpw.Notice)
}

// New connects to the server that a ws or wss URL names, for rpw.New: for programs that need more than a URL. ctx bounds the connecting only. The URL
// has its parameters as for rpw.Open; what opts says wins.
func New(ctx context.Context, rawURL string, opts Options) (rpw.Parts, error) {
	u, err := url.Parse(rawURL)
	if err != nil { // its text would hold the URL
		return rpw.Parts{}, rpw.Errorf(rpw.ErrInvalid, "the URL does not parse; its form is %s", urlForm)
	}
	place, fromURL, err := parseURL(u)
	if err != nil {
		return rpw.Parts{}, err
	}
	return connect(ctx, place, opts.over(fromURL))
}

// over fills what opts leaves open.
func (opts Options) over(base Options) Options {
	if opts.Token == nil {
		opts.Token = base.Token
	}
	if opts.TLS == nil {
		opts.TLS = base.TLS
	}
	opts.Insecure = opts.Insecure || base.Insecure
	if opts.DialTimeout == 0 {
		opts.DialTimeout = base.DialTimeout
	}
	if opts.Timeout == 0 {
		opts.Timeout = base.Timeout
	}
	return opts
}

// connect opens the link to a place: a URL without a secret and without parameters.
func connect(ctx context.Context, place *url.URL, opts Options) (rpw.Parts, error) {
	if opts.Token != nil && place.Scheme == "ws" && !opts.Insecure && !isLoopback(place.Hostname()) {
		return rpw.Parts{}, rpw.Errorf(rpw.ErrInvalid, "a token would cross the network for all to read: use wss, or say insecure=true if the network is safe")
	}
	if opts.DialTimeout < 0 || opts.Timeout < 0 {
		return rpw.Parts{}, rpw.Errorf(rpw.ErrInvalid, "DialTimeout and Timeout must not be negative")
	}
	if opts.Notify == nil {
		opts.Notify = func(rpw.Notice) {}
	}
	d := newDialer(place, opts)
	l, err := newRemote(ctx, remoteConfig{
		dial: d.dial, token: opts.Token, timeout: opts.Timeout, dialTimeout: opts.DialTimeout, notify: opts.Notify,
	})
	if err != nil {
		return rpw.Parts{}, err
	}
	return l.parts(), nil
}
