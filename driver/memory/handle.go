package memory

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// handle is one Hub's hold on a store: its ctx ends, with cause rpw.ErrClosed, when the Hub lets go.
type handle struct{ ctx context.Context }

// bound calls a verb so that its wait ends also with the handle.
func bound[Q, A any](h handle, ctx context.Context, verb func(context.Context, Q) (A, error), req Q, wait time.Duration) (A, error) {
	if wait <= 0 {
		return verb(ctx, req)
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(rpw.ErrClosed) })()
	answer, err := verb(waiting, req)
	if err != nil && err == waiting.Err() && context.Cause(waiting) == rpw.ErrClosed {
		err = rpw.Errorf(rpw.ErrClosed, "the handle on the store was closed while waiting")
	}
	return answer, err
}

// boundStreams are the streams of a store as one handle sees them.
type boundStreams struct {
	*streamStore
	h handle
}

func (b boundStreams) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	return bound(b.h, ctx, b.streamStore.Read, req, req.Wait)
}

func (b boundStreams) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return bound(b.h, ctx, b.streamStore.Fetch, req, req.Wait)
}

// boundActions are the actions of a store as one handle sees them.
type boundActions struct {
	*actionStore
	h handle
}

func (b boundActions) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	return bound(b.h, ctx, b.actionStore.Claim, req, req.Wait)
}

func (b boundActions) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	return bound(b.h, ctx, b.actionStore.Changes, req, req.Wait)
}

func (b boundActions) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	return bound(b.h, ctx, b.actionStore.Heartbeat, hb, hb.Wait)
}
