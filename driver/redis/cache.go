package redis

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var (
	cacheGet       = newScript("cache_get.lua")
	cacheSet       = newScript("cache_set.lua")
	cacheDelete    = newScript("cache_delete.lua")
	cacheIncrement = newScript("cache_increment.lua")
)

// cache implements rpw.Cache: one string for each key.
type cache struct{ *store }

var (
	_ rpw.Cache     = cache{}
	_ rpw.NearCache = cache{}
)

// readTogether is how many values one script reads: few enough not to hold up the server.
const readTogether = 100

// GetNear implements rpw.NearCache.
func (c cache) GetNear(req rpw.GetRequest) ([]rpw.Value, bool) {
	if c.near == nil {
		return nil, false
	}
	return c.near.hits(req.Keys, req.MaxStale)
}

// Get implements rpw.Cache.
func (c cache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if req.MaxStale > 0 && c.near != nil {
		return c.near.get(ctx, req.Keys, req.MaxStale)
	}
	keys := make([]string, len(req.Keys))
	for i, key := range req.Keys {
		keys[i] = c.keys.cache(key)
	}
	return c.read(ctx, c.client, keys)
}

// read is the readFunc of the cache.
func (s *store) read(ctx context.Context, via rueidis.CommandClient, keys []string) ([]rpw.Value, error) {
	together := readTogether
	if s.clustered() { // each key has a slot of its own
		together = 1
	}
	calls := make([]scriptCall, 0, (len(keys)+together-1)/together)
	for rest := keys; len(rest) > 0; {
		n := min(together, len(rest))
		calls = append(calls, scriptCall{keys: rest[:n]})
		rest = rest[n:]
	}
	values := make([]rpw.Value, 0, len(keys))
	for i, answer := range s.execVia(ctx, via, cacheGet, calls) {
		if answer.err != nil {
			return nil, answer.err
		}
		pairs, err := answer.message.ToArray()
		if err != nil || len(pairs) != 2*len(calls[i].keys) {
			return nil, malformed(cacheGet, err)
		}
		for ; len(pairs) > 0; pairs = pairs[2:] {
			value, err := readValue(pairs[0], pairs[1])
			if err != nil {
				return nil, malformed(cacheGet, err)
			}
			values = append(values, value)
		}
	}
	return values, nil
}

// readValue reads a value and its PTTL.
func readValue(data, pttl rueidis.RedisMessage) (rpw.Value, error) {
	if data.IsNil() {
		return rpw.Value{}, nil
	}
	b, err := data.AsBytes()
	if err != nil {
		return rpw.Value{}, err
	}
	ms, err := pttl.AsInt64()
	if err != nil {
		return rpw.Value{}, err
	}
	ttl := rpw.NoTTL
	if ms >= 0 {
		ttl = time.Duration(max(ms, 1)) * time.Millisecond
	}
	return rpw.Value{Data: b, Found: true, TTL: ttl}, nil
}

// Set implements rpw.Cache. With the original's layout a value is JSON or empty, since its programs read nothing else.
func (c cache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	errs := make([]error, len(items))
	calls := make([]scriptCall, 0, len(items))
	places := make([]int, 0, len(items))
	for i, item := range items {
		if c.keys.flat && len(item.Data) > 0 && !json.Valid(item.Data) {
			errs[i] = rpw.Errorf(rpw.ErrInvalid, "with the original's layout values must be JSON")
			continue
		}
		places = append(places, i)
		calls = append(calls, scriptCall{
			keys: []string{c.keys.cache(item.Key)},
			args: []string{rueidis.BinaryString(item.Data), life(item.TTL), conditions[item.When], rueidis.BinaryString(item.Old)},
		})
	}
	answers := c.write(ctx, cacheSet, calls)
	if err := whole(answers); err != nil {
		return nil, err
	}
	for j, i := range places {
		errs[i] = answers[j].err
	}
	return errs, nil
}

// Delete implements rpw.Cache.
func (c cache) Delete(ctx context.Context, items []rpw.CacheDelete) ([]rpw.CacheDeleted, error) {
	calls := make([]scriptCall, len(items))
	for i, item := range items {
		calls[i] = scriptCall{
			keys: []string{c.keys.cache(item.Key)},
			args: []string{conditions[item.When], rueidis.BinaryString(item.Old)},
		}
	}
	answers := c.write(ctx, cacheDelete, calls)
	if err := whole(answers); err != nil {
		return nil, err
	}
	deleted := make([]rpw.CacheDeleted, len(items))
	for i, answer := range answers {
		if deleted[i].Err = answer.err; answer.err == nil {
			deleted[i].Deleted, deleted[i].Err = answer.message.AsBool()
		}
	}
	return deleted, nil
}

// Increment implements rpw.Cache.
func (c cache) Increment(ctx context.Context, items []rpw.CacheIncrement) ([]rpw.Counter, error) {
	calls := make([]scriptCall, len(items))
	for i, item := range items {
		calls[i] = scriptCall{
			keys: []string{c.keys.cache(item.Key)},
			args: []string{strconv.FormatInt(item.By, 10), life(item.TTL)},
		}
	}
	answers := c.write(ctx, cacheIncrement, calls)
	if err := whole(answers); err != nil {
		return nil, err
	}
	counters := make([]rpw.Counter, len(items))
	for i, answer := range answers {
		if counters[i].Err = answer.err; answer.err == nil {
			counters[i].Value, counters[i].Err = answer.message.AsInt64()
		}
	}
	return counters, nil
}

// write runs a script that changes values, one for each call, and has this process forget what it knew of them.
func (c cache) write(ctx context.Context, sc *script, calls []scriptCall) []scriptAnswer {
	answers := c.execAll(ctx, sc, calls)
	if c.near != nil {
		c.near.forget(calls)
	}
	return answers
}

// conditions are the words of the scripts for an rpw.When.
var conditions = [...]string{rpw.Always: "always", rpw.IfAbsent: "absent", rpw.IfPresent: "present", rpw.IfEqual: "equal"}

// life is a TTL in the words of the scripts.
func life(ttl time.Duration) string {
	switch ttl {
	case rpw.NoTTL:
		return "none"
	case rpw.KeepTTL:
		return "keep"
	}
	return strconv.FormatInt(int64((ttl+time.Millisecond-1)/time.Millisecond), 10)
}

// whole is the error of a call that failed as a whole: that of its first item, if all failed alike and the reason is not in the items.
func whole(answers []scriptAnswer) error {
	if len(answers) == 0 {
		return nil
	}
	code := rpw.Code(answers[0].err)
	switch code {
	case "", "conflict", "full", "internal":
		return nil
	}
	for _, answer := range answers {
		if rpw.Code(answer.err) != code {
			return nil
		}
	}
	return answers[0].err
}
