// Package history records what the users of a store saw, and checks what rpw promises against it: nothing lost, nothing twice, one winner.
// A checker needs no model of the store and no control of the interleaving, so the load may be as random as it likes; see package load.
package history

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// History is a recorded run. The records are in the order of T.
type History struct {
	Records []Record
	Final   Dump
	Bounds  Bounds
}

// Bounds are the tolerances of the checkers that measure time.
type Bounds struct {
	Clock   time.Duration // how far a time of the store may be from one of the recorder
	Late    time.Duration // how late a scheduled action may start; 0: not checked
	Publish time.Duration // from the last heal to a publish that works; 0: not checked
	CatchUp time.Duration // from the last heal until a subscription has everything; 0: not checked
	Idle    time.Duration // how long an action that can run may wait: lease and sweep; 0: not checked
	Return  time.Duration // how much longer than its bound a call may take
	Heap    float64       // how much the heap may have grown, as a share

	// HandsBack: between the clients and the store is a server that gives back what it could not hand over, at once and without costing an attempt.
	// When a connection breaks it cannot know whether its client has got it, so the client may have, also over another connection; its receipt is no good
	// then. It is how long the server may go without noticing that a connection broke in a fault; 0: there is no such server.
	HandsBack time.Duration
}

// Violation is a broken promise with its evidence.
type Violation struct {
	Rule     string
	Text     string
	Evidence []Record
}

func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", v.Rule, v.Text)
	const shown = 20
	for _, rec := range v.Evidence[:min(shown, len(v.Evidence))] {
		line, _ := json.Marshal(rec) // it has nothing that cannot be written
		fmt.Fprintf(&b, "\n\t%v %s", rec.T, line)
	}
	return b.String()
}

// Checker is one rule. Its check is a pure function that returns what breaks the rule.
type Checker struct {
	Rule  string
	Check func(*History) []Violation
}

// Checkers are all rules.
func Checkers() []Checker {
	return []Checker{
		{"H1 no loss", noLoss},
		{"H2 exactly once per subscription", exactlyOnce},
		{"H3 no phantom", noPhantom},
		{"H4 unknown is bounded", unknownIsBounded},
		{"H5 gap honesty", gapHonesty},
		{"H6 order", order},
		{"H7 group at least once", groupAtLeastOnce},
		{"H8 fence", fence},
		{"H9 one terminal", oneTerminal},
		{"H10 no lost action", noLostAction},
		{"H11 attempts", attempts},
		{"H12 schedule", schedule},
		{"H13 cancel", cancel},
		{"H14 cache", cache},
		{"H15 logs", logs},
		{"H16 resources", resources},
		{"H17 liveness", liveness},
	}
}

// Check applies all rules.
func (h *History) Check() (found []Violation) {
	for _, c := range Checkers() {
		for _, v := range c.Check(h) {
			v.Rule = c.Rule
			found = append(found, v)
		}
	}
	return found
}

// violations collects what one checker finds.
type violations []Violation

func (v *violations) add(evidence []Record, format string, args ...any) {
	*v = append(*v, Violation{Text: fmt.Sprintf(format, args...), Evidence: evidence})
}

// never is the return of a call that did not return.
const never = time.Duration(math.MaxInt64)

// last is the number of a return that did not come.
const last = math.MaxInt

// operation is a call with its return. What happened before what is told by the numbers of the records, since many have the same T in virtual
// time.
type operation struct {
	Record               // the return, or the call if there was none; T and seq are those of the call
	end    time.Duration // of the return, or never
	done   int           // the number of the return, or last
}

// before reports whether o had returned before other was called.
func (o operation) before(other operation) bool { return o.done < other.seq }

// operations are the calls of some kinds, in the order in which they were made.
func (h *History) operations(ops ...Op) (all []operation) {
	at := make(map[int]int)
	for seq, rec := range h.Records {
		if !slices.Contains(ops, rec.Op) {
			continue
		}
		rec.seq = seq
		switch i, called := at[rec.Call]; {
		case rec.Phase == Called:
			at[rec.Call] = len(all)
			rec.Outcome = Unknown
			all = append(all, operation{rec, never, last})
		case rec.Phase == Returned && called:
			o := &all[i]
			o.end, o.done = rec.T, seq
			rec.T, rec.seq = o.T, o.seq
			o.Record = rec
		}
	}
	return all
}

// notes are the records of some kinds that happened at one time.
func (h *History) notes(ops ...Op) (all []Record) {
	for seq, rec := range h.Records {
		if rec.Phase == "" && slices.Contains(ops, rec.Op) {
			rec.seq = seq
			all = append(all, rec)
		}
	}
	return all
}

// byActor are the notes of some kinds, by actor.
func (h *History) byActor(ops ...Op) map[string][]Record {
	by := make(map[string][]Record)
	for _, rec := range h.notes(ops...) {
		by[rec.Actor] = append(by[rec.Actor], rec)
	}
	return by
}

// resets are the calls that drop history or other data.
type resets []operation

func (h *History) resets() resets { return h.operations(OpReset) }

// restored are those that put an older copy in place.
func (r resets) restored() (some resets) {
	for _, o := range r {
		if o.Kind == Restored {
			some = append(some, o)
		}
	}
	return some
}

// between reports whether the history of a stream, or all other data ("" as its name), may have been dropped between two times.
func (r resets) between(stream string, from, to time.Duration) bool {
	return slices.ContainsFunc(r, func(o operation) bool {
		return (o.Stream == "" || o.Stream == stream) && o.T <= to && o.end >= from
	})
}

// handedBack are the times at which a lease may have been given back by the way, though its holder got it: while a fault lasts, and until the server has
// noticed what it broke.
func (h *History) handedBack() resets {
	if h.Bounds.HandsBack == 0 {
		return nil
	}
	faults := h.operations(OpFault)
	for i := range faults {
		faults[i].end = later(faults[i].end, h.Bounds.HandsBack)
	}
	return faults
}

// failovers are the calls that drop what was not acknowledged.
func (h *History) failovers() resets { return h.operations(OpFailover) }

// healed is when the last fault had healed; ok is false if there was none.
func (h *History) healed() (at time.Duration, ok bool) {
	for _, f := range h.operations(OpFault) {
		at, ok = max(at, f.end), true
	}
	return at, ok
}

// faulty reports whether a fault lasted at some time between two.
func (h *History) faulty(from, to time.Duration) bool {
	return slices.ContainsFunc(h.operations(OpFault), func(f operation) bool { return f.T <= to && f.end >= from })
}

// end is the time of the last record.
func (h *History) end() time.Duration {
	if len(h.Records) == 0 {
		return 0
	}
	return h.Records[len(h.Records)-1].T
}
