package load

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
)

// The groups: of the first the load works the verbs itself, the other one is a Consume.
const (
	handGroup = "hand"
	autoGroup = "auto"
)

// groupStream is the stream that they consume.
const groupStream = "s1"

// consumer makes the steps of a consumer that acknowledges, gives back, holds on, rejects, or forgets.
func (r *run) consumer() func(ctx context.Context, a *actor) {
	var known uint64 // the incarnation
	return func(ctx context.Context, a *actor) {
		if known == 0 {
			known = a.join(ctx)
			return
		}
		rec := a.record(history.OpFetch)
		rec.Stream, rec.Group = groupStream, handGroup
		ret := a.Call(rec)
		deliveries, err := a.hub().Streams().Fetch(ctx, rpw.FetchRequest{Stream: groupStream, Group: handGroup, Consumer: a.name,
			Incarnation: known, Max: 1 + a.IntN(4), Lease: a.Lease, Wait: a.N(20 * a.Pause)})
		ret(func(rec *history.Record) {
			rec.Settle(err)
			for _, d := range deliveries {
				rec.Items = append(rec.Items, a.lent(d))
			}
		})
		if gap, ok := errors.AsType[*rpw.GapError](err); errors.Is(err, rpw.ErrNotFound) || ok && gap.Kind == rpw.GapReset {
			known = 0
		}
		for _, d := range deliveries {
			a.handle(ctx, d)
		}
	}
}

func (a *actor) lent(d rpw.Delivery) history.Item {
	i := item(d.Event)
	i.Token, i.Attempt, i.Until = d.Receipt.Token, d.Attempt, a.On(d.Until)
	return i
}

func (a *actor) join(ctx context.Context) uint64 {
	rec := a.record(history.OpJoin)
	rec.Stream, rec.Group = groupStream, handGroup
	ret := a.Call(rec)
	info, err := a.hub().Streams().EnsureGroup(ctx, rpw.GroupConfig{Stream: groupStream, Group: handGroup, From: rpw.Oldest(), Lease: a.Lease, MaxDeliveries: 6})
	ret(func(rec *history.Record) {
		rec.Settle(err)
		rec.At = info.Position
	})
	return info.Incarnation
}

// handle works on an event for a while.
func (a *actor) handle(ctx context.Context, d rpw.Delivery) {
	sleep(ctx, a.Rand, a.Pause/8)
	switch n := a.IntN(20); {
	case n < 1: // as a process that dies
	case n < 2:
		a.settle(ctx, d, rpw.Reject, 0)
	case n < 3:
		a.settle(ctx, d, rpw.Release, 0)
	case n < 5:
		a.settle(ctx, d, rpw.Nack, a.N(4*a.Pause))
	case n < 7: // too slow
		sleep(ctx, a.Rand, 2*a.Lease)
		a.settle(ctx, d, rpw.Ack, 0)
	case n < 9:
		a.settle(ctx, d, rpw.Extend, a.Lease)
		sleep(ctx, a.Rand, a.Lease)
		a.settle(ctx, d, rpw.Ack, 0)
	default:
		a.settle(ctx, d, rpw.Ack, 0)
		if n == 19 {
			a.settle(ctx, d, rpw.Ack, 0)
		}
	}
}

func (a *actor) settle(ctx context.Context, d rpw.Delivery, verdict rpw.Verdict, delay time.Duration) {
	kinds := map[rpw.Verdict]string{rpw.Ack: history.Ack, rpw.Nack: history.Nack, rpw.Extend: history.Extend, rpw.Reject: history.Reject, rpw.Release: history.Release}
	rec := a.record(history.OpSettle)
	rec.Stream, rec.Group, rec.Kind, rec.Items = groupStream, handGroup, kinds[verdict], []history.Item{a.lent(d)}
	ctx, timed := a.patience(ctx, "settle")
	if delay > 0 {
		rec.Until = a.Now() + delay
	}
	ret := a.Call(rec)
	errs, err := a.hub().Streams().Settle(ctx, rpw.SettleRequest{Stream: groupStream, Group: handGroup,
		Settlements: []rpw.Settlement{{Receipt: d.Receipt, Verdict: verdict, Delay: delay}}})
	if err == nil {
		err = errs[0]
	}
	ret(func(rec *history.Record) { rec.Settle(err) })
	timed(err)
}

// startMember starts a Consume, again and again. It settles by itself: what the handler returns is recorded as a verdict whose outcome is
// unknown, and so is that it may have handed back, at its end, what the handler had not finished.
func (r *run) startMember(ctx context.Context) {
	a := &actor{run: r, name: "member", Rand: r.random(), process: r.processes[0]}
	r.serving.Go(func() { a.consume(ctx) })
}

func (a *actor) consume(ctx context.Context) {
	for ctx.Err() == nil {
		var last atomic.Pointer[history.Item] // a handler may outlive its Consume
		rpw.Consume(ctx, a.hub(), groupStream, rpw.Consumer{Group: autoGroup, From: rpw.Oldest(), Lease: a.Lease, MaxDeliveries: rpw.Unlimited,
			OnGap: rpw.GapContinue, Grace: a.Pause}, func(ctx context.Context, d rpw.Delivery) error {
			rec := a.record(history.OpFetch)
			rec.Stream, rec.Group = groupStream, autoGroup
			a.Call(rec)(func(rec *history.Record) { rec.Items, rec.Outcome = []history.Item{a.lent(d)}, history.OK })
			rec.Op, rec.Kind, rec.Items = history.OpSettle, history.Ack, []history.Item{a.lent(d)}
			last.Store(&rec.Items[0])
			var err error
			if d.Attempt == 1 && d.Count%10 == 0 {
				rec.Kind, err = history.Nack, rpw.RetryIn(errors.New("again"), a.Pause)
			}
			a.Call(rec)
			return err
		})
		if item := last.Load(); item != nil {
			rec := a.record(history.OpSettle)
			rec.Stream, rec.Group, rec.Kind, rec.Items = groupStream, autoGroup, history.Release, []history.Item{*item}
			a.Call(rec)
		}
		sleep(ctx, a.Rand, a.Pause)
	}
}
