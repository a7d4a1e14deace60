package redis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

func init() {
	for scheme := range forms {
		rpw.Register(scheme, Driver{})
	}
}

// Driver opens backends by URL; see the package documentation for their forms. It is safe for concurrent use.
type Driver struct{}

// Open implements rpw.Driver. It connects, and checks that the server can do what the driver needs.
func (Driver) Open(ctx context.Context, req rpw.OpenRequest) (rpw.Parts, error) {
	if err := ctx.Err(); err != nil {
		return rpw.Parts{}, err
	}
	c, err := parseURL(req.URL)
	if err != nil {
		return rpw.Parts{}, err
	}
	c.notify, c.sender = req.Notify, new(sender)
	c.sender.begin()
	links := &links{sender: c.sender}
	opt, err := c.clientOption(links)
	if err != nil {
		return rpw.Parts{}, err
	}
	client, err := c.connect(ctx, opt)
	if err != nil {
		return rpw.Parts{}, c.explain(ctx, err)
	}
	c.redial = links.redial
	s, err := build(ctx, client, c.Options, c.mode == cluster)
	if err != nil {
		client.Close()
		links.end()
		return rpw.Parts{}, err
	}
	parts := s.parts()
	end := parts.Close
	parts.Close = func(ctx context.Context) error {
		err := end(ctx)
		closed := make(chan struct{})
		go func() { client.Close(); close(closed) }() // a silent server holds it up for a second
		select {
		case <-closed:
		case <-ctx.Done():
		}
		links.end()
		return err
	}
	return parts, nil
}

// New returns the backend over a client that the caller has made, for what URLs do not say; rpw.New makes a Hub of it. Closing the Hub does not close the
// client. It should be made with DisableRetry, and without ConnLifetime: rueidis repeats writes then.
//
// ctx bounds the checks of the server, which are those of Open.
func New(ctx context.Context, client rueidis.Client, opts Options) (rpw.Parts, error) {
	if client == nil {
		return rpw.Parts{}, rpw.Errorf(rpw.ErrInvalid, "the client is nil")
	}
	if err := ctx.Err(); err != nil {
		return rpw.Parts{}, err
	}
	if err := opts.check(); err != nil {
		return rpw.Parts{}, err
	}
	s, err := build(ctx, client, opts, client.Mode() == rueidis.ClientModeCluster)
	if err != nil {
		return rpw.Parts{}, err
	}
	return s.parts(), nil
}

// build makes the store and checks the server.
func build(ctx context.Context, client rueidis.Client, opts Options, clustered bool) (*store, error) {
	s := newStore(client, keyspace{prefix: opts.Prefix, flat: opts.Original}, opts)
	server, err := s.inspect(ctx)
	if err == nil {
		if server.db != 0 {
			s.keys.db = strconv.Itoa(server.db)
		}
		err = s.suits(ctx, server, clustered)
	}
	if err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

// connect makes a client. The nodes of a cluster are tried one after the other: given all at once, rueidis dials some of them twice, and keeps
// the spare connections for seconds, also after Close.
func (c *config) connect(ctx context.Context, opt rueidis.ClientOption) (client rueidis.Client, err error) {
	if c.mode != cluster {
		return newClient(ctx, opt)
	}
	for _, addr := range c.addrs {
		opt.InitAddress = []string{addr}
		if client, err = newClient(ctx, opt); err == nil || ctx.Err() != nil {
			break
		}
	}
	return client, err
}

// newClient makes a client. rueidis does not listen to a context then, so a client that comes too late is closed where it comes.
func newClient(ctx context.Context, opt rueidis.ClientOption) (rueidis.Client, error) {
	type made struct {
		client rueidis.Client
		err    error
	}
	done := make(chan made, 1)
	go func() {
		client, err := rueidis.NewClient(opt)
		if err != nil && client != nil { // with ForceSingleClient it gives both
			client.Close()
			client = nil
		}
		done <- made{client, err}
	}()
	select {
	case m := <-done:
		return m.client, m.err
	case <-ctx.Done():
		go func() {
			if m := <-done; m.client != nil {
				m.client.Close()
			}
		}()
		return nil, ctx.Err()
	}
}
