package redis

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var controlScript = newScript("actions_control.lua", actionPrelude, actionCore, actionBundles, actionLots, actionRecords, actionLanes)

// How a command was taken, as actions_control.lua says.
const (
	commandOK = iota
	commandNotFound
	commandFinished
	commandConflict
	commandKeyTaken
)

// Control commands actions and queues, each command atomic for itself. A cancel of a running action is stored with the action, and then told
// to the session of its worker, which is in another slot; the answer comes after both. If it does not come, the worker hears of the
// cancel from its next move, or when the command is repeated.
func (a *actionStore) Control(ctx context.Context, req rpw.ControlRequest) ([]rpw.Controlled, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	batches := byQueue(req.Commands, func(c *rpw.Command) string { return c.Ref.Queue })
	calls := make([]queueCall, len(batches))
	for i, b := range batches {
		args := make([]string, len(b.items))
		for j, at := range b.items {
			c := &req.Commands[at]
			if c.Kind == rpw.Pause {
				if err := a.introduce(ctx, b.queue); err != nil {
					return nil, err
				}
			}
			args[j] = packCommand(c)
		}
		calls[i] = queueCall{b.queue, controlLane, req.Lane, args}
	}
	answers := make([]rpw.Controlled, len(req.Commands))
	var signals []signal
	for i, got := range a.runAll(ctx, controlScript, calls) {
		if got.err != nil {
			return nil, got.err
		}
		b := batches[i]
		if number(&got.values[0]) == 1 && slices.ContainsFunc(b.items, func(at int) bool { return req.Commands[at].Kind == rpw.Pause }) {
			if err := a.register(ctx, b.queue); err != nil {
				return nil, err
			}
		}
		for j, at := range b.items {
			values := got.values[1+3*j : 4+3*j]
			c := &req.Commands[at]
			answers[at] = rpw.Controlled{State: stateOf(number(&values[1])), Err: commandError(c, &values[0], stateOf(number(&values[1])))}
			if told, err := values[2].ToArray(); err == nil && len(told) == 4 {
				signals = append(signals, readSignal(c.Ref, told))
			}
		}
	}
	return answers, a.tell(ctx, signals)
}

// packCommand packs what actions_control.lua reads.
func packCommand(c *rpw.Command) string {
	p := make(packed, 0, 48+len(c.Ref.ID)+len(c.Reason))
	return p.array(5).int(int64(c.Kind)).text(c.Ref.ID).int(micros(c.Delay)).int(microTime(c.RunAt)).text(strings.ReplaceAll(c.Reason, "\x00", "")).string()
}

func commandError(c *rpw.Command, code *rueidis.RedisMessage, state rpw.State) error {
	switch number(code) {
	case commandOK:
		return nil
	case commandNotFound:
		return notFound(c.Ref)
	case commandFinished:
		return rpw.Errorf(rpw.ErrFinished, "the action is %s", state)
	case commandConflict:
		if c.Kind == rpw.DeleteAction {
			return rpw.Errorf(rpw.ErrConflict, "the action is %s; cancel it first", state)
		}
		return rpw.Errorf(rpw.ErrConflict, "the action is %s", state)
	case commandKeyTaken:
		return rpw.Errorf(rpw.ErrConflict, "another action has its unique key")
	}
	return errUnpack
}

// signal is what a worker must be told.
type signal struct {
	worker string
	args   []string // queue, id, token, reason, end of the grace
}

func readSignal(ref rpw.ActionRef, values []rueidis.RedisMessage) signal {
	decimal := func(m *rueidis.RedisMessage) string { return strconv.FormatInt(number(m), 10) }
	return signal{textOf(&values[0]), []string{ref.Queue, ref.ID, decimal(&values[1]), textOf(&values[2]), decimal(&values[3])}}
}

// tell tells workers, one script for each.
func (a *actionStore) tell(ctx context.Context, signals []signal) error {
	if len(signals) == 0 {
		return nil
	}
	slices.SortStableFunc(signals, func(s, t signal) int { return cmp.Compare(s.worker, t.worker) })
	var calls []scriptCall
	for i, s := range signals {
		if i == 0 || s.worker != signals[i-1].worker {
			calls = append(calls, a.signalCall(s.worker))
		}
		last := &calls[len(calls)-1]
		last.args = append(last.args, s.args...)
	}
	var failed error
	for _, got := range a.execAll(ctx, signalScript, calls) {
		failed = cmp.Or(failed, got.err)
	}
	return failed
}
