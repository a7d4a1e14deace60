package memory

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

type cache struct {
	t require.TestingT
	*cacheStore
}

func newCache(t require.TestingT) cache { return cache{t, New(Options{}).cache} }

func (c cache) set(item rpw.CacheSet) error {
	errs, err := c.Set(context.Background(), []rpw.CacheSet{item})
	require.NoError(c.t, err)
	return errs[0]
}

func (c cache) put(key, data string, ttl time.Duration) {
	require.NoError(c.t, c.set(rpw.CacheSet{Key: key, Data: []byte(data), TTL: ttl}))
}

func (c cache) get(key string) rpw.Value {
	values, err := c.Get(context.Background(), rpw.GetRequest{Keys: []string{key}})
	require.NoError(c.t, err)
	return values[0]
}

func (c cache) delete(item rpw.CacheDelete) (bool, error) {
	answers, err := c.Delete(context.Background(), []rpw.CacheDelete{item})
	require.NoError(c.t, err)
	return answers[0].Deleted, answers[0].Err
}

func (c cache) increment(item rpw.CacheIncrement) (int64, error) {
	answers, err := c.Increment(context.Background(), []rpw.CacheIncrement{item})
	require.NoError(c.t, err)
	return answers[0].Value, answers[0].Err
}

// scan goes through all pages and runs between after each.
func (c cache) scan(req rpw.ScanRequest, between func()) (keys []string) {
	for {
		page, err := c.Scan(context.Background(), req)
		require.NoError(c.t, err)
		keys = append(keys, page.Keys...)
		if req.Cursor = page.Next; page.Next == "" {
			return keys
		}
		between()
	}
}

func TestValuesLiveAsLongAsTheyShould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		c.put("k", "v", 1500*time.Microsecond)
		assert.Equal(t, 2*time.Millisecond, c.get("k").TTL)
		time.Sleep(2*time.Millisecond - 1)
		assert.Equal(t, rpw.Value{Data: []byte("v"), Found: true, TTL: time.Millisecond}, c.get("k"))
		time.Sleep(1 * time.Nanosecond)
		assert.Equal(t, rpw.Value{}, c.get("k"))
		require.NoError(t, c.set(rpw.CacheSet{Key: "k", When: rpw.IfAbsent, TTL: rpw.KeepTTL}))
		assert.Equal(t, rpw.NoTTL, c.get("k").TTL, "the TTL of a value that was gone was kept")

		c.put("k", "v", time.Minute)
		time.Sleep(time.Second)
		c.put("k", "w", rpw.KeepTTL)
		assert.Equal(t, 59*time.Second, c.get("k").TTL)
		c.put("k", "w", rpw.NoTTL)
		assert.Equal(t, rpw.NoTTL, c.get("k").TTL)
	})
}

func TestConditions(t *testing.T) {
	c := newCache(t)
	item := func(when rpw.When, old string) rpw.CacheSet {
		return rpw.CacheSet{Key: "k", Data: []byte("v"), TTL: rpw.NoTTL, When: when, Old: []byte(old)}
	}
	assert.ErrorIs(t, c.set(item(rpw.IfPresent, "")), rpw.ErrConflict)
	assert.ErrorIs(t, c.set(item(rpw.IfEqual, "")), rpw.ErrConflict)
	require.NoError(t, c.set(item(rpw.IfAbsent, "")))
	assert.ErrorIs(t, c.set(item(rpw.IfAbsent, "")), rpw.ErrConflict)
	require.NoError(t, c.set(item(rpw.IfPresent, "")))
	assert.ErrorIs(t, c.set(item(rpw.IfEqual, "w")), rpw.ErrConflict)
	require.NoError(t, c.set(item(rpw.IfEqual, "v")))

	_, err := c.delete(rpw.CacheDelete{Key: "k", When: rpw.IfEqual, Old: []byte("w")})
	assert.ErrorIs(t, err, rpw.ErrConflict)
	deleted, err := c.delete(rpw.CacheDelete{Key: "k", When: rpw.IfEqual, Old: []byte("v")})
	require.NoError(t, err)
	assert.True(t, deleted)
	deleted, err = c.delete(rpw.CacheDelete{Key: "k"})
	require.NoError(t, err)
	assert.False(t, deleted)
	assert.Zero(t, c.store.Used())
}

func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		n, err := c.increment(rpw.CacheIncrement{Key: "n", By: -5, TTL: time.Minute})
		require.NoError(t, err)
		assert.EqualValues(t, -5, n)
		time.Sleep(time.Second)
		_, err = c.increment(rpw.CacheIncrement{Key: "n", TTL: rpw.KeepTTL})
		require.NoError(t, err)
		assert.Equal(t, 59*time.Second, c.get("n").TTL)
		_, err = c.increment(rpw.CacheIncrement{Key: "n", By: math.MaxInt64, TTL: rpw.NoTTL})
		require.NoError(t, err)
		assert.Equal(t, rpw.NoTTL, c.get("n").TTL)
		for _, by := range []int64{6, math.MaxInt64} {
			_, err = c.increment(rpw.CacheIncrement{Key: "n", By: by, TTL: rpw.KeepTTL})
			require.ErrorIs(t, err, rpw.ErrConflict, "overflow by %d", by)
		}
		c.put("low", fmt.Sprint(int64(math.MinInt64)), rpw.NoTTL)
		_, err = c.increment(rpw.CacheIncrement{Key: "low", By: -1, TTL: rpw.KeepTTL})
		require.ErrorIs(t, err, rpw.ErrConflict)
		for _, text := range []string{"", "+1", "01", " 1", "1.0", "9223372036854775808", "-0"} {
			c.put("text", text, rpw.NoTTL)
			_, err := c.increment(rpw.CacheIncrement{Key: "text", By: 1, TTL: rpw.KeepTTL})
			assert.ErrorIs(t, err, rpw.ErrConflict, "%q", text)
		}
	})
}

func TestValuesAreNobodysToChange(t *testing.T) {
	c := newCache(t)
	data := []byte("value")
	require.NoError(t, c.set(rpw.CacheSet{Key: "k", Data: data, TTL: rpw.NoTTL}))
	data[0] = 'X'
	got := c.get("k").Data
	assert.Equal(t, "value", string(got))
	assert.Equal(t, len(got), cap(got))
	c.put("k", "other", rpw.NoTTL)
	assert.Equal(t, "value", string(got))
}

func TestExpiredValuesAreSweptByWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		for i := range 10_000 {
			c.put(fmt.Sprint(i), "v", time.Duration(i%1000+1)*time.Millisecond)
		}
		time.Sleep(time.Hour)
		for i := range 30_000 { // each sweeps a little, of its own shard, and keys fall into shards by chance
			c.put(fmt.Sprint("new", i%500), "v", rpw.NoTTL)
		}
		entries, tombstones := 0, 0
		for i := range c.shards {
			entries += len(c.shards[i].byKey)
			tombstones += len(c.shards[i].inserted) - len(c.shards[i].byKey)
		}
		assert.Equal(t, 500, entries)
		assert.Less(t, tombstones, cacheShards*rpw.MaxPage+1)
		c.flush()
		assert.Zero(t, c.store.Used())
	})
}

func TestScanFindsAllThatLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCache(t)
		lives := map[string]bool{}
		for i := range rapid.IntRange(0, 3000).Draw(t, "keys") {
			c.put(fmt.Sprint("k", i), "v", rpw.NoTTL)
			lives[fmt.Sprint("k", i)] = true
		}
		other := 0
		got := c.scan(rpw.ScanRequest{Prefix: "k", Max: rapid.SampledFrom([]int{0, 13, 100}).Draw(t, "max")}, func() {
			for range rapid.IntRange(0, 10).Draw(t, "changes") {
				switch key := fmt.Sprint("k", rapid.IntRange(0, 3000).Draw(t, "key")); rapid.IntRange(0, 3).Draw(t, "change") {
				case 0:
					_, err := c.delete(rpw.CacheDelete{Key: key})
					require.NoError(t, err)
					delete(lives, key)
				case 1:
					if lives[key] {
						c.put(key, "overwritten", rpw.NoTTL)
					}
				default:
					c.put(fmt.Sprint("other", other), "v", rpw.NoTTL)
					other++
				}
			}
		})
		found := map[string]bool{}
		for _, key := range got {
			if found[key] || !strings.HasPrefix(key, "k") {
				t.Fatalf("%s came twice or unasked", key)
			}
			found[key] = true
		}
		for key := range lives {
			if !found[key] {
				t.Fatalf("%s was missed", key)
			}
		}
	})
}

func TestAScanEndsWhileOthersInsert(t *testing.T) {
	c := newCache(t)
	want := map[string]bool{}
	for i := range 1000 {
		c.put(fmt.Sprint(i), "v", rpw.NoTTL)
		want[fmt.Sprint(i)] = true
	}
	n, pages := 0, 0
	got := c.scan(rpw.ScanRequest{Max: 10}, func() {
		pages++
		require.Less(t, pages, 5000)
		for range 20 {
			c.put(fmt.Sprint("new", n), "v", rpw.NoTTL)
			n++
		}
	})
	assert.Subset(t, got, slices.Collect(maps.Keys(want)))
}

func TestAScanPageIsBounded(t *testing.T) {
	c := newCache(t)
	for i := range 100_000 {
		c.put(fmt.Sprint(i), "v", rpw.NoTTL)
	}
	page, err := c.Scan(t.Context(), rpw.ScanRequest{Prefix: "none"})
	require.NoError(t, err)
	assert.Empty(t, page.Keys)
	assert.NotEmpty(t, page.Next)
	at, err := parseScanCursor(page.Next)
	require.NoError(t, err)
	assert.EqualValues(t, scanStep, at.seq, "more was looked at than a page may")
}

func TestForeignCursorsAreRefused(t *testing.T) {
	c := newCache(t)
	for _, cursor := range []string{"x", "1", "1.2", "1.2.3.4", "-1.0.0", "01.0.0", "1.2.3 ", "1.-2.3"} {
		_, err := c.Scan(t.Context(), rpw.ScanRequest{Cursor: cursor})
		assert.ErrorIs(t, err, rpw.ErrInvalid, "%q", cursor)
	}
}
