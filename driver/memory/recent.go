package memory

import (
	"time"

	"github.com/redis-process-worker/rpw"
)

// recent remembers values by key for rpw.RepeatWindow after they were last put, and of these the newest most
// (0: all). It prunes as it is used: each put and get drops a few that are too old, so neither ever scans.
// The zero recent is ready to use.
type recent[K comparable, V any] struct {
	most           int
	byKey          map[K]*memo[K, V]
	oldest, newest *memo[K, V]
}

type memo[K comparable, V any] struct {
	key        K
	value      V
	put        time.Time
	prev, next *memo[K, V] // towards the oldest, towards the newest
}

// pruneStep is how many outdated memos a call drops at most: more than it can add.
const pruneStep = 4

func (r *recent[K, V]) get(key K, now time.Time) (value V, ok bool) {
	r.prune(now)
	m := r.find(key)
	if m == nil || now.Sub(m.put) > rpw.RepeatWindow {
		return value, false
	}
	return m.value, true
}

// find looks at the newest memo first: most of the time there is but one caller.
func (r *recent[K, V]) find(key K) *memo[K, V] {
	if r.newest != nil && r.newest.key == key {
		return r.newest
	}
	return r.byKey[key]
}

func (r *recent[K, V]) put(key K, value V, now time.Time) {
	r.prune(now)
	m := r.find(key)
	switch {
	case m == nil:
		if r.byKey == nil {
			r.byKey = make(map[K]*memo[K, V])
		}
		if r.most > 0 && len(r.byKey) == r.most {
			r.drop(r.oldest)
		}
		m = &memo[K, V]{key: key}
		r.byKey[key] = m
	case m == r.newest:
		m.value, m.put = value, now
		return
	default:
		r.unlink(m)
	}
	m.value, m.put = value, now
	m.prev, m.next = r.newest, nil
	if r.newest == nil {
		r.oldest = m
	} else {
		r.newest.next = m
	}
	r.newest = m
}

func (r *recent[K, V]) prune(now time.Time) {
	for range pruneStep {
		if r.oldest == nil || now.Sub(r.oldest.put) <= rpw.RepeatWindow {
			return
		}
		r.drop(r.oldest)
	}
}

func (r *recent[K, V]) drop(m *memo[K, V]) {
	r.unlink(m)
	delete(r.byKey, m.key)
}

func (r *recent[K, V]) unlink(m *memo[K, V]) {
	if m.prev == nil {
		r.oldest = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		r.newest = m.prev
	} else {
		m.next.prev = m.prev
	}
}
