package rpw_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// newHub is a Hub over parts; the test closes it, or its cleanup does.
func newHub(t testing.TB, parts rpw.Parts, opts ...rpw.Option) *rpw.Hub {
	t.Helper()
	parts.Name = "fake"
	hub, err := rpw.New(parts, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { hub.Close() })
	return hub
}

// fakeBus is a StreamBus that stores what is published. behave, if set, runs before that and may fail or wait. Its other verbs
// are answered by functions.
type fakeBus struct {
	rpw.StreamBus
	behave func(ctx context.Context, b rpw.Batch) error
	read   func(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error)
	locate func(ctx context.Context) (rpw.Position, error) // nil: the beginning
	ensure func(ctx context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error)
	fetch  func(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error)
	settle func(ctx context.Context, req rpw.SettleRequest) ([]error, error)

	mu      sync.Mutex
	batches []rpw.Batch
	count   uint64
}

func (f *fakeBus) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	answers := make([]rpw.Published, len(batches))
	for i, b := range batches {
		if f.behave != nil {
			if err := f.behave(ctx, b); err != nil {
				return nil, err
			}
		}
		f.mu.Lock()
		b.Events = slices.Clone(b.Events)
		f.batches = append(f.batches, b)
		for range b.Events {
			f.count++
			answers[i].Positions = append(answers[i].Positions, rpw.Position{Epoch: 1, ID: rpw.ID{MS: f.count}, Count: f.count})
		}
		f.mu.Unlock()
	}
	return answers, nil
}

func (f *fakeBus) Locate(ctx context.Context, _ string, _ rpw.Start) (rpw.Position, error) {
	if f.locate == nil {
		return rpw.Position{Epoch: 1}, nil
	}
	return f.locate(ctx)
}

func (f *fakeBus) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	return f.read(ctx, req)
}

func (f *fakeBus) EnsureGroup(ctx context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error) {
	if f.ensure == nil {
		return rpw.GroupInfo{GroupConfig: cfg, Incarnation: 1}, nil
	}
	return f.ensure(ctx, cfg)
}

func (f *fakeBus) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return f.fetch(ctx, req)
}

func (f *fakeBus) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	return f.settle(ctx, req)
}

func (f *fakeBus) stored() (types []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.batches {
		for _, e := range b.Events {
			types = append(types, e.Type)
		}
	}
	return types
}

// fakeCache is a Cache whose every call is answered by do.
type fakeCache struct {
	rpw.Cache
	do func(ctx context.Context, verb string) error

	mu     sync.Mutex
	values map[string][]byte
}

func (f *fakeCache) ask(ctx context.Context, verb string) error {
	if f.do == nil {
		return nil
	}
	return f.do(ctx, verb)
}

func (f *fakeCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	if err := f.ask(ctx, "get"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := make([]rpw.Value, len(req.Keys))
	for i, key := range req.Keys {
		data, found := f.values[key]
		answers[i] = rpw.Value{Data: data, Found: found, TTL: rpw.NoTTL}
	}
	return answers, nil
}

func (f *fakeCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	if err := f.ask(ctx, "set"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, item := range items {
		if f.values == nil {
			f.values = map[string][]byte{}
		}
		f.values[item.Key] = item.Data
	}
	return make([]error, len(items)), nil
}

func (f *fakeCache) Increment(ctx context.Context, items []rpw.CacheIncrement) ([]rpw.Counter, error) {
	return make([]rpw.Counter, len(items)), f.ask(ctx, "increment")
}

func (f *fakeCache) Scan(ctx context.Context, _ rpw.ScanRequest) (rpw.ScanPage, error) {
	return rpw.ScanPage{}, f.ask(ctx, "scan")
}
