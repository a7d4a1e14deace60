package conformance

import (
	"math"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// cacheModel is a map.
type cacheModel struct {
	*world
	values map[string]modelValue
}

type modelValue struct {
	data string
	ends time.Time // zero: never
}

var cacheKeys = []string{"a", "b", "c"}

func newCacheModel(w *world) *cacheModel { return &cacheModel{w, make(map[string]modelValue)} }

func (m *cacheModel) verbs() map[string]func() {
	return map[string]func(){"cache set": m.set, "cache delete": m.remove, "cache increment": m.increment}
}

// at is the value of a key now.
func (m *cacheModel) at(key string) (modelValue, bool) {
	v, ok := m.values[key]
	if ok && !v.ends.IsZero() && !v.ends.After(time.Now()) {
		delete(m.values, key)
		return modelValue{}, false
	}
	return v, ok
}

// put stores a value with a TTL that may keep the old one's end.
func (m *cacheModel) put(key, data string, ttl time.Duration) {
	old, _ := m.at(key)
	v := modelValue{data: data}
	switch ttl {
	case rpw.NoTTL:
	case rpw.KeepTTL:
		v.ends = old.ends
	default:
		v.ends = time.Now().Add(ttl)
	}
	m.values[key] = v
}

// holds tells whether a condition holds.
func (m *cacheModel) holds(key string, when rpw.When, old string) bool {
	v, ok := m.at(key)
	switch when {
	case rpw.IfAbsent:
		return !ok
	case rpw.IfPresent:
		return ok
	case rpw.IfEqual:
		return ok && v.data == old
	}
	return true
}

func (m *cacheModel) text() string {
	return pick(m.world, "text", "", "x", "y", "7", strconv.Itoa(math.MaxInt64))
}

func (m *cacheModel) ttl() time.Duration {
	return pick(m.world, "ttl", rpw.NoTTL, rpw.KeepTTL, m.short, long)
}

func (m *cacheModel) set() {
	var items []rpw.CacheSet
	var want []string
	for range m.number("items", 1, 2) {
		item := rpw.CacheSet{Key: pick(m.world, "key", cacheKeys...), Data: []byte(m.text()), TTL: m.ttl(), Old: []byte(m.text()),
			When: pick(m.world, "when", rpw.Always, rpw.IfAbsent, rpw.IfPresent, rpw.IfEqual)}
		items = append(items, item)
		if m.holds(item.Key, item.When, string(item.Old)) {
			m.put(item.Key, string(item.Data), item.TTL)
			want = append(want, "")
		} else {
			want = append(want, "conflict")
		}
	}
	errs, err := m.hub.Cache().Set(m.ctx, items)
	m.code("", err)
	for i := range want {
		m.code(want[i], errs[i], "set", items[i])
	}
}

func (m *cacheModel) remove() {
	item := rpw.CacheDelete{Key: pick(m.world, "key", cacheKeys...), When: pick(m.world, "when", rpw.Always, rpw.IfEqual), Old: []byte(m.text())}
	_, there := m.at(item.Key)
	holds := m.holds(item.Key, item.When, string(item.Old))
	answers, err := m.hub.Cache().Delete(m.ctx, []rpw.CacheDelete{item})
	m.code("", err)
	if !holds {
		m.code("conflict", answers[0].Err, "delete", item)
		return
	}
	m.code("", answers[0].Err, "delete", item)
	require.Equal(m, there, answers[0].Deleted)
	delete(m.values, item.Key)
}

func (m *cacheModel) increment() {
	item := rpw.CacheIncrement{Key: pick(m.world, "key", cacheKeys...), By: pick(m.world, "by", int64(0), 1, -3, math.MaxInt64, math.MinInt64), TTL: m.ttl()}
	answers, err := m.hub.Cache().Increment(m.ctx, []rpw.CacheIncrement{item})
	m.code("", err)
	v, there := m.at(item.Key)
	n, bad := int64(0), error(nil)
	if there {
		n, bad = strconv.ParseInt(v.data, 10, 64)
	}
	if bad != nil || item.By > 0 && n > math.MaxInt64-item.By || item.By < 0 && n < math.MinInt64-item.By {
		m.code("conflict", answers[0].Err, "increment", item)
		return
	}
	m.code("", answers[0].Err, "increment", item)
	require.Equal(m, n+item.By, answers[0].Value)
	m.put(item.Key, strconv.FormatInt(n+item.By, 10), item.TTL)
}

func (m *cacheModel) check() {
	answers, err := m.hub.Cache().Get(m.ctx, rpw.GetRequest{Keys: cacheKeys})
	m.code("", err)
	for i, key := range cacheKeys {
		v, there := m.at(key)
		require.Equal(m, there, answers[i].Found, key)
		if !there {
			continue
		}
		require.Equal(m, v.data, string(answers[i].Data), key)
		if v.ends.IsZero() {
			require.Equal(m, rpw.NoTTL, answers[i].TTL, key)
		} else {
			require.InDelta(m, time.Until(v.ends).Seconds(), answers[i].TTL.Seconds(), m.blur(), key)
		}
	}
}

// blur is by how many seconds times of the store may be off.
func (w *world) blur() float64 {
	if w.bubble {
		return 0.001
	}
	return 60
}
