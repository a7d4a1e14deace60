package redis

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var advanceScript = newScript("actions_advance.lua", actionPrelude, actionLanes)

// How a move was taken, as actions_advance.lua says.
const (
	moveOK = iota
	moveNotFound
	moveLost
	moveGivenUp
	moveFinished
	moveCancelled
	moveNoCancel
)

// Advance moves claimed actions, each fenced by its lease.
func (a *actionStore) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	batches := byQueue(req.Moves, func(m *rpw.Move) string { return m.Lease.Ref.Queue })
	calls := make([]queueCall, len(batches))
	for i, b := range batches {
		args := make([]string, len(b.items))
		for j, at := range b.items {
			args[j] = packMove(&req.Moves[at])
		}
		calls[i] = queueCall{b.queue, advanceLane, req.Lane, args}
	}
	answers := make([]rpw.Advanced, len(req.Moves))
	for i, got := range a.runAll(ctx, advanceScript, calls) {
		if got.err != nil {
			return nil, got.err
		}
		for j, at := range batches[i].items {
			answers[at] = readAdvanced(&req.Moves[at], got.values[4*j:4*j+4])
		}
	}
	return answers, nil
}

// packMove packs what actions_advance.lua reads.
func packMove(m *rpw.Move) string {
	text, span, permanent := m.Event, m.RetryIn, m.Failure.Permanent
	switch m.Kind {
	case rpw.Renew:
		span = m.For
	case rpw.Fail:
		text = m.Failure.Message
	}
	p := make(packed, 0, 64+len(m.Lease.Ref.ID)+len(m.Data)+len(m.Output)+len(text)+len(m.Failure.Stack))
	if m.Kind == rpw.Complete {
		return string(p.array(4).text(m.Lease.Ref.ID).uint(m.Lease.Token).int(int64(m.Kind)).bytes(m.Output))
	}
	p = p.array(10).text(m.Lease.Ref.ID).uint(m.Lease.Token).int(int64(m.Kind)).text("").int(micros(span)).float(m.Progress)
	return string(p.bytes(m.Data).text(text).text(m.Failure.Stack).bool(permanent))
}

func readAdvanced(m *rpw.Move, values []rueidis.RedisMessage) rpw.Advanced {
	return rpw.Advanced{
		State:  stateOf(number(&values[1])),
		Until:  timeOf(number(&values[2])),
		Cancel: number(&values[3]) == 1,
		Err:    moveError(number(&values[0]), m.Lease.Ref),
	}
}

func moveError(code int64, ref rpw.ActionRef) error {
	switch code {
	case moveOK:
		return nil
	case moveNotFound:
		return notFound(ref)
	case moveLost:
		return rpw.Errorf(rpw.ErrLeaseLost, "the lease has ended; stop working on %s", rpw.QuoteName(ref.String()))
	case moveGivenUp:
		return rpw.Errorf(rpw.ErrLeaseLost, "the holder of this lease has given it up")
	case moveFinished:
		return rpw.Errorf(rpw.ErrFinished, "the holder of this lease has ended the action in another way")
	case moveCancelled:
		return rpw.Errorf(rpw.ErrCancelled, "the action was cancelled before it ended")
	case moveNoCancel:
		return rpw.Errorf(rpw.ErrConflict, "no cancel of the action was requested")
	}
	return errUnpack
}
