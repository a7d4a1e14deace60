package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// cacheArea is reading values of a cache.
var cacheArea = area{
	name:  "cache",
	title: "Reading one value of a cache",
	notes: "64 goroutines read one of 1,000 keys a call, 256 bytes each. Near caches answer from the process; the server tells them what has changed.",
	contestants: []contestant{
		{name: "rueidis DoCache", redis: true, run: cacheRueidisNear},
		{name: "rpw, near", redis: true, run: cacheRPW(time.Second, 1_000), about: "MaxStale 1 s"},
		{name: "go-redis GET", redis: true, run: cacheGoRedis, about: "a connection for each of the 64 callers"},
		{name: "rpw, exact", redis: true, run: cacheRPW(0, 1_000)},
		{name: "rueidis GET", redis: true, run: cacheRueidis},
		{name: "rpw, memory driver", run: cacheRPW(0, 1_000)},
		{name: "sync.Map", run: cacheMap, about: "the limit: no end of life, no bound, no server"},
	},
	targets: []target{
		{id: "near", what: "near-cache get, 64 goroutines, to rueidis DoCache", metric: Rate, of: "rpw, near", to: "rueidis DoCache", want: 1, beyond: 3},
		{id: "near-goredis", what: "the same to go-redis GET", metric: Rate, of: "rpw, near", to: "go-redis GET", want: 60, beyond: 200},
	},
}

// keySet is n keys.
type keySet []string

func newKeySet(n int) keySet {
	keys := make(keySet, n)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	return keys
}

// some is any of them.
func (k keySet) some() string { return k[rand.IntN(len(k))] }

var errNoValue = errors.New("a key has no value")

func cacheRPW(maxStale time.Duration, keyCount int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		url := "memory://"
		if t.Addr != "" {
			url = "redis://" + t.Addr
		}
		hub, err := rpw.Open(ctx, url)
		if err != nil {
			return nil, err
		}
		defer hub.Close()
		cache := hub.Cache()
		keys := newKeySet(keyCount)
		for some := range slices.Chunk(keys, 500) {
			sets := make([]rpw.CacheSet, len(some))
			for i, key := range some {
				sets[i] = rpw.CacheSet{Key: key, Data: payload, TTL: time.Hour}
			}
			if _, err := cache.Set(ctx, sets); err != nil {
				return nil, err
			}
		}
		return t.floods(ctx, callers, 1, func() error {
			values, err := cache.Get(ctx, rpw.GetRequest{Keys: []string{keys.some()}, MaxStale: maxStale})
			if err == nil && !values[0].Found {
				return errNoValue
			}
			return err
		})
	}
}

// setCache stores keys as the others read them.
func setCache(ctx context.Context, c rueidis.Client, keys keySet) error {
	for _, key := range keys {
		if err := c.Do(ctx, c.B().Set().Key(key).Value(rueidis.BinaryString(payload)).Ex(time.Hour).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}

func cacheRueidis(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	keys := newKeySet(1_000)
	if err := setCache(ctx, c, keys); err != nil {
		return nil, err
	}
	return t.floods(ctx, callers, 1, func() error {
		_, err := c.Do(ctx, c.B().Get().Key(keys.some()).Build()).AsBytes()
		return err
	})
}

func cacheRueidisNear(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	keys := newKeySet(1_000)
	if err := setCache(ctx, c, keys); err != nil {
		return nil, err
	}
	return t.floods(ctx, callers, 1, func() error {
		_, err := c.DoCache(ctx, c.B().Get().Key(keys.some()).Cache(), time.Minute).ToString()
		return err
	})
}

func cacheGoRedis(ctx context.Context, t *trial) (Sample, error) {
	c := t.goRedis()
	defer c.Close()
	keys := newKeySet(1_000)
	for _, key := range keys {
		if err := c.Set(ctx, key, payload, time.Hour).Err(); err != nil {
			return nil, err
		}
	}
	return t.floods(ctx, callers, 1, func() error { return c.Get(ctx, keys.some()).Err() })
}

func cacheMap(ctx context.Context, t *trial) (Sample, error) {
	var m sync.Map
	keys := newKeySet(1_000)
	for _, key := range keys {
		m.Store(key, payload)
	}
	return t.floods(ctx, callers, 1, func() error {
		if _, ok := m.Load(keys.some()); !ok {
			return errNoValue
		}
		return nil
	})
}
