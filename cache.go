package rpw

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"time"
)

// SetOption changes how Set, Load, Increment and Repo store a value.
type SetOption func(*CacheSet)

// TTL lets a value live for d, by the store's clock: at least a millisecond, at most MaxTTL; fractions are rounded up.
// Without it a value lives until it is deleted.
func TTL(d time.Duration) SetOption { return func(s *CacheSet) { s.TTL = d } }

// OnlyIf stores the value only under a condition (IfAbsent or IfPresent); otherwise the error is ErrConflict. IfEqual, which needs the
// present value, is for Update and for the Cache itself.
func OnlyIf(w When) SetOption { return func(s *CacheSet) { s.When = w } }

// GetOption changes how Get reads.
type GetOption func(*GetRequest)

// MaxStale allows an answer from a near cache in this process that is at most so old, up to MaxTTL, without asking the store. A driver may have a
// lower bound of its own; with 0, and without a near cache, the store is asked. What this Hub wrote it reads back at once.
func MaxStale(d time.Duration) GetOption { return func(r *GetRequest) { r.MaxStale = d } }

// Get returns the value of key as a T, decoded from JSON; ok is false if there is none. Text that is not a T is ErrConflict. MaxStale
// lets it be read from a near cache.
func Get[T any](ctx context.Context, h *Hub, key string, opts ...GetOption) (value T, ok bool, err error) {
	found, err := getRaw(ctx, h, key, opts...)
	if err != nil || !found.Found {
		return value, false, err
	}
	if value, err = decode[T](found.Data); err != nil {
		return value, false, &Error{Op: "get", Driver: h.Driver(), Target: key, Kind: ErrConflict, Err: explain(err)}
	}
	return value, true, nil
}

// apply lets options change what they are for. A nil one changes nothing.
func apply[T any, O ~func(*T)](to *T, opts []O) {
	for _, opt := range opts {
		if opt != nil {
			opt(to)
		}
	}
}

func getRaw(ctx context.Context, h *Hub, key string, opts ...GetOption) (Value, error) {
	req := GetRequest{Keys: []string{key}}
	if len(opts) > 0 { // which let it escape to the heap
		changed := req
		apply(&changed, opts)
		req = changed
	}
	values, err := h.Cache().Get(ctx, req)
	if err != nil {
		return Value{}, err
	}
	return values[0], nil
}

// Set stores value under key as JSON. Options give it a time to live or a condition.
func Set[T any](ctx context.Context, h *Hub, key string, value T, opts ...SetOption) error {
	data, err := encode(value)
	if err != nil {
		return call{h: h, verb: "set", target: key}.wrap(err)
	}
	return setRaw(ctx, h, CacheSet{Key: key, Data: data, TTL: NoTTL}, opts...)
}

func setRaw(ctx context.Context, h *Hub, item CacheSet, opts ...SetOption) error {
	if apply(&item, opts); item.When == IfEqual && item.Old == nil {
		return call{h: h, verb: "set", target: item.Key}.wrap(Errorf(ErrInvalid, "OnlyIf knows IfAbsent and IfPresent; to compare with a value, use Update, or Set of the Cache with Old"))
	}
	errs, err := h.Cache().Set(ctx, []CacheSet{item})
	if err != nil {
		return err
	}
	return errs[0]
}

// Update changes the value of a key by compare and set: it reads it, lets change edit it, and stores it if nobody else has changed it
// meanwhile; otherwise it starts again, until ctx ends. It returns what was stored. ErrNotFound if there is no value, ErrConflict if it is
// no T. An error of change ends it, with nothing stored. The time to live goes on as it was.
func Update[T any](ctx context.Context, h *Hub, key string, change func(*T) error) (T, error) {
	c := call{h: h, verb: "update", target: key}
	var none T
	if change == nil {
		return none, c.wrap(Errorf(ErrInvalid, "the function is nil"))
	}
	for n := 0; ; n++ {
		old, err := getRaw(ctx, h, key)
		if err != nil {
			return none, err
		}
		if !old.Found {
			return none, c.wrap(ErrNotFound)
		}
		value, err := decode[T](old.Data)
		if err != nil {
			return none, c.wrap(Errorf(ErrConflict, "%w", explain(err)))
		}
		if err := change(&value); err != nil {
			return none, err
		}
		data, err := encode(value)
		if err != nil {
			return none, c.wrap(err)
		}
		err = setRaw(ctx, h, CacheSet{Key: key, Data: data, TTL: KeepTTL, When: IfEqual, Old: old.Data})
		if err == nil {
			return value, nil
		}
		if !errors.Is(err, ErrConflict) {
			return none, err
		}
		if n > 2 && !sleep(ctx, h.ctx, backoff(min(n-3, 3))/10) { // let others through
			return none, cmp.Or(ctx.Err(), c.wrap(ErrClosed))
		}
	}
}

// Delete removes keys, 1 to MaxBatch, and returns how many of them were there.
func Delete(ctx context.Context, h *Hub, keys ...string) (n int, err error) {
	items := make([]CacheDelete, len(keys))
	for i, key := range keys {
		items[i].Key = key
	}
	answers, err := h.Cache().Delete(ctx, items)
	for _, a := range answers {
		if a.Deleted {
			n++
		}
		err = first(err, a.Err)
	}
	return n, err
}

// Increment adds by to the counter key and returns its new value; an absent one starts at 0. A TTL option sets the
// counter's time to live at every call; without it an existing one keeps its own. OnlyIf is ErrInvalid.
func Increment(ctx context.Context, h *Hub, key string, by int64, opts ...SetOption) (int64, error) {
	item := CacheSet{TTL: KeepTTL}
	apply(&item, opts)
	if item.When != Always {
		return 0, call{h: h, verb: "increment", target: key}.wrap(Errorf(ErrInvalid, "Increment knows no condition; leave OnlyIf out"))
	}
	answers, err := h.Cache().Increment(ctx, []CacheIncrement{{Key: key, By: by, TTL: item.TTL}})
	if err != nil {
		return 0, err
	}
	return answers[0].Value, answers[0].Err
}

// keysMemory is how many keys Keys remembers to return each once.
const keysMemory = 1_000_000

// Keys returns the keys that begin with prefix, in no order. Each key that lives through the whole
// iteration comes at least once, and once only among the first million; one that comes or goes meanwhile may or may not come. An error ends it.
func Keys(ctx context.Context, h *Hub, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := make(map[string]struct{})
		req := ScanRequest{Prefix: prefix}
		for {
			page, err := h.Cache().Scan(ctx, req)
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range page.Keys {
				if _, twice := seen[key]; twice {
					continue
				}
				if len(seen) < keysMemory {
					seen[key] = struct{}{}
				}
				if !yield(key, nil) {
					return
				}
			}
			if req.Cursor = page.Next; req.Cursor == "" {
				return
			}
		}
	}
}

// Load returns the value of key, or makes it with load and stores it with the options (a TTL, usually). Callers of
// this Hub that miss the same key at the same time share one load and what it returned, which they only read; ctx ends only the
// caller's own wait, and load is cancelled when no caller waits any more. An error of load goes to all who wait and is not stored; a
// value that could be loaded but not stored is returned all the same.
func Load[T any](ctx context.Context, h *Hub, key string, load func(ctx context.Context) (T, error), opts ...SetOption) (T, error) {
	if load == nil {
		var none T
		return none, call{h: h, verb: "load", target: key}.wrap(Errorf(ErrInvalid, "the function is nil"))
	}
	value, ok, err := Get[T](ctx, h, key) // of a nil or closed hub: ErrClosed
	if ok || err != nil {
		return value, err
	}
	loaded, err := h.loads.do(ctx, h, key, func(ctx context.Context) (any, error) {
		value, ok, err := Get[T](ctx, h, key) // another process, or the flight before, may have been first
		if ok || err != nil {
			return &value, err
		}
		if value, err = load(ctx); err != nil {
			return &value, err
		}
		if err := Set(ctx, h, key, value, opts...); err != nil {
			if Code(err) == "invalid" || Code(err) == "too_large" { // the caller's mistake
				return &value, err
			}
			h.notify(Notice{Kind: NoticeRetry, Err: err})
		}
		return &value, nil
	})
	if err != nil {
		return value, err
	}
	shared, ok := loaded.(*T) // a pointer, since T may be an interface and the value nil
	if !ok {
		return value, &Error{Op: "load", Driver: h.Driver(), Target: key, Kind: ErrConflict, Err: explain(errOtherType)}
	}
	return *shared, nil
}

var errOtherType = Errorf(ErrConflict, "the key is being loaded as another type")

// flights are the loads under way, by key.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
}

type flight struct {
	waiting int // guarded by flights.mu
	cancel  context.CancelFunc
	done    chan struct{}
	value   any
	err     error
}

func (f *flights) do(ctx context.Context, h *Hub, key string, load func(context.Context) (any, error)) (any, error) {
	f.mu.Lock()
	fl := f.flying[key]
	if fl == nil {
		fl = &flight{done: make(chan struct{})}
		flying := context.WithoutCancel(ctx) // its values, for traces; its end comes with the last who waits
		flying, fl.cancel = context.WithCancel(flying)
		if !h.spawn(func() { f.fly(flying, h, key, fl, load) }) {
			f.mu.Unlock()
			fl.cancel()
			return nil, errLoadClosed(h, key)
		}
		if f.flying == nil {
			f.flying = make(map[string]*flight)
		}
		f.flying[key] = fl
	}
	fl.waiting++
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.value, fl.err
	case <-h.ctx.Done():
		return nil, errLoadClosed(h, key)
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiting--; fl.waiting == 0 {
		fl.cancel()
		if f.flying[key] == fl { // who comes now starts anew
			delete(f.flying, key)
		}
	}
	return nil, ctx.Err()
}

func errLoadClosed(h *Hub, key string) error {
	return &Error{Op: "load", Driver: h.Driver(), Target: key, Kind: ErrClosed}
}

func (f *flights) fly(ctx context.Context, h *Hub, key string, fl *flight, load func(context.Context) (any, error)) {
	stop := context.AfterFunc(h.ctx, fl.cancel)
	defer stop()
	defer fl.cancel()
	fl.err = errLoadPanicked
	defer func() {
		if r := recover(); r != nil {
			fl.err = Errorf(nil, "the load of %s panicked: %v", QuoteName(key), r)
		}
		f.mu.Lock()
		if f.flying[key] == fl {
			delete(f.flying, key)
		}
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.value, fl.err = load(ctx)
}

var errLoadPanicked = Errorf(nil, "the load did not return")

// encode and decode are the codec of all typed helpers: JSON.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, Errorf(ErrInvalid, "the value cannot be written as JSON: %w", err)
	}
	return data, nil
}

func decode[T any](data []byte) (v T, err error) {
	if err = json.Unmarshal(data, &v); err != nil {
		return v, Errorf(ErrInvalid, "it does not read as %T: %w", v, err)
	}
	return v, nil
}
