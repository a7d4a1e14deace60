package memory

import (
	"context"
	"net/url"
	"strconv"
	"sync"

	"github.com/redis-process-worker/rpw"
)

func init() { rpw.Register("memory", new(Driver)) }

// Driver opens stores by URL and holds those that have a name, for as long as someone has them open. The zero
// Driver is ready to use; it is safe for concurrent use.
type Driver struct {
	mu    sync.Mutex
	named map[string]*namedStore
}

type namedStore struct {
	*Store
	hubs int
}

// Open implements rpw.Driver.
func (d *Driver) Open(ctx context.Context, req rpw.OpenRequest) (rpw.Parts, error) {
	if err := ctx.Err(); err != nil {
		return rpw.Parts{}, err
	}
	opts, err := parseURL(req.URL)
	if err != nil {
		return rpw.Parts{}, err
	}
	if req.URL.Host == "" {
		return New(opts).Parts(), nil
	}
	return d.share(req.URL.Host, opts)
}

// parseURL refuses whatever has no meaning in a URL of this driver. Its errors hold no part of the URL but names of parameters.
func parseURL(u *url.URL) (opts Options, err error) {
	bad := func(what string) (Options, error) {
		return Options{}, rpw.Errorf(rpw.ErrInvalid, "a memory URL has no %s; the form is memory://, or memory://name to share a store", what)
	}
	switch {
	case u.Opaque != "":
		return Options{}, rpw.Errorf(rpw.ErrInvalid, "the memory URL lacks its slashes; the form is memory://, or memory://name to share a store")
	case u.User != nil:
		return bad("user or password")
	case u.Port() != "" || u.Host != u.Hostname():
		return bad("port")
	case u.Path != "" && u.Path != "/":
		return bad("path")
	case u.Fragment != "":
		return bad("fragment")
	}
	if u.Host != "" {
		if err := rpw.CheckName("store", u.Host); err != nil {
			return Options{}, err
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Options{}, rpw.Errorf(rpw.ErrInvalid, "the query of the memory URL does not parse")
	}
	for name, values := range query {
		if name != "max_bytes" {
			return Options{}, rpw.Errorf(rpw.ErrInvalid, "unknown URL parameter %s; a memory URL knows max_bytes", rpw.QuoteName(name))
		}
		if opts.MaxBytes, err = strconv.ParseInt(values[0], 10, 64); err != nil || opts.MaxBytes < 1 || len(values) > 1 {
			return Options{}, rpw.Errorf(rpw.ErrInvalid, "the URL parameter max_bytes is one number of bytes, at least 1")
		}
	}
	return opts, nil
}

// share opens a named store, and closes it with the last Hub that has it open.
func (d *Driver) share(name string, opts Options) (rpw.Parts, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.named[name]
	switch {
	case s == nil:
		if d.named == nil {
			d.named = make(map[string]*namedStore)
		}
		s = &namedStore{Store: New(opts)}
		d.named[name] = s
	case opts.MaxBytes != 0 && opts.MaxBytes != s.max:
		return rpw.Parts{}, rpw.Errorf(rpw.ErrConflict, "the store %s is open with max_bytes=%d; give the same, or leave it out", rpw.QuoteName(name), s.max)
	}
	s.hubs++
	parts := s.Parts()
	parts.Close = func(context.Context) error {
		d.leave(name, s)
		return nil
	}
	return parts, nil
}

func (d *Driver) leave(name string, s *namedStore) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.hubs--; s.hubs == 0 {
		delete(d.named, name)
	}
}
