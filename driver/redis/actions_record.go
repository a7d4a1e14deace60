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
	p := make(packed, 0, 64+len(spec.Name)+len(spec.Arg))
	p = p.array(8).text(spec.Name).bytes(argument(spec)).array(len(spec.Labels))
	for _, label := range spec.Labels {
		p = p.text(label)
	}
	p = p.int(int64(spec.Timeout)).int(int64(grace(spec)))
	p = p.int(int64(spec.Backoff.First)).int(int64(spec.Backoff.Max)).float(spec.Backoff.Jitter)
	return p.string()
}

// The bounds of a lot: each is read whole. One spec may be larger.
const (
	lotItems = 100
	lotBytes = 8 << 10
)

// packLots packs specs in lots, as lua/prelude_actions.lua describes them.
func packLots(specs []string) []string {
	lots := make([]string, 0, 1+len(specs)/lotItems)
	for len(specs) > 0 {
		n, size := 1, len(specs[0])
		for n < min(len(specs), lotItems) && size+len(specs[n]) <= lotBytes {
			size += len(specs[n])
			n++
		}
		at := 1 + 4*(n+1)
		p := append(make(packed, 0, at+size), byte(n))
		for _, spec := range specs[:n] {
			p = p.big(4, int64(at+1)) // Lua counts from 1
			at += len(spec)
		}
		p = p.big(4, int64(at+1))
		for _, spec := range specs[:n] {
			p = append(p, spec...)
		}
		lots, specs = append(lots, p.string()), specs[n:]
	}
	return lots
}

// argument returns the JSON of a spec's argument.
func argument(spec *rpw.ActionSpec) json.RawMessage {
	if len(spec.Arg) == 0 {
		return json.RawMessage("null")
	}
	return spec.Arg
}

// isPlain reports whether nothing about an action needs care later: it is ready at once, and has no expiry, unique key or data. Most are.
func isPlain(spec *rpw.ActionSpec) bool {
	return spec.Delay == 0 && spec.RunAt.IsZero() && spec.StartWithin == 0 && spec.Unique == "" && len(spec.Data) == 0
}

// packPlain is the record of a plain action, as lua/prelude_actions.lua describes it, without what the store puts before, up to run-at.
func packPlain(spec *rpw.ActionSpec) string {
	p := make(packed, 0, plainSize).big(5, micros(grace(spec))).big(4, attempts(spec))
	keep := keeps(spec)
	return append(p.big(8, keep[1]).big(8, keep[2]).big(8, keep[0]), markPlain).string()
}

// packOptions packs what actions_enqueue.lua reads of an action that is not plain.
func packOptions(spec *rpw.ActionSpec) string {
	p := make(packed, 0, 96+len(spec.Unique)+len(spec.Data))
	p = p.array(11).text(spec.Unique).int(int64(spec.OnUnique))
	p = p.int(micros(spec.Delay)).int(microTime(spec.RunAt)).int(micros(spec.StartWithin))
	p = p.int(attempts(spec)).int(micros(grace(spec)))
	for _, keep := range keeps(spec) {
		p = p.int(keep)
	}
	return p.bytes(spec.Data).string()
}

func attempts(spec *rpw.ActionSpec) int64 {
	return int64(min(cmp.Or(spec.MaxAttempts, rpw.DefaultMaxAttempts), math.MaxInt32))
}

func grace(spec *rpw.ActionSpec) time.Duration {
	return cmp.Or(spec.CancelGrace, rpw.DefaultCancelGrace)
}

// keeps are the retentions by outcome in µs; 0 is the default, -1 for ever.
func keeps(spec *rpw.ActionSpec) [3]int64 {
	of := [3]int64{}
	for i, keep := range [...]time.Duration{spec.Keep.Completed, spec.Keep.Failed, spec.Keep.Cancelled} {
		if of[i] = micros(keep); keep == rpw.NoTTL {
			of[i] = -1
		}
	}
	return of
}

// storedAction is an action that is read.
type storedAction struct {
	*rpw.Action
	token  uint64 // of its newest claim
	events bool   // are asked for
}

// describedValues is how many values lua/describe_actions.lua tells of an action.
const describedValues = 4

// hasNoSpec says that a server that may drop keys has dropped what an action is to do. Then it is none any more: a claim that comes across it removes it.
func hasNoSpec(described []rueidis.RedisMessage) bool { return described[2].IsNil() }

// readAction reads what describe of lua/describe_actions.lua tells of an action of a queue, into a zero Action. token is that of its newest claim, size how
// many bytes it is.
func readAction(into *rpw.Action, queue string, values []rueidis.RedisMessage, events bool) (token uint64, size int, err error) {
	a := storedAction{Action: into, events: events}
	a.Ref = rpw.ActionRef{Queue: queue, ID: textOf(&values[0])}
	record, spec := textOf(&values[1]), textOf(&values[2])
	size = len(record) + len(spec)
	extra := valuesOf(&values[3])
	for j := range extra {
		size += len(textOf(&extra[j]))
	}
	if err := a.readSpec(spec); err != nil {
		return 0, 0, err
	}
	err = a.read(record, extra)
	return a.token, size, err
}

// The marks that a record ends with: see lua/prelude_actions.lua.
const (
	markWritten = iota
	markPlain
	markLeased
	markEnded
)

// plainSize is how long a plain record is, lotSize what says in a record where its spec is.
const (
	plainSize = 59
	lotSize   = 8 + 1
)

// read reads a record, and what it does not hold itself.
func (a *storedAction) read(record string, extra []rueidis.RedisMessage) error {
	if record == "" {
		return errUnpack
	}
	if record[len(record)-1] != markWritten {
		return a.readPlain(record)
	}
	u := unpacker{rest: record}
	a.Created = u.time()
	u.take(lotSize)
	a.RunAt, a.Started, a.Finished, a.Until = u.time(), u.time(), u.time(), u.time()
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
	ended := ""
	var before []rueidis.RedisMessage
	if len(extra) >= 3 {
		a.Data = jsonOf(textOf(&extra[0]))
		ended = textOf(&extra[1])
		n := int(number(&extra[2]))
		if err := a.readFailures(extra[3 : 3+n]); err != nil {
			return err
		}
		before = extra[3+n:]
	}
	return a.readEvents(first, history, before, ended)
}

// readPlain reads a plain record, and what was added to it.
func (a *storedAction) readPlain(record string) error {
	mark, u := record[len(record)-1], unpacker{rest: record[:len(record)-1]}
	a.Created = u.time()
	u.take(lotSize)
	a.RunAt = u.time()
	u.take(5) // grace
	a.MaxAttempts = int(u.number(4))
	u.take(3 * 8) // retention by outcome
	a.State, a.Seq = rpw.Pending, 1
	if a.events {
		a.Events = make([]rpw.Change, 0, 3)
	}
	a.happened(rpw.Change{Seq: 1, Kind: rpw.ChangeRequest, Time: a.RunAt, State: rpw.Pending, RunAt: a.RunAt})
	if mark == markPlain {
		return u.err
	}
	u.take(1) // markPlain
	a.Started = u.time()
	lease := time.Duration(u.number(5)) * time.Microsecond
	a.token = u.number(8)
	a.Worker = u.take(int(u.number(1)))
	a.State, a.Attempt, a.Seq, a.Until = rpw.Running, 1, 2, a.Started.Add(lease)
	a.happened(rpw.Change{Seq: 2, Kind: rpw.ChangeClaimed, Time: a.Started, State: rpw.Running, Attempt: 1, Worker: a.Worker})
	if mark == markLeased {
		return u.err
	}
	u.take(1) // markLeased
	a.Finished = u.time()
	a.State, a.Seq, a.Until, a.Output = rpw.Completed, 3, time.Time{}, jsonOf(u.rest)
	a.happened(rpw.Change{Seq: 3, Kind: rpw.ChangeCompleted, Time: a.Finished, State: rpw.Completed, Attempt: 1, Worker: a.Worker, Output: a.Output})
	return u.err
}

// happened adds a change to the events, if they are asked for.
func (a *storedAction) happened(c rpw.Change) {
	if a.events {
		a.Events = append(a.Events, c)
	}
}

func (a *storedAction) readSpec(text string) error {
	u := unpacker{rest: text}
	if u.array() != 8 {
		return errUnpack
	}
	a.Name, a.Arg = u.text(), bytesOf(u.text())
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
	a.Failures = make([]rpw.ActionFailure, 0, len(list))
	for i := range list {
		u := unpacker{rest: textOf(&list[i])}
		if u.rest == "" { // lost by a server that may drop keys, which holds up nothing
			continue
		}
		a.Failures = append(a.Failures, *readFailure(&u))
		if u.err != nil {
			return u.err
		}
	}
	if n := len(a.Failures); a.State == rpw.Pending && n > 0 {
		last := a.Failures[n-1]
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
	if a.events {
		if a.Events, _, err = readChanges(first-uint64(len(before)), before); err != nil {
			return err
		}
		a.Events = append(a.Events, within...)
	}
	if !a.State.Terminal() {
		return nil
	}
	var end rpw.Change
	if len(within) > 0 {
		end = within[len(within)-1]
	} else if ended == "" { // lost, as above
		return nil
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
	return bytesOf(s)
}

// readChanges reads the entries of the log from a number on. lost is the number of the last one that a server that may drop keys has dropped, 0 if there is
// none.
func readChanges(first uint64, list []rueidis.RedisMessage) (changes []rpw.Change, lost uint64, err error) {
	changes = make([]rpw.Change, 0, len(list))
	for i := range list {
		seq := first + uint64(i)
		if list[i].IsNil() {
			lost = seq
			continue
		}
		c, err := readChange(seq, textOf(&list[i]))
		if err != nil {
			return nil, 0, err
		}
		changes = append(changes, c)
	}
	return changes, lost, nil
}
