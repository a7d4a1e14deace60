package memory

import (
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
)

// DefaultMaxBytes is how much a Store holds unless Options say otherwise: 1 GiB.
const DefaultMaxBytes int64 = 1 << 30

// Options configure a Store. The zero Options are the defaults.
type Options struct {
	// MaxBytes bounds what the store holds: payloads, keys and headers, and an estimate of what it needs beside them. Beyond it
	// publish, set and enqueue are rpw.ErrFull with nothing done, while what frees memory or finishes work goes on.
	// 0 or less: DefaultMaxBytes.
	MaxBytes int64
}

// Store is the data of one backend in this process. Several Hubs may share it, each with Parts of its
// own; it needs no closing. Make one with New. It is safe for concurrent use.
type Store struct {
	max     int64
	used    atomic.Int64
	stamped atomic.Uint64 // the last incarnation or token of a group that is gone
	streams *streamStore
	cache   *cacheStore
	actions *actionStore
}

// New returns an empty store.
func New(opts Options) *Store {
	s := &Store{max: opts.MaxBytes}
	if s.max <= 0 {
		s.max = DefaultMaxBytes
	}
	s.streams = newStreamStore(s)
	s.cache = newCacheStore(s)
	s.actions = newActionStore(s)
	return s
}

// Parts returns the store as one Hub takes it: rpw.New(store.Parts()). Closing that Hub ends the calls that wait
// through it, and nothing else: the data stays, for the other Hubs and for new ones.
func (s *Store) Parts() rpw.Parts {
	return rpw.Parts{Name: "memory", Streams: s.streams, Cache: s.cache, Actions: s.actions, Local: true, Native: s}
}

// Flush drops all data, as Redis' FLUSHALL does: streams begin again with new epochs, so that their readers get a
// gap; groups, cache keys and actions are gone.
func (s *Store) Flush() {
	s.streams.flush()
	s.cache.flush()
	s.actions.flush()
}

// Used returns how many bytes the store holds, by the measure of Options.MaxBytes.
func (s *Store) Used() int64 { return s.used.Load() }

// reserve takes n bytes, or none if the store would be over its bound. Before it refuses it drops what has expired.
func (s *Store) reserve(n int) error {
	if n <= 0 || s.used.Add(int64(n)) <= s.max {
		return nil
	}
	s.cache.sweepAll(time.Now())
	s.streams.sweepAll(time.Now())
	s.actions.sweepAll()
	if s.used.Load() <= s.max {
		return nil
	}
	s.release(n)
	return rpw.Errorf(rpw.ErrFull, "the memory store holds at most %d bytes; delete or trim something, keep less, or raise max_bytes", s.max)
}

// charge takes n bytes also beyond the bound, for what must not fail for lack of memory.
func (s *Store) charge(n int) { s.used.Add(int64(n)) }

// release gives n bytes back.
func (s *Store) release(n int) { s.used.Add(-int64(n)) }

// stamp returns a number above all earlier stamps and at least now in µs.
func (s *Store) stamp(now time.Time) uint64 {
	for {
		last := s.stamped.Load()
		next := max(last+1, uint64(now.UnixMicro()))
		if s.stamped.CompareAndSwap(last, next) {
			return next
		}
	}
}

// stampAbove makes all later stamps greater than n.
func (s *Store) stampAbove(n uint64) {
	for {
		last := s.stamped.Load()
		if last >= n || s.stamped.CompareAndSwap(last, n) {
			return
		}
	}
}
