package load

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
)

// boss knows which actions there are.
type boss struct {
	mu   sync.Mutex
	refs []rpw.ActionRef
}

// starter enqueues actions, some of them twice.
func (r *run) starter(ctx context.Context, a *actor) {
	spec := rpw.ActionSpec{Ref: rpw.ActionRef{Queue: queues[a.IntN(len(queues))], ID: a.fresh()}, Name: "act", MaxAttempts: 1 + a.IntN(4), CancelGrace: a.Lease}
	if a.one(3) {
		spec.Delay = a.N(10 * a.Pause)
	}
	a.boss.mu.Lock()
	a.boss.refs = append(a.boss.refs, spec.Ref)
	a.boss.mu.Unlock()
	if a.enqueue(ctx, spec) != history.OK || a.one(10) {
		a.enqueue(ctx, spec)
	}
}

func (a *actor) enqueue(ctx context.Context, spec rpw.ActionSpec) history.Outcome {
	rec := a.record(history.OpEnqueue)
	rec.Ref, rec.N = spec.Ref.String(), int64(spec.MaxAttempts)
	ctx, timed := a.patience(ctx, "enqueue")
	if spec.Delay > 0 {
		rec.Until = a.Now() + spec.Delay
	}
	ret := a.Call(rec)
	answers, err := a.hub().Actions().Enqueue(ctx, []rpw.ActionSpec{spec})
	if err == nil {
		err = answers[0].Err
	}
	ret(func(rec *history.Record) { rec.Settle(err) })
	timed(err)
	return history.OutcomeOf(err)
}

// commander cancels, retries, reschedules and deletes.
func (r *run) commander(ctx context.Context, a *actor) {
	a.boss.mu.Lock()
	refs := a.boss.refs
	a.boss.mu.Unlock()
	if len(refs) == 0 || !a.one(3) {
		return
	}
	kinds := []rpw.CommandKind{rpw.Cancel, rpw.Cancel, rpw.Cancel, rpw.Retry, rpw.Reschedule, rpw.DeleteAction}
	names := map[rpw.CommandKind]string{rpw.Cancel: history.Cancel, rpw.Retry: history.Retry, rpw.Reschedule: history.Reschedule, rpw.DeleteAction: history.Forget}
	c := rpw.Command{Kind: kinds[a.IntN(len(kinds))], Ref: refs[max(0, len(refs)-1-a.IntN(20))]}
	rec := a.record(history.OpControl)
	rec.Ref, rec.Kind = c.Ref.String(), names[c.Kind]
	ctx, timed := a.patience(ctx, "control")
	ret := a.Call(rec)
	answers, err := a.hub().Actions().Control(ctx, rpw.ControlRequest{Commands: []rpw.Command{c}})
	if err == nil {
		err = answers[0].Err
	}
	ret(func(rec *history.Record) {
		rec.Settle(err)
		if err == nil {
			rec.State = answers[0].State
		}
	})
	timed(err)
}

// worker claims and runs.
func (r *run) worker(ctx context.Context, a *actor) {
	rec := a.record(history.OpClaim)
	ret := a.Call(rec)
	claimed, err := a.hub().Actions().Claim(ctx, rpw.ClaimRequest{Queues: queues, Worker: a.name, Max: 1 + a.IntN(3), Lease: a.Lease, Wait: a.N(20 * a.Pause)})
	ret(func(rec *history.Record) {
		rec.Settle(err)
		for _, c := range claimed {
			rec.Items = append(rec.Items, history.Item{Ref: c.Ref.String(), Token: c.Lease.Token, Attempt: c.Attempt, Until: a.On(c.Until)})
		}
	})
	for _, c := range claimed {
		a.perform(ctx, c)
	}
}

// perform runs one attempt.
func (a *actor) perform(ctx context.Context, c rpw.Claimed) {
	sleep(ctx, a.Rand, a.Pause/8)
	complete := rpw.Move{Kind: rpw.Complete, Output: fmt.Appendf(nil, "%d", c.Lease.Token)}
	switch n := a.IntN(20); {
	case n < 1: // as a process that dies
	case n < 3: // too slow
		sleep(ctx, a.Rand, 2*a.Lease)
		a.advance(ctx, c, complete)
	case n < 5:
		a.advance(ctx, c, rpw.Move{Kind: rpw.Giveback, RetryIn: a.N(4 * a.Pause)})
	case n < 8:
		a.advance(ctx, c, rpw.Move{Kind: rpw.Fail, RetryIn: a.N(4 * a.Pause), Failure: rpw.ActionFailure{Message: "no", Permanent: a.one(5)}})
	case n < 12:
		a.advance(ctx, c, rpw.Move{Kind: rpw.Renew, For: a.Lease})
		sleep(ctx, a.Rand, a.Lease/2)
		a.advance(ctx, c, rpw.Move{Kind: rpw.SetProgress, Progress: 0.5})
		fallthrough
	default:
		a.advance(ctx, c, complete)
		if a.one(5) {
			a.advance(ctx, c, complete)
		}
	}
}

// advance makes a move, and accepts a cancel if it hears of one.
func (a *actor) advance(ctx context.Context, c rpw.Claimed, move rpw.Move) {
	kinds := map[rpw.MoveKind]string{rpw.Renew: history.Renew, rpw.SetProgress: history.Progress, rpw.Complete: history.Complete, rpw.Fail: history.Fail,
		rpw.Giveback: history.Giveback, rpw.AcceptCancel: history.AcceptCancel}
	move.Lease = c.Lease
	rec := a.record(history.OpAdvance)
	rec.Ref, rec.Token, rec.Kind, rec.Value = c.Ref.String(), c.Lease.Token, kinds[move.Kind], string(move.Output)
	limited, timed := a.patience(ctx, "advance")
	if after := move.For + move.RetryIn; after > 0 {
		rec.Until = a.Now() + after
	}
	if move.Kind == rpw.SetProgress {
		rec.Until = a.Now() + a.Lease
	}
	ret := a.Call(rec)
	answers, err := a.hub().Actions().Advance(limited, rpw.AdvanceRequest{Moves: []rpw.Move{move}})
	var answer rpw.Advanced
	if err == nil {
		answer = answers[0]
		err = answer.Err
	}
	ret(func(rec *history.Record) {
		rec.Settle(err)
		rec.State = answer.State
	})
	timed(err)
	if answer.Cancel && err == nil {
		a.advance(ctx, c, rpw.Move{Kind: rpw.AcceptCancel})
	}
}
