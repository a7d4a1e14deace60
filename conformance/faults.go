package conformance

import (
	"context"
	"sync"

	"github.com/redis-process-worker/rpw"
)

// faults spoil calls between a hub and its driver, and count them.
type faults struct {
	mu    sync.Mutex
	next  map[string][]fault // by verb
	calls int
}

type fault int

const (
	none    fault = iota
	lost          // the store does the work, the reply is lost: ErrUncertain
	refused       // the call never leaves: ErrUnavailable
	unheard       // the store does the work, and the caller leaves before the reply comes: ErrUncertain
)

// faulty opens the hub of another process, whose calls can be spoilt.
func (e *env) faulty(opts ...rpw.Option) (*rpw.Hub, *faults) {
	e.Helper()
	f := &faults{next: make(map[string][]fault)}
	return e.decorated(f.decorate, opts...), f
}

// spoil lets the next calls of a verb ("Streams.Publish", "Cache.Set", "Actions.Claim") meet these faults, one each.
func (f *faults) spoil(verb string, next ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[verb] = append(f.next[verb], next...)
}

// left is how many faults nobody has met yet.
func (f *faults) left() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, next := range f.next {
		n += len(next)
	}
	return n
}

// count is how many calls reached the driver's door.
func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *faults) take(verb string) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	next := f.next[verb]
	if len(next) == 0 {
		return none
	}
	f.next[verb] = next[1:]
	return next[0]
}

// meet takes one call of a verb through the faults.
func meet[Q, A any](f *faults, verb string, ctx context.Context, do func(context.Context, Q) (A, error), req Q) (A, error) {
	var nothing A
	switch met := f.take(verb); met {
	case refused:
		return nothing, rpw.Errorf(rpw.ErrUnavailable, "the suite kept the call back")
	case lost, unheard:
		if _, err := do(ctx, req); err != nil {
			return nothing, err
		}
		if met == unheard {
			<-ctx.Done()
		}
		return nothing, rpw.Errorf(rpw.ErrUncertain, "the suite dropped the reply")
	}
	return do(ctx, req)
}

func (f *faults) decorate(p rpw.Parts) rpw.Parts {
	if p.Streams != nil {
		p.Streams = faultyStreams{p.Streams, f}
	}
	if p.Cache != nil {
		p.Cache = faultyCache{p.Cache, f}
	}
	if p.Actions != nil {
		p.Actions = faultyActions{p.Actions, f}
	}
	return p
}

// The decorated contracts.

type faultyStreams struct {
	rpw.StreamBus
	f *faults
}

func (s faultyStreams) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	return meet(s.f, "Streams.Publish", ctx, s.StreamBus.Publish, batches)
}

func (s faultyStreams) Locate(ctx context.Context, stream string, at rpw.Start) (rpw.Position, error) {
	return meet(s.f, "Streams.Locate", ctx, func(ctx context.Context, at rpw.Start) (rpw.Position, error) {
		return s.StreamBus.Locate(ctx, stream, at)
	}, at)
}

func (s faultyStreams) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	return meet(s.f, "Streams.Read", ctx, s.StreamBus.Read, req)
}

func (s faultyStreams) Streams(ctx context.Context, req rpw.StreamsRequest) (rpw.StreamsPage, error) {
	return meet(s.f, "Streams.Streams", ctx, s.StreamBus.Streams, req)
}

func (s faultyStreams) StreamInfo(ctx context.Context, stream string) (rpw.StreamInfo, error) {
	return meet(s.f, "Streams.StreamInfo", ctx, s.StreamBus.StreamInfo, stream)
}

func (s faultyStreams) Trim(ctx context.Context, stream string, keep rpw.Retention) (int64, error) {
	return meet(s.f, "Streams.Trim", ctx, func(ctx context.Context, keep rpw.Retention) (int64, error) {
		return s.StreamBus.Trim(ctx, stream, keep)
	}, keep)
}

func (s faultyStreams) DeleteEvents(ctx context.Context, stream string, ids []rpw.ID) (int64, error) {
	return meet(s.f, "Streams.DeleteEvents", ctx, func(ctx context.Context, ids []rpw.ID) (int64, error) {
		return s.StreamBus.DeleteEvents(ctx, stream, ids)
	}, ids)
}

func (s faultyStreams) DeleteStream(ctx context.Context, stream string) error {
	_, err := meet(s.f, "Streams.DeleteStream", ctx, func(ctx context.Context, stream string) (struct{}, error) {
		return struct{}{}, s.StreamBus.DeleteStream(ctx, stream)
	}, stream)
	return err
}

func (s faultyStreams) EnsureGroup(ctx context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error) {
	return meet(s.f, "Streams.EnsureGroup", ctx, s.StreamBus.EnsureGroup, cfg)
}

func (s faultyStreams) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return meet(s.f, "Streams.Fetch", ctx, s.StreamBus.Fetch, req)
}

func (s faultyStreams) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	return meet(s.f, "Streams.Settle", ctx, s.StreamBus.Settle, req)
}

func (s faultyStreams) Groups(ctx context.Context, stream string) ([]rpw.GroupInfo, error) {
	return meet(s.f, "Streams.Groups", ctx, s.StreamBus.Groups, stream)
}

func (s faultyStreams) Pending(ctx context.Context, req rpw.PendingRequest) (rpw.PendingPage, error) {
	return meet(s.f, "Streams.Pending", ctx, s.StreamBus.Pending, req)
}

func (s faultyStreams) Administer(ctx context.Context, req rpw.GroupCommands) ([]rpw.GroupAnswer, error) {
	return meet(s.f, "Streams.Administer", ctx, s.StreamBus.Administer, req)
}

type faultyCache struct {
	rpw.Cache
	f *faults
}

func (c faultyCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	return meet(c.f, "Cache.Get", ctx, c.Cache.Get, req)
}

func (c faultyCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	return meet(c.f, "Cache.Set", ctx, c.Cache.Set, items)
}

func (c faultyCache) Delete(ctx context.Context, items []rpw.CacheDelete) ([]rpw.CacheDeleted, error) {
	return meet(c.f, "Cache.Delete", ctx, c.Cache.Delete, items)
}

func (c faultyCache) Increment(ctx context.Context, items []rpw.CacheIncrement) ([]rpw.Counter, error) {
	return meet(c.f, "Cache.Increment", ctx, c.Cache.Increment, items)
}

func (c faultyCache) Scan(ctx context.Context, req rpw.ScanRequest) (rpw.ScanPage, error) {
	return meet(c.f, "Cache.Scan", ctx, c.Cache.Scan, req)
}

type faultyActions struct {
	rpw.ActionStore
	f *faults
}

func (a faultyActions) Enqueue(ctx context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	return meet(a.f, "Actions.Enqueue", ctx, a.ActionStore.Enqueue, specs)
}

func (a faultyActions) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	return meet(a.f, "Actions.Claim", ctx, a.ActionStore.Claim, req)
}

func (a faultyActions) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	return meet(a.f, "Actions.Advance", ctx, a.ActionStore.Advance, req)
}

func (a faultyActions) Control(ctx context.Context, req rpw.ControlRequest) ([]rpw.Controlled, error) {
	return meet(a.f, "Actions.Control", ctx, a.ActionStore.Control, req)
}

func (a faultyActions) Get(ctx context.Context, refs []rpw.ActionRef) ([]rpw.GotAction, error) {
	return meet(a.f, "Actions.Get", ctx, a.ActionStore.Get, refs)
}

func (a faultyActions) List(ctx context.Context, req rpw.ListActions) (rpw.ActionsPage, error) {
	return meet(a.f, "Actions.List", ctx, a.ActionStore.List, req)
}

func (a faultyActions) Count(ctx context.Context, filter rpw.ActionFilter) (map[rpw.State]int64, error) {
	return meet(a.f, "Actions.Count", ctx, a.ActionStore.Count, filter)
}

func (a faultyActions) Queues(ctx context.Context, req rpw.QueuesRequest) (rpw.QueuesPage, error) {
	return meet(a.f, "Actions.Queues", ctx, a.ActionStore.Queues, req)
}

func (a faultyActions) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	return meet(a.f, "Actions.Changes", ctx, a.ActionStore.Changes, req)
}

func (a faultyActions) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	return meet(a.f, "Actions.Heartbeat", ctx, a.ActionStore.Heartbeat, hb)
}

func (a faultyActions) Workers(ctx context.Context, req rpw.WorkersRequest) (rpw.WorkersPage, error) {
	return meet(a.f, "Actions.Workers", ctx, a.ActionStore.Workers, req)
}
