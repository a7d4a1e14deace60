package redis

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// nearShards is how many shards the values are spread over.
const nearShards = 16

// nearOverhead is about what an entry takes beside key and value.
const nearOverhead = 256

// nearValues are the values of a nearNode, by cache key. Reads take no lock.
type nearValues struct {
	prefix string   // of the keys in the store
	absent bool     // keys that are not there are kept, too
	byKey  sync.Map // of *nearEntry: what the shards have, for reads
	seed   maphash.Seed
	shards [nearShards]nearShard
}

// nearShard is a map with a bound in bytes. Beyond it entries go in no order, those lately read last.
type nearShard struct {
	all     *nearValues
	mu      sync.Mutex
	max     int
	size    int
	entries map[string]*nearEntry
	loads   map[string]*nearLoad // keys that are on their way
	now     uint64               // counts begun loads and changes
}

type nearEntry struct {
	value rpw.Value
	ends  time.Time // zero: never
	size  int
	read  atomic.Bool // since the last search for something to drop
}

// nearLoad notes the changes to a key while it is being read, so that no value is kept that was replaced meanwhile.
type nearLoad struct {
	readers int
	changed uint64
}

func newNearValues(prefix string, maxBytes int) *nearValues {
	v := &nearValues{prefix: prefix, seed: maphash.MakeSeed()}
	for i := range v.shards {
		v.shards[i] = nearShard{all: v, max: maxBytes / nearShards, entries: make(map[string]*nearEntry), loads: make(map[string]*nearLoad)}
	}
	return v
}

func (v *nearValues) shard(key string) *nearShard {
	return &v.shards[maphash.String(v.seed, key)%nearShards]
}

// get gives a value that has not lapsed, into value; false: there is none.
func (v *nearValues) get(key string, now time.Time, value *rpw.Value) bool {
	found, ok := v.byKey.Load(key)
	if !ok {
		return false
	}
	e := found.(*nearEntry)
	ttl := e.value.TTL
	if !e.ends.IsZero() {
		if ttl = -age(now, e.ends); ttl <= 0 {
			return false
		}
	}
	*value = e.value
	value.TTL = ttl
	if !e.read.Load() {
		e.read.Store(true)
	}
	return true
}

// begin notes that keys are being read, and gives the place of each read among the changes.
func (v *nearValues) begin(keys []string) []uint64 {
	begun := make([]uint64, len(keys))
	for i, key := range keys {
		begun[i] = v.shard(key).begin(key)
	}
	return begun
}

func (s *nearShard) begin(key string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.loads[key]
	if l == nil {
		l = new(nearLoad)
		s.loads[key] = l
	}
	l.readers++
	s.now++
	return s.now
}

// finish keeps what was read by a command sent then, but for keys that changed since; values may be missing.
func (v *nearValues) finish(keys []string, begun []uint64, values []rpw.Value, sent time.Time) {
	for i, key := range keys {
		var value *rpw.Value
		if i < len(values) {
			value = &values[i]
		}
		v.shard(key).finish(key, begun[i], value, sent)
	}
}

func (s *nearShard) finish(key string, begun uint64, value *rpw.Value, sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.loads[key]
	if l.readers--; l.readers == 0 {
		delete(s.loads, key)
	}
	if value == nil || l.changed > begun || !value.Found && !s.all.absent {
		return
	}
	e := &nearEntry{value: *value, size: len(key) + len(value.Data) + nearOverhead}
	if value.Found && value.TTL > 0 {
		e.ends = sent.Add(value.TTL)
	}
	s.remove(key)
	if e.size > s.max/4 {
		return
	}
	s.entries[key] = e
	s.all.byKey.Store(key, e)
	s.size += e.size
	s.evict()
}

// evict makes room: entries that were not read since it came by the last time go.
func (s *nearShard) evict() {
	for key, e := range s.entries {
		if s.size <= s.max {
			return
		}
		if !e.read.Swap(false) {
			s.remove(key)
		}
	}
	for key := range s.entries { // all of them were read
		if s.size <= s.max {
			return
		}
		s.remove(key)
	}
}

func (s *nearShard) remove(key string) {
	if e := s.entries[key]; e != nil {
		s.size -= e.size
		delete(s.entries, key)
		s.all.byKey.Delete(key)
	}
}

// drop forgets keys, and what is on its way of them.
func (v *nearValues) drop(keys []string) {
	for _, key := range keys {
		s := v.shard(key)
		s.mu.Lock()
		s.change(key)
		s.mu.Unlock()
	}
}

func (s *nearShard) change(key string) {
	s.remove(key)
	if l := s.loads[key]; l != nil {
		s.now++
		l.changed = s.now
	}
}

// clear forgets everything.
func (v *nearValues) clear() {
	for i := range v.shards {
		s := &v.shards[i]
		s.mu.Lock()
		for key := range s.entries {
			s.remove(key)
		}
		for key := range s.loads {
			s.change(key)
		}
		s.mu.Unlock()
	}
}

// invalidate takes what the server tells: keys that changed, or nil for all. It runs on the connection's reader.
func (v *nearValues) invalidate(changed []rueidis.RedisMessage) {
	if changed == nil {
		v.clear()
		return
	}
	for _, m := range changed {
		if full, err := m.ToString(); err == nil {
			v.drop([]string{strings.TrimPrefix(full, v.prefix)})
		}
	}
}
