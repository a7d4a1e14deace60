package redis

import (
	"context"
	"encoding/binary"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var advanceScript = newActionScript("actions_advance.lua", "careful_advance.lua", []string{actionPrelude, actionCore, actionBundles}, actionLanes)

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
		args := make([]string, 0, 3*len(b.items))
		for _, at := range b.items {
			args = appendMove(args, &req.Moves[at])
		}
		calls[i] = queueCall{b.queue, advanceLane, req.Lane, args}
	}
	answers := make([]rpw.Advanced, len(req.Moves))
	for i, got := range a.runAll(ctx, advanceScript, calls) {
		if got.err != nil {
			return nil, got.err
		}
		for j, at := range batches[i].items {
			if len(got.values) > 0 {
				answers[at] = readAdvanced(&req.Moves[at], &got.values[j])
			} else {
				answers[at].State = rpw.Completed
			}
		}
	}
	return answers, nil
}

// appendMove appends what actions_advance.lua reads.
func appendMove(args []string, m *rpw.Move) []string {
	id := m.Lease.Ref.ID
	if m.Kind == rpw.Complete {
		token := binary.BigEndian.AppendUint64(make([]byte, 0, 8), m.Lease.Token)
		return append(args, id, packed(token).string(), stringOf(m.Output))
	}
	text, span, permanent := m.Event, m.RetryIn, m.Failure.Permanent
	switch m.Kind {
	case rpw.Renew:
		span = m.For
	case rpw.Fail:
		text = m.Failure.Message
	}
	p := make(packed, 0, 64+len(id)+len(m.Data)+len(text)+len(m.Failure.Stack))
	p = p.array(10).text(id).uint(m.Lease.Token).int(int64(m.Kind)).text("").int(micros(span)).float(m.Progress)
	return append(args, id, "", p.bytes(m.Data).text(text).text(m.Failure.Stack).bool(permanent).string())
}

func readAdvanced(m *rpw.Move, answer *rueidis.RedisMessage) rpw.Advanced {
	values := valuesOf(answer)
	if len(values) != 4 { // 0
		return rpw.Advanced{State: rpw.Completed}
	}
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
		return rpw.Errorf(rpw.ErrLeaseLost, "the lease has ended; stop working on %s", rpw.QuoteName(ref.ID))
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
