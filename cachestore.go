package rpw

import (
	"context"
	"time"
)

// Cache is the contract of a driver for the shared cache: bytes by key, with a time to live. The
// rules of StreamBus for every method hold here too. Users find typed helpers in Get, Set, Update, Load and Repo.
type Cache interface {
	// Get returns the values of keys, one answer each. A miss is an answer (Found is false), not an error.
	Get(ctx context.Context, req GetRequest) ([]Value, error)
	// Set stores values; a condition that does not hold is the item's ErrConflict, and changes nothing.
	Set(ctx context.Context, items []CacheSet) ([]error, error)
	// Delete removes keys and says of each whether it was there; a condition that does not hold is ErrConflict.
	Delete(ctx context.Context, items []CacheDelete) ([]CacheDeleted, error)
	// Increment adds to counters (decimal int64 text; an absent one is 0). A value that is no counter, or an overflow, is ErrConflict.
	Increment(ctx context.Context, items []CacheIncrement) ([]Counter, error)
	// Scan returns keys in pages, in no order. Each key that lived from the first page to the last is returned at least
	// once; the iterator Keys returns it once. It never blocks the store for long.
	Scan(ctx context.Context, req ScanRequest) (ScanPage, error)
}

// NearCache is what a Cache can be beside the contract: one that holds values in this process. A Hub asks it first, since
// what takes no time needs none of what a call to a backend does. It goes without where an observer is to see each call.
type NearCache interface {
	// GetNear is a Get with MaxStale that asks no server; false: it would have to.
	GetNear(req GetRequest) ([]Value, bool)
}

// How long a cache value lives, beside positive durations: whole milliseconds (a fraction is rounded up) up to MaxTTL.
const (
	NoTTL   time.Duration = -1 // until deleted
	KeepTTL time.Duration = -2 // as long as the value it replaces; NoTTL if there is none
	MaxTTL                = 10 * 365 * 24 * time.Hour
)

// GetRequest asks for the values of keys, 1 to MaxBatch.
type GetRequest struct {
	Keys []string
	// MaxStale > 0 allows an answer from a near cache that may be this old at most (a driver may have a
	// tighter bound of its own). 0 asks the store. A driver without a near cache is always exact.
	MaxStale time.Duration
}

// Value is what a key holds. Do not write into Data.
type Value struct {
	Data  []byte
	Found bool
	TTL   time.Duration // what remains of it, by the store's clock, at least 1 ms; NoTTL: no end
}

// When is the condition of a write.
type When uint8

// The conditions.
const (
	Always    When = iota
	IfAbsent       // the key does not exist
	IfPresent      // the key exists
	IfEqual        // the key exists with exactly the bytes of Old
)

// CacheSet stores one value.
type CacheSet struct {
	Key  string
	Data []byte // at most MaxPayload; may be empty, which is not absent
	TTL  time.Duration
	When When
	Old  []byte // of IfEqual
}

// CacheDelete removes one key.
type CacheDelete struct {
	Key  string
	When When   // Always or IfEqual
	Old  []byte // of IfEqual
}

// CacheDeleted answers a CacheDelete.
type CacheDeleted struct {
	Deleted bool // the key was there
	Err     error
}

// CacheIncrement adds By, which may be negative or 0, to a counter.
type CacheIncrement struct {
	Key string
	By  int64
	TTL time.Duration // of a counter that is created by this call; KeepTTL leaves an existing one's alone, any other value sets it
}

// Counter answers a CacheIncrement.
type Counter struct {
	Value int64
	Err   error
}

// ScanRequest asks for a page of keys.
type ScanRequest struct {
	Prefix string // only keys that begin so; "": all of the Hub's namespace
	Cursor string // the Next of the page before; opaque
	Max    int    // about how many; 0 or above MaxPage: MaxPage
}

// ScanPage is a page of keys. A page may be empty and not the last; Next is "" on the last.
type ScanPage struct {
	Keys []string
	Next string
}
