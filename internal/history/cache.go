package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// patience bounds the search for a linearization of one key.
const patience = 20 * time.Second

// cache: every key is a register. What the store answers has an order in which it is true; what a near cache answers was true not longer
// ago than the call allows, and no client goes back behind its own writes and near answers. Values must be unique for each key.
func cache(h *History) []Violation {
	var found violations
	for key, ops := range h.byKey() {
		switch porcupine.CheckOperationsTimeout(register(), exact(ops), patience) {
		case porcupine.Illegal:
			found.add(records(ops), "no order of the calls explains what %s answered", key)
		case porcupine.Unknown:
			found.add(records(ops), "it cannot be told in %v whether an order explains what %s answered", patience, key)
		}
		found.stale(h, key, ops)
	}
	return found
}

// byKey are the calls of each key; what drops all data is a call of each.
func (h *History) byKey() map[string][]operation {
	by := make(map[string][]operation)
	var resets []operation
	for _, o := range h.operations(OpGet, OpSet, OpDelete, OpReset) {
		if o.Outcome == Unknown && o.Op != OpGet { // it may happen at any time after its call
			o.end, o.done = never, last
		}
		if o.Op != OpReset {
			by[o.Key] = append(by[o.Key], o)
		} else if o.Stream == "" {
			resets = append(resets, o)
		}
	}
	for key := range by {
		by[key] = append(by[key], resets...)
		slices.SortFunc(by[key], func(a, b operation) int { return cmp.Compare(a.seq, b.seq) })
	}
	return by
}

func records(ops []operation) (all []Record) {
	for _, o := range ops {
		all = append(all, o.Record)
	}
	return all
}

// exact are the calls that the store answered, as porcupine wants them. The numbers of the records are their times.
func exact(ops []operation) (all []porcupine.Operation) {
	for _, o := range ops {
		read := o.Op == OpGet
		if read && (o.Outcome != OK || o.Bound > 0) || o.Outcome == No && o.Code != "conflict" {
			continue
		}
		all = append(all, porcupine.Operation{Input: o, Call: int64(o.seq), Return: int64(o.done)})
	}
	return all
}

// value is what a register holds.
type value struct {
	text  string
	there bool
}

// register is the model of a key.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return value{} },
		Step: func(state, input, _ any) (bool, any) { return input.(operation).step(state.(value)) },
	}
}

// step is what a call does to a register; false if it cannot have answered what it did.
func (o operation) step(v value) (bool, value) {
	switch o.Op {
	case OpGet:
		return v == value{o.Value, o.Found}, v
	case OpDelete:
		return o.Outcome == Unknown || o.Found == v.there, value{}
	case OpReset:
		return true, value{}
	}
	holds := o.Kind == Always || o.Kind == IfAbsent && !v.there || o.Kind == IfEqual && v == value{o.Old, true}
	if holds {
		v = value{o.Value, true}
	}
	return o.Outcome == Unknown || holds == (o.Outcome == OK), v
}

// stale tells of near answers that are too old, or older than what the same client has seen.
func (v *violations) stale(h *History, key string, ops []operation) {
	writes := make(map[string]operation) // by value; deletes are not told apart, so a miss is always believed
	for _, o := range ops {
		if o.Op == OpSet && o.Outcome != No {
			writes[o.Value] = o
		}
	}
	ended := func(w operation) (at time.Duration, by operation) { // when w's value was gone for certain
		at = never
		for _, o := range ops {
			if o.Op != OpGet && o.Outcome == OK && w.before(o) && o.end < at {
				at, by = o.end, o
			}
		}
		return at, by
	}
	newest := make(map[string]operation) // the newest write that each client has made, or has seen by a near answer
	for _, o := range ops {
		if o.Op == OpSet && o.Outcome == OK {
			newest[o.Actor] = o
		}
		if o.Op != OpGet || o.Outcome != OK || !o.Found || o.Bound == 0 {
			continue
		}
		w, known := writes[o.Value]
		if !known || o.done < w.seq {
			v.add([]Record{o.Record}, "%s answered %q, which nobody had set", key, o.Value)
			continue
		}
		if at, by := ended(w); at != never && o.T-o.Bound-h.Bounds.Clock > at {
			v.add([]Record{w.Record, by.Record, o.Record}, "%s answered %q, which was gone for %v; %v is allowed", key, o.Value, o.T-at, o.Bound)
		}
		if seen, ok := newest[o.Actor]; ok && w.before(seen) {
			v.add([]Record{w.Record, seen.Record, o.Record}, "%s knew %q of %s, and was answered the older %q", o.Actor, seen.Value, key, o.Value)
		} else {
			newest[o.Actor] = w
		}
	}
}
