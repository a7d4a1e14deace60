package rpw

import (
	"context"
	"errors"
	"time"
)

// A claim or a fetch whose caller leaves while the backend is at it may have leased what nobody is going to work on. The Hub makes the same call again,
// on the same lane, which answers what was leased, and hands that back: others get it now, and not when its lease ends.

// handBackTime bounds how long the Hub takes for that.
const handBackTime = 3 * time.Second

// abandoned says whether a call failed after its caller's context had ended. Its lane is not used for another call, since this one may come back:
// from a server in between, if it was not the Hub that the caller has left.
func abandoned(ctx context.Context, err error) bool {
	return err != nil && ctx != nil && ctx.Err() != nil
}

// handBack lets again hand back what a call that was cut short may have leased, and returns the error of the call. A caller whose context ended because of
// ErrUnavailable has lost his connection to a server in between: he makes the same call again, and what it leased is his.
func (h *Hub) handBack(ctx context.Context, err error, again func(context.Context)) error {
	if !errors.Is(err, ErrUncertain) || errors.Is(context.Cause(ctx), ErrUnavailable) {
		return err
	}
	left := ctx.Err()
	ctx = context.WithoutCancel(ctx)
	if !h.spawn(func() {
		ctx, cancel := context.WithTimeout(ctx, handBackTime)
		defer cancel()
		again(ctx)
	}) {
		return err
	}
	return left
}

func handBackActions(ctx context.Context, store ActionStore, req ClaimRequest) {
	req.Wait = 0
	claimed, _ := store.Claim(ctx, req)
	if len(claimed) == 0 {
		return
	}
	moves := make([]Move, len(claimed))
	for i, c := range claimed {
		moves[i] = Move{Lease: c.Lease, Kind: Giveback}
	}
	store.Advance(ctx, AdvanceRequest{Moves: moves}) // what this misses is claimed when its lease ends
}

// handBackEvents hands back what a fetch has leased. A gap that it was told is for the next fetch of its consumer; missed is nil if that makes the call again itself.
func (g guardedStreams) handBackEvents(ctx context.Context, c call, req FetchRequest, missed *unheardFetch) {
	ask := func() error { return c.wrap(release(ctx, g.h.parts.Streams, req)) }
	if missed == nil {
		_ = ask()
	} else if err := missed.hear(ctx, ask); err == nil && missed.gap == nil {
		g.h.unheard.remove(missed)
	}
}

// release makes a fetch again, without waiting, and releases what it leased.
func release(ctx context.Context, bus StreamBus, req FetchRequest) error {
	req.Wait = 0
	deliveries, err := bus.Fetch(ctx, req)
	if len(deliveries) == 0 {
		return err
	}
	verdicts := make([]Settlement, len(deliveries))
	for i, d := range deliveries {
		verdicts[i] = Settlement{Receipt: d.Receipt, Verdict: Release}
	}
	_, _ = bus.Settle(ctx, SettleRequest{Stream: req.Stream, Group: req.Group, Settlements: verdicts}) // what this misses is delivered when its lease ends
	return nil
}
