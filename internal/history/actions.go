package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// actionTale is all that happened to an action.
type actionTale struct {
	enqueued []operation
	claims   []claim     // by token
	moves    []operation // in the order of their calls
	commands []operation
	final    *ActionDump // nil: it is not there
}

// claim is an action as one call handed it out.
type claim struct {
	operation
	Item
}

func (h *History) actions() map[string]*actionTale {
	tales := make(map[string]*actionTale)
	at := func(ref string) *actionTale {
		if tales[ref] == nil {
			tales[ref] = new(actionTale)
		}
		return tales[ref]
	}
	for _, o := range h.operations(OpEnqueue, OpClaim, OpAdvance, OpControl) {
		switch o.Op {
		case OpEnqueue:
			at(o.Ref).enqueued = append(at(o.Ref).enqueued, o)
		case OpClaim:
			for _, item := range o.Items {
				at(item.Ref).claims = append(at(item.Ref).claims, claim{o, item})
			}
		case OpAdvance:
			at(o.Ref).moves = append(at(o.Ref).moves, o)
		case OpControl:
			at(o.Ref).commands = append(at(o.Ref).commands, o)
		}
	}
	for i := range h.Final.Actions {
		at(h.Final.Actions[i].Ref).final = &h.Final.Actions[i]
	}
	for _, t := range tales {
		slices.SortStableFunc(t.claims, func(a, b claim) int { return cmp.Compare(a.Item.Token, b.Item.Token) })
	}
	return tales
}

// commanded reports whether a command may have been carried out.
func (t *actionTale) commanded(kind string) bool {
	return slices.ContainsFunc(t.commands, func(o operation) bool { return o.Kind == kind && o.Outcome != No })
}

// gone reports whether an action may have been deleted, or lost with all other data.
func (t *actionTale) gone(lost resets) bool {
	return t.commanded(Forget) || len(t.enqueued) > 0 && lost.between("", t.enqueued[0].T, never)
}

// ends reports whether a move gives up its lease.
func ends(kind string) bool {
	return kind == Complete || kind == Fail || kind == Giveback || kind == AcceptCancel
}

// fence: the tokens of an action grow, one lease at a time lasts, and no move is accepted with a smaller token than one handed out before.
func fence(h *History) []Violation {
	var found violations
	lost, back := h.resets(), h.handedBack()
	for ref, t := range h.actions() {
		for i, c := range t.claims {
			for j, o := range t.moves {
				repeat := ends(o.Kind) && slices.ContainsFunc(t.moves[:j], func(earlier operation) bool {
					return earlier.Token == o.Token && earlier.Kind == o.Kind && earlier.Outcome != No
				})
				if o.Outcome == OK && !repeat && o.Token < c.Item.Token && c.before(o) && !lost.restored().between("", c.T, o.end) {
					found.add([]Record{c.Record, o.Record}, "%s of %s was accepted with token %d, after %d had been handed out", o.Kind, ref, o.Token, c.Item.Token)
				}
			}
			if i == 0 {
				continue
			}
			before := t.claims[i-1]
			evidence := []Record{before.Record, c.Record}
			switch {
			case before.Item.Token == c.Item.Token:
				found.add(evidence, "%s was claimed twice with the same token", ref)
			case c.operation.before(before.operation):
				found.add(evidence, "the tokens of %s do not grow", ref)
			case c.end+h.Bounds.Clock < t.leaseEnd(before, c) && !lost.between("", before.T, c.end) && !back.between("", before.T, c.end):
				found.add(evidence, "%s was claimed at %v, while another lease lasted until %v", ref, c.end, t.leaseEnd(before, c))
			}
		}
	}
	return found
}

// leaseEnd is when the lease of a claim ended at the earliest, as the next one could know it; 0 if its holder may have given it up.
func (t *actionTale) leaseEnd(c, next claim) time.Duration {
	until := c.Item.Until
	for _, o := range t.moves {
		switch {
		case o.Token != c.Item.Token || o.Outcome == No && o.Code != "cancelled" || o.seq > next.done:
		case ends(o.Kind):
			return 0
		case o.Until != 0 && o.Outcome == OK && o.done < next.seq:
			until = o.Until
		case o.Until != 0:
			until = min(until, o.Until)
		}
	}
	if t.commanded(Cancel) {
		return 0
	}
	return until
}

// steps are the allowed transitions, by what happened and the state before; "" is before the first.
func allowed(kind rpw.ChangeKind, from, to rpw.State) bool {
	running := from == rpw.Running
	switch kind {
	case rpw.ChangeRequest:
		return from == "" && to == rpw.Pending
	case rpw.ChangeClaimed:
		return from == rpw.Pending && to == rpw.Running
	case rpw.ChangeData, rpw.ChangeEvent, rpw.ChangeCancel:
		return running && to == rpw.Running
	case rpw.ChangeRetry, rpw.ChangeReleased:
		return running && to == rpw.Pending
	case rpw.ChangeRescheduled:
		return (from == rpw.Pending || from == rpw.Failed || from == rpw.Cancelled) && to == rpw.Pending
	case rpw.ChangeCompleted:
		return running && to == rpw.Completed
	case rpw.ChangeFailed:
		return (running || from == rpw.Pending) && to == rpw.Failed
	case rpw.ChangeCancelled:
		return (running || from == rpw.Pending) && to == rpw.Cancelled
	}
	return false
}

// oneTerminal: an action goes the allowed ways only, ends once, and shows the output of who ended it.
func oneTerminal(h *History) []Violation {
	var found violations
	lost := h.resets()
	for ref, t := range h.actions() {
		var winners []operation
		for _, o := range t.moves {
			other := func(w operation) bool { return w.Token != o.Token }
			if o.Kind == Complete && o.Outcome == OK {
				if i := slices.IndexFunc(winners, other); i >= 0 && !t.gone(lost) {
					found.add([]Record{winners[i].Record, o.Record}, "%s was completed twice", ref)
				}
				winners = append(winners, o)
			}
		}
		if t.final == nil {
			continue
		}
		var state rpw.State
		for i, c := range t.final.Changes {
			if c.Seq != uint64(i+1) {
				found.add(nil, "%s: change %d has the number %d", ref, i+1, c.Seq)
			}
			if !allowed(c.Kind, state, c.State) || state.Terminal() && !t.commanded(Retry) {
				found.add(nil, "%s: %s leads from %q to %q", ref, c.Kind, state, c.State)
			}
			state = c.State
		}
		if state != t.final.State {
			found.add(nil, "%s is %s, and its history ends as %s", ref, t.final.State, state)
		}
		switch {
		case len(winners) > 0 && t.final.State != rpw.Completed && !t.gone(lost):
			found.add([]Record{winners[0].Record}, "%s was completed, and is %s", ref, t.final.State)
		case t.final.State == rpw.Completed && !slices.ContainsFunc(t.moves, func(o operation) bool {
			return o.Kind == Complete && o.Outcome != No && o.Value == t.final.Output
		}):
			found.add(nil, "%s is completed with %q, which nobody said", ref, t.final.Output)
		case len(winners) > 0 && winners[0].Value != t.final.Output && t.final.State == rpw.Completed && !t.gone(lost):
			found.add([]Record{winners[0].Record}, "%s is completed with %q, not with what its winner said", ref, t.final.Output)
		}
	}
	return found
}

// noLostAction: what was enqueued is there, and has ended if all had the time to; what was refused is not.
func noLostAction(h *History) []Violation {
	var found violations
	lost := h.resets()
	for ref, t := range h.actions() {
		stored := slices.ContainsFunc(t.enqueued, func(o operation) bool { return o.Outcome == OK })
		maybe := slices.ContainsFunc(t.enqueued, func(o operation) bool { return o.Outcome != No })
		var evidence []Record
		for _, o := range t.enqueued {
			evidence = append(evidence, o.Record)
		}
		switch {
		case t.final == nil && stored && !t.gone(lost):
			found.add(evidence, "%s was enqueued, and is not there", ref)
		case t.final != nil && !maybe:
			found.add(evidence, "%s is there, and nobody enqueued it", ref)
		case t.final != nil && h.Final.Quiet && !t.final.State.Terminal():
			found.add(evidence, "%s never ended: it is %s", ref, t.final.State)
		}
	}
	return found
}

// attempts: an action counts what was begun and not handed back, and fails when all attempts are used or another is not worth it.
func attempts(h *History) []Violation {
	var found violations
	lost := h.resets()
	for ref, t := range h.actions() {
		for _, c := range t.claims {
			if t.final != nil && c.Attempt > t.final.MaxAttempts {
				found.add([]Record{c.Record}, "%s: attempt %d of %d began", ref, c.Attempt, t.final.MaxAttempts)
			}
		}
		if t.final == nil {
			continue
		}
		begun, all := 0, 0
		var state rpw.State
		for _, c := range t.final.Changes {
			switch {
			case c.Kind == rpw.ChangeClaimed:
				begun, all = begun+1, all+1
			case c.Kind == rpw.ChangeReleased:
				begun--
			case c.Kind == rpw.ChangeRescheduled && state.Terminal():
				begun = 0
			}
			state = c.State
		}
		if begun != t.final.Attempt {
			found.add(nil, "%s counts %d attempts, its history %d", ref, t.final.Attempt, begun)
		}
		if len(t.claims) > all && !t.gone(lost) {
			found.add(nil, "%s was handed out %d times, its history knows %d", ref, len(t.claims), all)
		}
		if exhausted := t.final.Attempt >= t.final.MaxAttempts; t.final.State == rpw.Failed && !exhausted && !t.final.Permanent ||
			t.final.State == rpw.Pending && exhausted {
			found.add(nil, "%s is %s after attempt %d of %d", ref, t.final.State, t.final.Attempt, t.final.MaxAttempts)
		}
	}
	return found
}

// schedule: no attempt begins before its time, nor much later outside of faults.
func schedule(h *History) []Violation {
	var found violations
	lost := h.resets()
	for ref, t := range h.actions() {
		for _, e := range t.enqueued {
			if len(t.commands) > 0 || len(t.enqueued) > 1 {
				continue
			}
			first := slices.MinFunc(append(t.claims, claim{operation{end: never}, Item{}}), func(a, b claim) int { return cmp.Compare(a.end, b.end) })
			due := max(e.Until, e.end)
			switch {
			case first.end < never && first.end+h.Bounds.Clock < e.Until:
				found.add([]Record{e.Record, first.Record}, "%s was due at %v and claimed at %v", ref, e.Until, first.end)
			case h.Bounds.Late == 0 || e.Outcome != OK || h.faulty(due, first.end) || lost.between("", e.T, first.end):
			case min(first.end, h.end()) > later(due, h.Bounds.Late):
				found.add([]Record{e.Record}, "%s was due at %v and claimed at %v", ref, due, first.end)
			}
		}
		for _, m := range t.moves {
			if m.Outcome != OK || m.Kind != Fail && m.Kind != Giveback || t.commanded(Retry) || t.commanded(Reschedule) || t.gone(lost) {
				continue
			}
			for _, c := range t.claims {
				if c.Item.Token > m.Token && c.end+h.Bounds.Clock < m.Until && m.before(c.operation) {
					found.add([]Record{m.Record, c.Record}, "%s was to be tried again at %v and was claimed at %v", ref, m.Until, c.end)
				}
			}
		}
	}
	return found
}

// cancel: what was cancelled before it began never begins, and whatever was cancelled ends so.
func cancel(h *History) []Violation {
	var found violations
	lost := h.resets()
	for ref, t := range h.actions() {
		if t.commanded(Retry) {
			continue
		}
		for _, o := range t.commands {
			if o.Kind != Cancel || o.Outcome != OK {
				continue
			}
			for _, c := range t.claims {
				if o.State == rpw.Cancelled && o.before(c.operation) && !t.gone(lost) {
					found.add([]Record{o.Record, c.Record}, "%s was cancelled, and claimed after that", ref)
				}
			}
			if t.final != nil && h.Final.Quiet && t.final.State != rpw.Cancelled && !t.gone(lost) {
				found.add([]Record{o.Record}, "%s was cancelled, and is %s", ref, t.final.State)
			}
		}
	}
	return found
}
