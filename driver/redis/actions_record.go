package redis

import (
	"cmp"
	"encoding/json"
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
	p = p.int(int64(cmp.Or(spec.MaxAttempts, rpw.DefaultMaxAttempts))).int(micros(cmp.Or(spec.CancelGrace, rpw.DefaultCancelGrace)))
	for _, keep := range []time.Duration{spec.Keep.Completed, spec.Keep.Failed, spec.Keep.Cancelled} {
		if keep == rpw.NoTTL {
			p = p.int(-1)
		} else {
			p = p.int(micros(keep))
		}
	}
	return string(p.bytes(spec.Data))
}

// readAction reads what describe of the prelude tells of an action. size is how many bytes it is.
func readAction(queue string, m *rueidis.RedisMessage) (a rpw.Action, token uint64, size int, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 7 {
		return a, 0, 0, errUnpack
	}
	a.Ref = rpw.ActionRef{Queue: queue, ID: textOf(&parts[0])}
	spec, record := textOf(&parts[1]), textOf(&parts[2])
	size = len(spec) + len(record)
	if err := readSpec(&a, spec); err != nil {
		return a, 0, 0, err
	}
	failures := int64(0)
	if token, failures, err = readRecord(&a, record); err != nil {
		return a, 0, 0, err
	}
	if data := textOf(&parts[3]); data != "" {
		a.Data = json.RawMessage(data)
		size += len(data)
	}
	if failures > 0 {
		a.Failures = make([]rpw.ActionFailure, 0, min(failures, 100))
		list, _ := parts[5].ToArray()
		for i := range list {
			u := unpacker{rest: textOf(&list[i])}
			size += len(u.rest)
			a.Failures = append(a.Failures, *readFailure(&u))
			if u.err != nil {
				return a, 0, 0, u.err
			}
		}
		if a.State == rpw.Pending && len(a.Failures) > 0 {
			last := a.Failures[len(a.Failures)-1]
			a.Failure = &last
		}
	}
	if text := textOf(&parts[4]); text != "" {
		end, err := readChange(a.Seq, text)
		if err != nil {
			return a, 0, 0, err
		}
		a.Failure, a.Output = end.Failure, end.Output
		size += len(text)
	}
	if events, _ := parts[6].ToArray(); len(events) > 0 {
		if a.Events, err = readChanges(a.Seq-uint64(len(events))+1, events); err != nil {
			return a, 0, 0, err
		}
	}
	return a, token, size, nil
}

func readSpec(a *rpw.Action, text string) error {
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

// readRecord reads the fields of a record, in the order that lua/prelude_actions.lua gives them.
func readRecord(a *rpw.Action, text string) (token uint64, failures int64, err error) {
	u := unpacker{rest: text}
	if u.array() < 25 {
		return 0, 0, errUnpack
	}
	u.int() // the number of its creation
	a.Created = timeOf(u.int())
	a.State = stateOf(u.int())
	a.Seq = uint64(u.int())
	a.Attempt, a.MaxAttempts = int(u.int()), int(u.int())
	a.RunAt, a.Started, a.Finished, a.Until = timeOf(u.int()), timeOf(u.int()), timeOf(u.int()), timeOf(u.int())
	u.int() // the length of its lease
	token = uint64(u.int())
	a.Worker = u.text()
	for range 6 { // start by, within, grace, retention of each outcome
		u.int()
	}
	a.Unique = u.text()
	a.CancelAt = timeOf(u.int())
	u.text() // the reason of the cancel
	a.Progress = u.float()
	u.int() // whether there is data
	failures = u.int()
	return token, failures, u.err
}

func readFailure(u *unpacker) *rpw.ActionFailure {
	if u.array() != 6 {
		u.fail()
	}
	return &rpw.ActionFailure{Message: u.text(), Attempt: int(u.int()), Time: timeOf(u.int()), Worker: u.text(), Permanent: u.int() == 1, Stack: u.text()}
}

// readChange reads an entry of the log. What it does not have at its end is left out.
func readChange(seq uint64, text string) (rpw.Change, error) {
	u := unpacker{rest: text}
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
				c.Failure = readFailure(&u)
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
	return c, u.err
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
