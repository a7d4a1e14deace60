package memory

import (
	"bytes"
	"context"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redis-process-worker/rpw"
)

// cacheStore implements rpw.Cache. Keys are spread over shards, each with a lock of its own. Values are
// never written again, so they are handed out as they are.
type cacheStore struct {
	store  *Store
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

// cacheShards is how many shards a cache has.
const cacheShards = 32

var _ rpw.Cache = (*cacheStore)(nil)

func newCacheStore(store *Store) *cacheStore {
	c := &cacheStore{store: store, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].init(store)
	}
	return c
}

func (c *cacheStore) shard(key string) *cacheShard {
	return &c.shards[maphash.String(c.seed, key)%cacheShards]
}

// Get implements rpw.Cache. There is no near cache, so every answer is exact.
func (c *cacheStore) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	values := make([]rpw.Value, len(req.Keys))
	for i, key := range req.Keys {
		values[i] = c.shard(key).get(key, now)
	}
	return values, nil
}

// Set implements rpw.Cache.
func (c *cacheStore) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	errs := make([]error, len(items))
	for i := range items {
		errs[i] = c.shard(items[i].Key).set(&items[i], now)
	}
	return errs, nil
}

// Delete implements rpw.Cache.
func (c *cacheStore) Delete(ctx context.Context, items []rpw.CacheDelete) ([]rpw.CacheDeleted, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	answers := make([]rpw.CacheDeleted, len(items))
	for i := range items {
		answers[i] = c.shard(items[i].Key).delete(&items[i], now)
	}
	return answers, nil
}

// Increment implements rpw.Cache.
func (c *cacheStore) Increment(ctx context.Context, items []rpw.CacheIncrement) ([]rpw.Counter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	answers := make([]rpw.Counter, len(items))
	for i := range items {
		answers[i].Value, answers[i].Err = c.shard(items[i].Key).increment(&items[i], now)
	}
	return answers, nil
}

func (c *cacheStore) flush() {
	for i := range c.shards {
		c.shards[i].flush()
	}
}

// sweepAll drops what has expired. It passes over shards in use, among them the caller's own: their writers sweep them.
func (c *cacheStore) sweepAll(now time.Time) {
	for i := range c.shards {
		if s := &c.shards[i]; s.mu.TryLock() {
			s.sweep(now, math.MaxInt)
			s.mu.Unlock()
		}
	}
}

func (s *cacheShard) get(key string, now time.Time) rpw.Value {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.find(key, now)
	if e == nil {
		return rpw.Value{}
	}
	return rpw.Value{Data: e.data, Found: true, TTL: e.ttl(now)}
}

func (s *cacheShard) set(item *rpw.CacheSet, now time.Time) error {
	data := slices.Clip(bytes.Clone(item.Data)) // full, so that an append by a reader copies
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now, sweepStep)
	e := s.find(item.Key, now)
	if err := holds(e, item.When, item.Old); err != nil {
		return err
	}
	return s.put(e, item.Key, data, item.TTL, now)
}

func (s *cacheShard) delete(item *rpw.CacheDelete, now time.Time) rpw.CacheDeleted {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now, sweepStep)
	e := s.find(item.Key, now)
	if err := holds(e, item.When, item.Old); err != nil {
		return rpw.CacheDeleted{Err: err}
	}
	if e != nil {
		s.drop(e)
	}
	return rpw.CacheDeleted{Deleted: e != nil}
}

// holds checks the condition of a write against the entry, nil if there is none.
func holds(e *cacheEntry, when rpw.When, old []byte) error {
	switch {
	case when == rpw.IfAbsent && e != nil:
		return rpw.Errorf(rpw.ErrConflict, "the key exists")
	case when == rpw.IfPresent && e == nil:
		return rpw.Errorf(rpw.ErrConflict, "the key does not exist")
	case when == rpw.IfEqual && e == nil:
		return rpw.Errorf(rpw.ErrConflict, "the key does not exist, so it does not hold the expected value")
	case when == rpw.IfEqual && !bytes.Equal(e.data, old):
		return rpw.Errorf(rpw.ErrConflict, "the key holds another value than expected; read it again")
	}
	return nil
}

func (s *cacheShard) increment(item *rpw.CacheIncrement, now time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now, sweepStep)
	e := s.find(item.Key, now)
	var n int64
	if e != nil {
		var err error
		if n, err = strconv.ParseInt(string(e.data), 10, 64); err != nil || strconv.FormatInt(n, 10) != string(e.data) {
			return 0, rpw.Errorf(rpw.ErrConflict, "the key holds no counter (decimal text of 64 bits)")
		}
	}
	sum := n + item.By
	if (sum > n) != (item.By > 0) && item.By != 0 {
		return 0, rpw.Errorf(rpw.ErrConflict, "the counter is %d; adding %d overflows 64 bits", n, item.By)
	}
	return sum, s.put(e, item.Key, []byte(strconv.FormatInt(sum, 10)), item.TTL, now)
}

// put stores data under a key whose entry, if any, is e.
func (s *cacheShard) put(e *cacheEntry, key string, data []byte, ttl time.Duration, now time.Time) error {
	grown := len(data)
	if e == nil {
		grown += len(key) + entryOverhead
	} else {
		grown -= len(e.data)
	}
	if grown <= 0 {
		s.store.release(-grown)
	} else if err := s.store.reserve(grown); err != nil {
		return err
	}
	if e == nil {
		e = s.insert(key)
	}
	e.data = data
	if ttl != rpw.KeepTTL {
		s.expireAt(e, expiry(ttl, now))
	}
	return nil
}

// expiry is when a value of this TTL ends: whole milliseconds from now, the zero Time for no end.
func expiry(ttl time.Duration, now time.Time) time.Time {
	if ttl <= 0 {
		return time.Time{}
	}
	return now.Add(ceilMS(ttl))
}

// ceilMS rounds a positive duration up to whole milliseconds.
func ceilMS(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}
