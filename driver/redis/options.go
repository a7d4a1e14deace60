package redis

import (
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Options configure a backend. The zero Options are the defaults; each has a URL parameter of the same name.
type Options struct {
	// Prefix begins every key and channel, so that several programs can share a server. It is one name without ":"; "" is DefaultPrefix. With
	// the original's layout it may hold ":", and "" is no prefix at all.
	Prefix string
	// Original chooses the flat keys of the original redis-process-worker, for programs that share streams and cache with
	// it: layout=original.
	Original bool
	// IgnoreForeign leaves out what finds events that were added by others than rpw, with a plain XADD: foreign=off. They are read all
	// the same, but wake nobody.
	IgnoreForeign bool
	// Replicas is how many replicas must have a write before it is acknowledged, up to 100: durability=replicated, replicas=N. 0 is
	// durability=async: a write is acknowledged when the server has it, and a failover may lose it.
	Replicas int
	// NearCache is how many bytes of values are kept in this process for reads with MaxStale; 0 is DefaultNearCache, less than 0 none: near.
	NearCache int
	// Timeout bounds each round trip to the server; 0 is DefaultTimeout, from 100 ms to 1 min.
	Timeout time.Duration
	// AllowEviction accepts a server that may evict keys when its memory is full, which loses data silently: eviction=allow.
	AllowEviction bool

	notify func(rpw.Notice) // nil: nobody
	redial func()           // breaks all connections, since the server is not the master any more; nil: not ours to do
	sender *sender          // that knows of broken connections; nil: one that finds out
}

// Defaults of Options.
const (
	DefaultPrefix    = "rpw"
	DefaultTimeout   = 5 * time.Second
	DefaultNearCache = 16 << 20
)

// check fills in the defaults, and says what is wrong.
func (o *Options) check() error {
	if o.Prefix == "" && !o.Original {
		o.Prefix = DefaultPrefix
	}
	if o.Prefix != "" {
		if err := rpw.CheckName("prefix", o.Prefix); err != nil {
			return err
		}
		if !o.Original && strings.Contains(o.Prefix, ":") {
			return rpw.Errorf(rpw.ErrInvalid, `prefix %s holds ":", so its keys could be those of another prefix; use another character, or a namespace`, rpw.QuoteName(o.Prefix))
		}
	}
	if o.Replicas < 0 || o.Replicas > 100 {
		return rpw.Errorf(rpw.ErrInvalid, "replicas is %d; it must be from 1 to 100, or 0 for none", o.Replicas)
	}
	if o.NearCache == 0 {
		o.NearCache = DefaultNearCache
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Timeout < 100*time.Millisecond || o.Timeout > time.Minute {
		return rpw.Errorf(rpw.ErrInvalid, "timeout is %v; it must be from 100ms to 1m", o.Timeout)
	}
	if o.notify == nil {
		o.notify = func(rpw.Notice) {}
	}
	if o.redial == nil {
		o.redial = func() {}
	}
	if o.sender == nil {
		o.sender = new(sender)
	}
	return nil
}
