package rpw

import (
	"context"
	"time"
)

// guardedCache is the Cache of a Hub. Its writes are not repeated when their outcome is unknown: a repeat could undo
// what another process wrote in between.
type guardedCache struct{ h *Hub }

var _ Cache = guardedCache{}

func (g guardedCache) call(verb string, items int) call {
	return call{h: g.h, verb: verb, items: items}
}

func (g guardedCache) Get(ctx context.Context, req GetRequest) ([]Value, error) {
	c := g.call("get", len(req.Keys))
	c.repeat = true
	if err := first(checkItems(len(req.Keys)), checkDuration("MaxStale", req.MaxStale, 0, MaxTTL)); err != nil {
		return nil, c.wrap(err)
	}
	c.target = req.Keys[0]
	for _, key := range req.Keys {
		if err := CheckName("key", key); err != nil {
			c.target = key
			return nil, c.wrap(err)
		}
	}
	if g.h.namespace != "" {
		inward := make([]string, len(req.Keys))
		for i, key := range req.Keys {
			inward[i] = g.h.inward(key)
		}
		req.Keys = inward
	}
	if values, ok := g.near(ctx, req); ok {
		return values, nil
	}
	return invoke(ctx, c, g.h.parts.Cache, Cache.Get, req)
}

// near answers a Get from this process, if it allows that and a call would be let through.
func (g guardedCache) near(ctx context.Context, req GetRequest) (values []Value, ok bool) {
	if req.MaxStale == 0 || g.h.observer != nil || ctx == nil || ctx.Err() != nil || g.h.closed.Load() {
		return nil, false
	}
	if near, is := g.h.parts.Cache.(NearCache); is {
		return near.GetNear(req)
	}
	return nil, false
}

func (g guardedCache) Set(ctx context.Context, items []CacheSet) ([]error, error) {
	c := g.call("set", len(items))
	if err := checkItems(len(items)); err != nil {
		return nil, c.wrap(err)
	}
	inward := make([]CacheSet, len(items))
	total := 0
	for i, item := range items {
		c.target = item.Key
		err := first(CheckName("key", item.Key), checkSize("the value", len(item.Data)), checkSize("the old value", len(item.Old)), checkTTL(&item.TTL), checkWhen(item.When, IfEqual))
		if err != nil {
			return nil, c.wrap(err)
		}
		total += len(item.Data) + len(item.Old)
		item.Key = g.h.inward(item.Key)
		inward[i] = item
	}
	if err := checkTotal(total); err != nil {
		return nil, c.wrap(err)
	}
	errs, err := invoke(ctx, c, g.h.parts.Cache, Cache.Set, inward)
	for i := range errs {
		if errs[i] != nil {
			c.target = items[i].Key
			errs[i] = c.wrap(errs[i])
		}
	}
	return errs, err
}

func checkTotal(n int) error {
	if n > MaxBatchBytes {
		return Errorf(ErrTooLarge, "the values have %d bytes together (max %d); split the call", n, MaxBatchBytes)
	}
	return nil
}

// checkTTL rounds a time to live up to whole milliseconds.
func checkTTL(ttl *time.Duration) error {
	switch {
	case *ttl == NoTTL || *ttl == KeepTTL:
		return nil
	case *ttl <= 0:
		return Errorf(ErrInvalid, "TTL is %v; it must be positive, NoTTL or KeepTTL", *ttl)
	case *ttl > MaxTTL:
		return Errorf(ErrInvalid, "TTL is %v; the most is %v, or NoTTL", *ttl, MaxTTL)
	}
	*ttl = (*ttl + time.Millisecond - 1).Truncate(time.Millisecond)
	return nil
}

func checkWhen(w When, most When) error {
	if w > most {
		return Errorf(ErrInvalid, "unknown condition %d", w)
	}
	return nil
}

func (g guardedCache) Delete(ctx context.Context, items []CacheDelete) ([]CacheDeleted, error) {
	c := g.call("delete", len(items))
	if err := checkItems(len(items)); err != nil {
		return nil, c.wrap(err)
	}
	inward := make([]CacheDelete, len(items))
	total := 0
	for i, item := range items {
		c.target = item.Key
		if err := first(CheckName("key", item.Key), checkSize("the old value", len(item.Old))); err != nil {
			return nil, c.wrap(err)
		}
		if item.When != Always && item.When != IfEqual {
			return nil, c.wrap(Errorf(ErrInvalid, "Delete knows the conditions Always and IfEqual"))
		}
		total += len(item.Old)
		item.Key = g.h.inward(item.Key)
		inward[i] = item
	}
	if err := checkTotal(total); err != nil {
		return nil, c.wrap(err)
	}
	answers, err := invoke(ctx, c, g.h.parts.Cache, Cache.Delete, inward)
	for i := range answers {
		if answers[i].Err != nil {
			c.target = items[i].Key
			answers[i].Err = c.wrap(answers[i].Err)
		}
	}
	return answers, err
}

func (g guardedCache) Increment(ctx context.Context, items []CacheIncrement) ([]Counter, error) {
	c := g.call("increment", len(items))
	if err := checkItems(len(items)); err != nil {
		return nil, c.wrap(err)
	}
	inward := make([]CacheIncrement, len(items))
	for i, item := range items {
		c.target = item.Key
		if err := first(CheckName("key", item.Key), checkTTL(&item.TTL)); err != nil {
			return nil, c.wrap(err)
		}
		item.Key = g.h.inward(item.Key)
		inward[i] = item
	}
	answers, err := invoke(ctx, c, g.h.parts.Cache, Cache.Increment, inward)
	for i := range answers {
		if answers[i].Err != nil {
			c.target = items[i].Key
			answers[i].Err = c.wrap(answers[i].Err)
		}
	}
	return answers, err
}

func (g guardedCache) Scan(ctx context.Context, req ScanRequest) (ScanPage, error) {
	c := g.call("scan", 1)
	c.repeat = true
	if err := pageMax(&req.Max, MaxPage, MaxPage); err != nil {
		return ScanPage{}, c.wrap(err)
	}
	req.Prefix = g.h.inward(req.Prefix)
	page, err := invoke(ctx, c, g.h.parts.Cache, Cache.Scan, req)
	if g.h.namespace != "" {
		for i, key := range page.Keys {
			page.Keys[i] = g.h.outward(key)
		}
	}
	return page, err
}
