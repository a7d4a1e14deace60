package rpw

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// registry is the only state of the package: which driver serves which scheme.
var registry struct {
	sync.RWMutex
	drivers map[string]Driver
}

// imports names the package to import for the schemes of rpw's own drivers, for the error of Open.
var imports = map[string]string{
	"memory":         "github.com/redis-process-worker/rpw/driver/memory",
	"redis":          "github.com/redis-process-worker/rpw/driver/redis",
	"rediss":         "github.com/redis-process-worker/rpw/driver/redis",
	"redis+unix":     "github.com/redis-process-worker/rpw/driver/redis",
	"redis+sentinel": "github.com/redis-process-worker/rpw/driver/redis",
	"redis+cluster":  "github.com/redis-process-worker/rpw/driver/redis",
	"ws":             "github.com/redis-process-worker/rpw/socket",
	"wss":            "github.com/redis-process-worker/rpw/socket",
}

// Register makes a driver known under a URL scheme. It is called from the init of the driver's package, and
// panics if the scheme is taken or d is nil.
func Register(scheme string, d Driver) {
	registry.Lock()
	defer registry.Unlock()
	if d == nil {
		panic("rpw: Register of a nil driver for scheme " + scheme)
	}
	if _, taken := registry.drivers[scheme]; taken {
		panic("rpw: Register called twice for scheme " + scheme)
	}
	if registry.drivers == nil {
		registry.drivers = make(map[string]Driver)
	}
	registry.drivers[scheme] = d
}

// Schemes lists the registered URL schemes, sorted.
func Schemes() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.drivers))
}

// Open opens the backend that rawURL names with the driver registered for its scheme, and returns a Hub over it.
//
//	memory://                   a fresh in-process store
//	memory://name               an in-process store shared by all who open this name
//	redis://host:6379/0         Redis; also rediss, redis+unix, redis+sentinel, redis+cluster
//	wss://host/ws               a remote rpw
//
// The query parameter namespace is the Hub's own, on every driver: see WithNamespace. The other parameters are the driver's, and described there;
// an unknown one is an error. No error of Open holds the URL, since that may hold a password.
//
// A backend that cannot be reached is ErrUnavailable, at once: a program that may start before its backend tries again. Once open, a Hub
// lives through outages. ctx bounds the opening only.
func Open(ctx context.Context, rawURL string, opts ...Option) (*Hub, error) {
	fail := func(err error) (*Hub, error) {
		return nil, &Error{Op: "open", Kind: kindOf(err), Err: explain(err)}
	}
	if ctx == nil {
		return fail(Errorf(ErrInvalid, "the context is nil"))
	}
	u, err := url.Parse(rawURL)
	if err != nil { // its text would hold the URL
		return fail(Errorf(ErrInvalid, "the backend URL does not parse; its form is scheme://[user:password@]host/..., with special characters in user and password escaped as %%XX"))
	}
	registry.RLock()
	d := registry.drivers[u.Scheme]
	registry.RUnlock()
	if d == nil {
		return fail(unknownScheme(u.Scheme))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail(Errorf(ErrInvalid, "the query of the backend URL does not parse"))
	}
	if values, ok := query["namespace"]; ok {
		if len(values) != 1 {
			return fail(Errorf(ErrInvalid, "the URL parameter namespace is given %d times", len(values)))
		}
		opts = append([]Option{WithNamespace(values[0])}, opts...)
		query.Del("namespace")
		u.RawQuery = query.Encode()
	}
	h, err := newHub(opts)
	if err != nil {
		return fail(err)
	}
	parts, err := d.Open(ctx, OpenRequest{URL: u, Notify: h.notify})
	if err != nil {
		return fail(err)
	}
	if err := h.use(parts); err != nil {
		if parts.Close != nil {
			parts.Close(ctx)
		}
		return fail(err)
	}
	return h, nil
}

func unknownScheme(scheme string) error {
	known := strings.Join(Schemes(), ", ")
	if known == "" {
		known = "none"
	}
	if scheme == "" {
		return Errorf(ErrInvalid, "the backend URL has no scheme; registered: %s", known)
	}
	if path, ok := imports[scheme]; ok {
		return Errorf(ErrInvalid, "no driver is registered for %s; add to your program: import _ %q (registered: %s)", QuoteName(scheme), path, known)
	}
	return Errorf(ErrInvalid, "unknown scheme %s; registered: %s", QuoteName(scheme), known)
}
