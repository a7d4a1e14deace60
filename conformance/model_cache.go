package conformance

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// cacheModel is a map.
type cacheModel struct {
	*world
	values map[string]modelValue
	lost   bool // data was lost behind the back of a near cache
}

type modelValue struct {
	data string
	ends time.Time // zero: never
}

var cacheKeys = []string{"a", "ab/ü", "c d"}

func newCacheModel(w *world) *cacheModel {
	return &cacheModel{world: w, values: make(map[string]modelValue)}
}

func (m *cacheModel) verbs() map[string]func() {
	return map[string]func(){"cache set": m.set, "cache delete": m.remove, "cache increment": m.increment, "cache get near": m.near, "cache scan": m.scan}
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
	return pick(m.world, "text", "", "x\x00\xff\r\n", "7", strconv.Itoa(math.MaxInt64))
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

func (m *cacheModel) flushed() {
	clear(m.values)
	m.lost = true
}

func (m *cacheModel) scan() {
	req := rpw.ScanRequest{Prefix: pick(m.world, "prefix", "", "a", "other"), Max: m.number("max", 1, 3)}
	seen := make(map[string]bool)
	for {
		page, err := m.hub.Cache().Scan(m.ctx, req)
		m.code("", err)
		for _, key := range page.Keys {
			seen[key] = true
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			break
		}
	}
	for _, key := range cacheKeys {
		_, there := m.at(key)
		require.Equal(m, there && strings.HasPrefix(key, req.Prefix), seen[key], key)
		delete(seen, key)
	}
	require.Empty(m, seen, "keys of nobody")
}

// near reads what the hub itself has written.
func (m *cacheModel) near() {
	if m.bubble || !m.lost {
		m.get(rpw.GetRequest{Keys: cacheKeys, MaxStale: time.Second})
	}
}

func (m *cacheModel) check() { m.get(rpw.GetRequest{Keys: cacheKeys}) }

func (m *cacheModel) get(req rpw.GetRequest) {
	answers, err := m.hub.Cache().Get(m.ctx, req)
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
