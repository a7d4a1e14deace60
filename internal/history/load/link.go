package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Link is the way between a hub and its driver, on which calls are kept back, replies are lost, and calls arrive late.
type Link struct {
	rpw.Parts

	mu     sync.Mutex
	random *rand.Rand
	rate   float64
	late   sync.WaitGroup
}

// NewLink returns a link on which calls have an accident at a rate of 0 to 1.
func NewLink(p rpw.Parts, seed uint64, rate float64) *Link {
	return &Link{Parts: p, random: rand.New(rand.NewPCG(seed, 0)), rate: rate}
}

// Spoilt are the parts as the hub takes them.
func (l *Link) Spoilt() rpw.Parts {
	p := l.Parts
	p.Streams, p.Cache, p.Actions = spoiltStreams{p.Streams, l}, spoiltCache{p.Cache, l}, spoiltActions{p.Actions, l}
	return p
}

// Wait waits for the calls that are late.
func (l *Link) Wait() { l.late.Wait() }

// accident chooses what happens to a call: 0 is nothing.
func (l *Link) accident() (kind int, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random.Float64() >= l.rate {
		return 0, 0
	}
	return 1 + l.random.IntN(3), time.Duration(l.random.Int64N(int64(5*time.Second)) + 1)
}

// through takes a call over the link.
func through[Q, A any](l *Link, ctx context.Context, do func(context.Context, Q) (A, error), req Q) (A, error) {
	var nothing A
	switch kind, delay := l.accident(); kind {
	case 1:
		return nothing, rpw.Errorf(rpw.ErrUnavailable, "the call was kept back")
	case 2:
		if _, err := do(ctx, req); err != nil {
			return nothing, err
		}
		return nothing, rpw.Errorf(rpw.ErrUncertain, "the reply was lost")
	case 3:
		l.late.Go(func() {
			time.Sleep(delay)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), delay)
			defer cancel()
			do(ctx, req)
		})
		return nothing, rpw.Errorf(rpw.ErrUncertain, "the call is late")
	}
	return do(ctx, req)
}

type spoiltStreams struct {
	rpw.StreamBus
	l *Link
}

func (s spoiltStreams) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	return through(s.l, ctx, s.StreamBus.Publish, batches)
}

func (s spoiltStreams) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return through(s.l, ctx, s.StreamBus.Fetch, req)
}

func (s spoiltStreams) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	return through(s.l, ctx, s.StreamBus.Settle, req)
}

type spoiltCache struct {
	rpw.Cache
	l *Link
}

func (c spoiltCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	return through(c.l, ctx, c.Cache.Set, items)
}

func (c spoiltCache) Delete(ctx context.Context, items []rpw.CacheDelete) ([]rpw.CacheDeleted, error) {
	return through(c.l, ctx, c.Cache.Delete, items)
}

type spoiltActions struct {
	rpw.ActionStore
	l *Link
}

func (a spoiltActions) Enqueue(ctx context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	return through(a.l, ctx, a.ActionStore.Enqueue, specs)
}

func (a spoiltActions) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	return through(a.l, ctx, a.ActionStore.Claim, req)
}

func (a spoiltActions) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	return through(a.l, ctx, a.ActionStore.Advance, req)
}

func (a spoiltActions) Control(ctx context.Context, req rpw.ControlRequest) ([]rpw.Controlled, error) {
	return through(a.l, ctx, a.ActionStore.Control, req)
}
