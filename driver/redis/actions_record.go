package redis

import (
	"cmp"
	"encoding/json"
	"math"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// states are the states by the number they are stored as.
var states = [...]rpw.State{"", rpw.Pending, rpw.Running, rpw.Completed, rpw.Failed, rpw.Cancelled}

func stateOf(n int64) rpw.State {
	if n < 0 || n >= int64(len(states)) {
		return ""
	}
	return states[n]
}

// packSpec packs what of an action never changes but by a replacement. Scripts read the first three: name, argument, labels.
func packSpec(spec *rpw.ActionSpec) string {
	p := make(packed, 0, 96+len(spec.Name)+len(spec.Arg))
	p = p.array(8).text(spec.Name).bytes(argument(spec)).array(len(spec.Labels))
	for _, label := range spec.Labels {
		p = p.text(label)
	}
	p = p.int(int64(spec.Timeout)).int(int64(cmp.Or(spec.CancelGrace, rpw.DefaultCancelGrace)))
	p = p.int(int64(spec.Backoff.First)).int(int64(spec.Backoff.Max)).float(spec.Backoff.Jitter)
	return string(p)
}

// argument returns the JSON of a spec's argument.
func argument(spec *rpw.ActionSpec) json.RawMessage {
	if len(spec.Arg) == 0 {
		return json.RawMessage("null")
	}
	return spec.Arg
}

// packOptions packs what actions_enqueue.lua reads.
func packOptions(spec *rpw.ActionSpec) string {
	p := make(packed, 0, 96+len(spec.Ref.ID)+len(spec.Unique)+len(spec.Data))
	p = p.array(12).text(spec.Ref.ID).text(spec.Unique).int(int64(spec.OnUnique))
	p = p.int(micros(spec.Delay)).int(microTime(spec.RunAt)).int(micros(spec.StartWithin))
	p = p.int(int64(min(cmp.Or(spec.MaxAttempts, rpw.DefaultMaxAttempts), math.MaxInt32))).int(micros(cmp.Or(spec.CancelGrace, rpw.DefaultCancelGrace)))
	for _, keep := range []time.Duration{spec.Keep.Completed, spec.Keep.Failed, spec.Keep.Cancelled} {
		if keep == rpw.NoTTL {
			p = p.int(-1)
		} else {
			p = p.int(micros(keep))
		}
	}
	return string(p.bytes(spec.Data))
}

// storedAction is an action with the token of its newest claim.
type storedAction struct {
	rpw.Action
	token uint64
}

// readActions reads what describe of lua/describe_actions.lua tells. size is how many bytes it is.
func readActions(queue string, values []rueidis.RedisMessage) (actions []storedAction, size int, err error) {
	actions = make([]storedAction, len(values)/3)
	for i := range actions {
		a := &actions[i]
		a.Ref = rpw.ActionRef{Queue: queue, ID: textOf(&values[3*i])}
		record := textOf(&values[3*i+1])
		size += len(record)
		extra, _ := values[3*i+2].ToArray()
		for j := range extra {
			size += len(textOf(&extra[j]))
		}
		if err := a.read(record, extra); err != nil {
			return nil, 0, err
		}
	}
	return actions, size, nil
}

// read reads a record, in the format that lua/prelude_actions.lua gives, and what it does not hold itself.
func (a *storedAction) read(record string, extra []rueidis.RedisMessage) error {
	u := unpacker{rest: record}
	a.Created, a.RunAt, a.Started, a.Finished, a.Until = u.time(), u.time(), u.time(), u.time(), u.time()
	a.token = u.number(8)
	a.CancelAt = u.time()
	u.take(3*8 + 2*5 + 3*8) // start by, within, its time in the agenda; lease, grace; retention by outcome
	a.Seq = u.number(5)
	a.Attempt, a.MaxAttempts = int(u.number(4)), int(u.number(4))
	u.take(4) // how many failures
	a.State = stateOf(int64(u.number(1)))
	u.take(3 + 8) // whether it is ready and has data; how its lease was given up, and which
	a.Progress = math.Float64frombits(u.number(8))
	a.Worker, a.Unique = u.zeroEnded(), u.zeroEnded()
	u.zeroEnded() // the reason of the cancel
	first, size := u.number(5), u.number(4)
	history := u.take(int(size))
	if u.err != nil {
		return u.err
	}
	spec, ended := u.rest, ""
	var before []rueidis.RedisMessage
	if len(extra) >= 4 {
		spec = cmp.Or(textOf(&extra[0]), spec)
		a.Data = jsonOf(textOf(&extra[1]))
		ended = textOf(&extra[2])
		n := int(number(&extra[3]))
		if err := a.readFailures(extra[4 : 4+n]); err != nil {
			return err
		}
		before = extra[4+n:]
	}
	if err := a.readSpec(spec); err != nil {
		return err
	}
	return a.readEvents(first, history, before, ended)
}

func (a *storedAction) readSpec(text string) error {
	u := unpacker{rest: text}
	if u.array() != 8 {
		return errUnpack
	}
	a.Name, a.Arg = u.text(), json.RawMessage(u.text())
	if n := u.array(); n > 0 {
		a.Labels = make([]string, min(n, 16))
		for i := range a.Labels {
			a.Labels[i] = u.text()
		}
	}
	a.Timeout, a.CancelGrace = time.Duration(u.int()), time.Duration(u.int())
	a.Backoff = rpw.Backoff{First: time.Duration(u.int()), Max: time.Duration(u.int()), Jitter: u.float()}
	return u.err
}

func (a *storedAction) readFailures(list []rueidis.RedisMessage) error {
	if len(list) == 0 {
		return nil
	}
	a.Failures = make([]rpw.ActionFailure, len(list))
	for i := range list {
		u := unpacker{rest: textOf(&list[i])}
		a.Failures[i] = *readFailure(&u)
		if u.err != nil {
			return u.err
		}
	}
	if a.State == rpw.Pending {
		last := a.Failures[len(list)-1]
		a.Failure = &last
	}
	return nil
}

// readEvents reads the history: that within the record begins with a number, some of that before it may have been asked for. What ended the
// action is its last change, which was told apart if it is not within the record.
func (a *storedAction) readEvents(first uint64, history string, before []rueidis.RedisMessage, ended string) error {
	within, err := readHistory(first, history)
	if err != nil {
		return err
	}
	a.Events, err = readChanges(first-uint64(len(before)), before)
	if err != nil {
		return err
	}
	a.Events = append(a.Events, within...)
	if !a.State.Terminal() {
		return nil
	}
	var end rpw.Change
	if len(within) > 0 {
		end = within[len(within)-1]
	} else if end, err = readChange(a.Seq, ended); err != nil {
		return err
	}
	a.Failure, a.Output = end.Failure, end.Output
	return nil
}

func readFailure(u *unpacker) *rpw.ActionFailure {
	if u.array() != 6 {
		u.fail()
	}
	return &rpw.ActionFailure{Message: u.text(), Attempt: int(u.int()), Time: timeOf(u.int()), Worker: u.text(), Permanent: u.int() == 1, Stack: u.text()}
}

// readChange reads an entry of the log.
func readChange(seq uint64, text string) (rpw.Change, error) {
	u := unpacker{rest: text}
	c := u.change(seq)
	return c, u.err
}

// readHistory reads changes that follow each other, from a number on.
func readHistory(first uint64, text string) ([]rpw.Change, error) {
	var changes []rpw.Change
	for u := (unpacker{rest: text}); u.rest != ""; first++ {
		changes = append(changes, u.change(first))
		if u.err != nil {
			return nil, u.err
		}
	}
	return changes, nil
}

// change reads a change. What it does not have at its end is left out.
func (u *unpacker) change(seq uint64) rpw.Change {
	n := u.array()
	c := rpw.Change{Seq: seq, Kind: rpw.ChangeKind(u.text()), Time: timeOf(u.int()), State: stateOf(u.int()), Attempt: int(u.int())}
	for i := 5; i <= n; i++ {
		switch i {
		case 5:
			c.Worker = u.text()
		case 6:
			c.RunAt = timeOf(u.int())
		case 7:
			if u.isText() { // ""
				u.text()
			} else {
				c.Failure = readFailure(u)
			}
		case 8:
			c.Output = jsonOf(u.text())
		case 9:
			c.Progress = u.float()
		case 10:
			c.Event = u.text()
		case 11:
			c.Data = jsonOf(u.text())
		}
	}
	return c
}

func jsonOf(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// readChanges reads the entries of the log from a number on.
func readChanges(first uint64, list []rueidis.RedisMessage) ([]rpw.Change, error) {
	changes := make([]rpw.Change, len(list))
	for i := range list {
		var err error
		if changes[i], err = readChange(first+uint64(i), textOf(&list[i])); err != nil {
			return nil, err
		}
	}
	return changes, nil
}
