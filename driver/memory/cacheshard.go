package memory

import (
	"slices"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// cacheShard is a part of the cache. Expired entries are absent to everyone, and dropped by the writes that follow.
type cacheShard struct {
	store *Store

	mu      sync.RWMutex
	byKey   map[string]*cacheEntry
	expires heap[*cacheEntry] // those that will

	// Scans walk the entries in order of insertion, which nothing changes while a key lives.
	inserted []*cacheEntry // with tombstones, no more than the living (or a page)
	next     uint64        // the sequence number of the next one
}

type cacheEntry struct {
	key   string
	data  []byte
	until time.Time // zero: no end
	seq   uint64    // of the insertion
	gone  bool      // a tombstone in inserted
	place int
}

const (
	entryOverhead = 192 // about what an entry costs beside key and data
	sweepStep     = 4   // expired entries that a write drops at most: more than it can add
)

func (s *cacheShard) init(store *Store) {
	s.store = store
	s.byKey = make(map[string]*cacheEntry)
	s.expires.less = func(a, b *cacheEntry) bool { return a.until.Before(b.until) }
	s.expires.place = func(e *cacheEntry) *int { return &e.place }
}

func (e *cacheEntry) expired(now time.Time) bool { return !e.until.IsZero() && !e.until.After(now) }

// ttl is what remains, in whole milliseconds.
func (e *cacheEntry) ttl(now time.Time) time.Duration {
	if e.until.IsZero() {
		return rpw.NoTTL
	}
	return ceilMS(e.until.Sub(now))
}

// find returns the entry of a key, nil if there is none or it has expired.
func (s *cacheShard) find(key string, now time.Time) *cacheEntry {
	if e := s.byKey[key]; e != nil && !e.expired(now) {
		return e
	}
	return nil
}

// insert makes an entry for a key that find did not find.
func (s *cacheShard) insert(key string) *cacheEntry {
	if old := s.byKey[key]; old != nil { // expired, but not swept yet
		s.drop(old)
	}
	e := &cacheEntry{key: key, seq: s.next}
	s.next++
	s.byKey[key] = e
	s.inserted = append(s.inserted, e)
	return e
}

func (s *cacheShard) expireAt(e *cacheEntry, until time.Time) {
	was := e.until
	e.until = until
	switch {
	case was.IsZero() && until.IsZero():
	case was.IsZero():
		s.expires.push(e)
	case until.IsZero():
		s.expires.remove(e)
	default:
		s.expires.fix(e)
	}
}

func (s *cacheShard) drop(e *cacheEntry) {
	s.expireAt(e, time.Time{})
	s.store.release(len(e.key) + len(e.data) + entryOverhead)
	delete(s.byKey, e.key)
	*e = cacheEntry{seq: e.seq, gone: true}
	if dead := len(s.inserted) - len(s.byKey); dead > max(len(s.byKey), rpw.MaxPage) {
		s.inserted = slices.DeleteFunc(s.inserted, func(e *cacheEntry) bool { return e.gone })
	}
}

// sweep drops up to most expired entries.
func (s *cacheShard) sweep(now time.Time, most int) {
	for ; most > 0 && s.expires.len() > 0 && s.expires.first().expired(now); most-- {
		s.drop(s.expires.first())
	}
}

func (s *cacheShard) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.inserted {
		if !e.gone {
			s.store.release(len(e.key) + len(e.data) + entryOverhead)
		}
	}
	clear(s.byKey)
	s.expires.items, s.inserted = nil, nil
}
