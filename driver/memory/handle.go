package memory

import (
	"context"
	"sync"

	"github.com/redis-process-worker/rpw"
)

// handle is one Hub's hold on a store: the waits that came through it end when the Hub lets go. It has no channel of its own, so a
// Hub opened outside of a testing/synctest bubble can be used inside.
type handle struct {
	mu     sync.Mutex
	closed bool
	waits  map[chan struct{}]struct{}
}

func newHandle() *handle { return &handle{waits: make(map[chan struct{}]struct{})} }

// through returns ctx for a call that came through the handle; enter finds the handle in it.
func (h *handle) through(ctx context.Context) context.Context { return handleContext{ctx, h} }

type handleContext struct {
	context.Context
	h *handle
}

type handleKey struct{}

func (c handleContext) Value(key any) any {
	if key == (handleKey{}) {
		return c.h
	}
	return c.Context.Value(key)
}

// holding is a wait that the end of a handle ends too.
type holding struct {
	h     *handle
	ended chan struct{} // gets the end; made by the waiting goroutine, nil without a handle
}

// enter registers the calling goroutine's wait with the handle that ctx came through.
//
//	holding := enter(ctx)
//	defer holding.leave()
//	select {
//	case <-holding.ended:
//		return errHandleClosed()
//	...
func enter(ctx context.Context) holding {
	h, _ := ctx.Value(handleKey{}).(*handle)
	if h == nil {
		return holding{}
	}
	ended := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		ended <- struct{}{}
	} else {
		h.waits[ended] = struct{}{}
	}
	return holding{h, ended}
}

func (w holding) leave() {
	if w.h == nil {
		return
	}
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	delete(w.h.waits, w.ended)
}

// close ends all waits, now and later.
func (h *handle) close(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for ended := range h.waits {
		ended <- struct{}{}
	}
	clear(h.waits)
	return nil
}

func errHandleClosed() error {
	return rpw.Errorf(rpw.ErrClosed, "the handle on the store was closed while waiting")
}

// boundStreams are the streams of a store as one handle sees them.
type boundStreams struct {
	*streamStore
	h *handle
}

func (b boundStreams) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	return b.streamStore.Read(b.h.through(ctx), req)
}

func (b boundStreams) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return b.streamStore.Fetch(b.h.through(ctx), req)
}

// boundActions are the actions of a store as one handle sees them.
type boundActions struct {
	*actionStore
	h *handle
}

func (b boundActions) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	return b.actionStore.Claim(b.h.through(ctx), req)
}

func (b boundActions) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	return b.actionStore.Changes(b.h.through(ctx), req)
}

func (b boundActions) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	return b.actionStore.Heartbeat(b.h.through(ctx), hb)
}
