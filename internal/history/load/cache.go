package load

import (
	"context"
	"fmt"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
)

// nearBound is how old a near answer may be.
const nearBound = 3500 * time.Millisecond

// keyLife is how long a key is in use: the search for an order that explains its calls takes longer with each call whose outcome is unknown.
const keyLife = 10 * time.Second

// client reads and writes registers.
func (r *run) client(ctx context.Context, a *actor) {
	key := fmt.Sprintf("%s.%d", keys[a.IntN(len(keys))], a.Now()/keyLife)
	switch n := a.IntN(12); {
	case n < 3:
		a.get(ctx, key, 0)
	case n < 6:
		a.get(ctx, key, nearBound)
	case n < 8:
		a.set(ctx, key, history.Always, rpw.CacheSet{})
	case n < 9:
		a.set(ctx, key, history.IfAbsent, rpw.CacheSet{When: rpw.IfAbsent})
	case n < 11:
		if old, ok := a.get(ctx, key, 0); ok && sleep(ctx, a.Rand, a.Pause) {
			a.set(ctx, key, history.IfEqual, rpw.CacheSet{When: rpw.IfEqual, Old: []byte(old)})
		}
	default:
		a.remove(ctx, key)
	}
}

func (a *actor) get(ctx context.Context, key string, bound time.Duration) (value string, found bool) {
	rec := a.record(history.OpGet)
	rec.Key, rec.Bound = key, bound
	h, run := a.process.get()
	rec.Actor = fmt.Sprintf("%s, run %d", a.name, run)
	ctx, timed := a.patience(ctx, "get")
	ret := a.Call(rec)
	values, err := h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{key}, MaxStale: bound})
	ret(func(rec *history.Record) {
		if rec.Settle(err); err == nil {
			value, found = string(values[0].Data), values[0].Found
			rec.Value, rec.Found = value, found
		}
	})
	timed(err)
	return value, found
}

func (a *actor) set(ctx context.Context, key, kind string, s rpw.CacheSet) {
	s.Key, s.Data, s.TTL = key, []byte(a.fresh()), rpw.NoTTL
	rec := a.record(history.OpSet)
	rec.Key, rec.Kind, rec.Value, rec.Old = key, kind, string(s.Data), string(s.Old)
	h, run := a.process.get()
	rec.Actor = fmt.Sprintf("%s, run %d", a.name, run)
	ctx, timed := a.patience(ctx, "set")
	ret := a.Call(rec)
	errs, err := h.Cache().Set(ctx, []rpw.CacheSet{s})
	if err == nil {
		err = errs[0]
	}
	ret(func(rec *history.Record) { rec.Settle(err) })
	timed(err)
}

func (a *actor) remove(ctx context.Context, key string) {
	rec := a.record(history.OpDelete)
	rec.Key = key
	ctx, timed := a.patience(ctx, "delete")
	ret := a.Call(rec)
	answers, err := a.hub().Cache().Delete(ctx, []rpw.CacheDelete{{Key: key}})
	if err == nil {
		err = answers[0].Err
	}
	ret(func(rec *history.Record) {
		if rec.Settle(err); err == nil {
			rec.Found = answers[0].Deleted
		}
	})
	timed(err)
}
