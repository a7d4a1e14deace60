package history

import (
	"slices"
	"time"
)

// resources: nothing is left behind, and no call takes longer than it may.
func resources(h *History) []Violation {
	var found violations
	before, bound := make(map[string]Record), make(map[string]Record)
	for _, rec := range h.notes(OpSample) {
		switch rec.Value {
		case SampleBefore:
			before[rec.Kind] = rec
		case SampleBound:
			bound[rec.Kind] = rec
		case SampleAfter:
			most, sampled := before[rec.Kind]
			if rec.Kind == GaugeHeap {
				most.N += int64(float64(most.N) * h.Bounds.Heap)
			}
			if sampled && rec.N > most.N {
				found.add([]Record{before[rec.Kind], rec}, "%s: %d before and %d after", rec.Kind, before[rec.Kind].N, rec.N)
			}
		case SamplePeak:
			if most, sampled := bound[rec.Kind]; sampled && rec.N > most.N {
				found.add([]Record{most, rec}, "%s: %d, and %d is allowed", rec.Kind, rec.N, most.N)
			}
		}
	}
	for _, o := range h.operations(OpTimed) {
		if took := min(o.end, h.end()) - o.T; took > o.Bound+h.Bounds.Return {
			found.add([]Record{o.Record}, "%s took %v; it had %v", o.Kind, took, o.Bound)
		}
	}
	return found
}

// liveness: after the last fault all goes on by itself, soon.
func liveness(h *History) []Violation {
	healed, ok := h.healed()
	if !ok || healed == never {
		return nil
	}
	var found violations
	if bound := h.Bounds.Publish; bound > 0 {
		works := func(o operation) bool { return o.Outcome == OK && o.end >= healed && o.end <= healed+bound }
		if !slices.ContainsFunc(h.operations(OpPublish), works) {
			found.add(nil, "no publish worked within %v after the last fault healed at %v", bound, healed)
		}
	}
	if bound := h.Bounds.CatchUp; bound > 0 {
		caught := h.byActor(OpCaught)
		for actor, t := range h.tales() {
			soon := func(rec Record) bool { return rec.T >= healed && rec.T <= healed+bound }
			if !t.left && !slices.ContainsFunc(caught[actor], soon) {
				found.add(nil, "%s had not caught up %v after the last fault healed at %v", actor, bound, healed)
			}
		}
	}
	if bound := h.Bounds.Idle; bound > 0 {
		lost := h.resets()
		for ref, t := range h.actions() {
			if len(t.commands) == 0 && !t.gone(lost) {
				found.idle(h, ref, t, healed)
			}
		}
	}
	return found
}

// idle tells of an action that could run and did not.
func (v *violations) idle(h *History, ref string, t *actionTale, healed time.Duration) {
	var runnable []Record // its T is the time from which the action could run
	for _, o := range t.enqueued {
		if o.Outcome == OK {
			o.Record.T = max(o.end, o.Until)
			runnable = append(runnable, o.Record)
		}
	}
	for _, o := range t.moves {
		if o.Outcome == OK && (o.Kind == Fail || o.Kind == Giveback) && o.State == "pending" {
			o.Record.T = max(o.end, o.Until)
			runnable = append(runnable, o.Record)
		}
	}
	if t.final == nil || !t.final.State.Terminal() {
		for _, c := range t.claims {
			if lapsed := t.leaseEnd(c, claim{operation: operation{Record: Record{seq: last}, done: last}}); lapsed > 0 {
				c.Record.T, c.Record.seq = lapsed, c.done
				runnable = append(runnable, c.Record)
			}
		}
	}
	for _, rec := range runnable {
		from := max(rec.T, healed)
		to := later(from, h.Bounds.Idle)
		taken := func(c claim) bool { return c.end >= rec.T-h.Bounds.Clock && c.end <= to && c.done > rec.seq }
		if to < h.end() && !slices.ContainsFunc(t.claims, taken) {
			v.add([]Record{rec}, "%s could run from %v, and nobody took it up to %v", ref, from, to)
		}
	}
}

// Overrun is how much later than its bound the slowest call returned.
func (h *History) Overrun() (most time.Duration) {
	for _, o := range h.operations(OpTimed) {
		if o.end < never {
			most = max(most, o.end-o.T-o.Bound)
		}
	}
	return most
}
