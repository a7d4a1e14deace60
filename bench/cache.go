package main

import (
	"context"
	"errors"
	"math/rand/v2"
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
		{name: "rpw, near", redis: true, run: cacheRPW(time.Second), about: "MaxStale 1 s"},
		{name: "rpw, exact", redis: true, run: cacheRPW(0)},
		{name: "rpw, memory driver", run: cacheRPW(0)},
		{name: "rueidis DoCache", redis: true, run: cacheRueidisNear},
		{name: "rueidis GET", redis: true, run: cacheRueidis},
		{name: "go-redis GET", redis: true, run: cacheGoRedis, about: "a connection for each of the 64 callers"},
		{name: "sync.Map", run: cacheMap, about: "the limit: no end of life, no bound, no server"},
	},
	targets: []target{
		{id: "near", what: "near-cache get, 64 goroutines, to rueidis DoCache", want: 1, value: ratio(Rate, "rpw, near", "rueidis DoCache")},
		{id: "near-goredis", what: "the same to go-redis GET", want: 60, value: ratio(Rate, "rpw, near", "go-redis GET")},
	},
}

var cacheKeys = func() []string {
	keys := make([]string, 1_000)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	return keys
}()

func someKey() string { return cacheKeys[rand.IntN(len(cacheKeys))] }

var errNoValue = errors.New("a key has no value")

func cacheRPW(maxStale time.Duration) func(context.Context, *trial) (Sample, error) {
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
		for _, key := range cacheKeys {
			if _, err := cache.Set(ctx, []rpw.CacheSet{{Key: key, Data: payload, TTL: time.Hour}}); err != nil {
				return nil, err
			}
		}
		return t.floods(ctx, callers, 1, func() error {
			values, err := cache.Get(ctx, rpw.GetRequest{Keys: []string{someKey()}, MaxStale: maxStale})
			if err == nil && !values[0].Found {
				return errNoValue
			}
			return err
		})
	}
}

// setCache stores all keys as the others read them.
func setCache(ctx context.Context, c rueidis.Client) error {
	for _, key := range cacheKeys {
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
	if err := setCache(ctx, c); err != nil {
		return nil, err
	}
	return t.floods(ctx, callers, 1, func() error {
		_, err := c.Do(ctx, c.B().Get().Key(someKey()).Build()).AsBytes()
		return err
	})
}

func cacheRueidisNear(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := setCache(ctx, c); err != nil {
		return nil, err
	}
	return t.floods(ctx, callers, 1, func() error {
		_, err := c.DoCache(ctx, c.B().Get().Key(someKey()).Cache(), time.Minute).ToString()
		return err
	})
}

func cacheGoRedis(ctx context.Context, t *trial) (Sample, error) {
	c := t.goRedis()
	defer c.Close()
	for _, key := range cacheKeys {
		if err := c.Set(ctx, key, payload, time.Hour).Err(); err != nil {
			return nil, err
		}
	}
	return t.floods(ctx, callers, 1, func() error { return c.Get(ctx, someKey()).Err() })
}

func cacheMap(ctx context.Context, t *trial) (Sample, error) {
	var m sync.Map
	for _, key := range cacheKeys {
		m.Store(key, payload)
	}
	return t.floods(ctx, callers, 1, func() error {
		if _, ok := m.Load(someKey()); !ok {
			return errNoValue
		}
		return nil
	})
}
