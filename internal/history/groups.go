package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// entry is an event of a group.
type entry struct {
	stream, group string
	epoch         uint64
	id            rpw.ID
}

// delivery is an event as one fetch handed it out.
type delivery struct {
	operation
	Item
}

// entryTale is all that happened to an event in a group.
type entryTale struct {
	deliveries []delivery  // by token
	verdicts   []operation // in the order of their calls
}

func (h *History) entries() map[entry]*entryTale {
	tales := make(map[entry]*entryTale)
	at := func(o operation, item Item) *entryTale {
		e := entry{o.Stream, o.Group, item.Epoch, item.ID}
		if tales[e] == nil {
			tales[e] = new(entryTale)
		}
		return tales[e]
	}
	for _, o := range h.operations(OpFetch, OpSettle) {
		for _, item := range o.Items {
			if t := at(o, item); o.Op == OpFetch {
				t.deliveries = append(t.deliveries, delivery{o, item})
			} else {
				t.verdicts = append(t.verdicts, o)
			}
		}
	}
	for _, t := range tales {
		slices.SortStableFunc(t.deliveries, func(a, b delivery) int { return cmp.Compare(a.Item.Token, b.Item.Token) })
	}
	return tales
}

// groupAtLeastOnce: no event of a group is forgotten, one holder at a time has it, and only the holder of the newest token
// decides about it.
func groupAtLeastOnce(h *History) []Violation {
	var found violations
	tales := h.entries()
	for _, g := range h.Final.Groups {
		found.forgotten(h, g, tales)
	}
	touched, back := h.operations(OpAdmin, OpReset), h.handedBack()
	restored, faults := h.resets().restored(), resets(h.operations(OpFault))
	fetches := h.operations(OpFetch)
	for e, t := range tales {
		for i, d := range t.deliveries {
			if i > 0 {
				before := t.deliveries[i-1]
				disturbed := slices.ContainsFunc(touched, func(o operation) bool {
					return (o.Stream == e.stream || o.Stream == "") && o.seq < d.done && o.done > before.seq
				})
				unseen := slices.ContainsFunc(fetches, func(o operation) bool {
					return o.Stream == e.stream && o.Group == e.group && o.seq < d.done && o.done > before.seq && (o.Outcome != OK || outlasted(faults, o, d))
				})
				found.redelivered(h, e, t, before, d, disturbed, unseen, back.between("", before.T, d.end))
			}
			found.superseded(e, t, d, restored)
		}
	}
	return found
}

// outlasted reports whether a fetch may have been answered with an event whose lease had ended when the reply, lost in a fault, was asked for again: it
// took longer than the lease of the next delivery.
func outlasted(faults resets, o operation, d delivery) bool {
	return o.end-o.T > d.Item.Until-d.end && faults.between("", o.T, o.end)
}

// forgotten tells of events that are there at the end and of which the group knows nothing.
func (v *violations) forgotten(h *History, g GroupDump, tales map[entry]*entryTale) {
	l := h.ledger()
	final := l.final[g.Stream]
	var from uint64
	for _, o := range h.operations(OpJoin) {
		if o.Stream == g.Stream && o.Group == g.Group && o.Outcome == OK && o.At.Epoch == final.Last.Epoch {
			from = o.At.Count
			break
		}
	}
	if h.Final.Quiet && (len(g.Pending) > 0 || g.Position.Epoch == final.Last.Epoch && g.Position.Count < final.Last.Count && len(final.Items) > 0 && final.Items[len(final.Items)-1].Count > g.Position.Count) {
		v.add(nil, "group %s of %s never came to its end: it is at %d of %d, with %d pending", g.Group, g.Stream, g.Position.Count, final.Last.Count, len(g.Pending))
	}
	for _, item := range final.Items {
		if item.Count <= from || item.Count > g.Position.Count || slices.Contains(g.Pending, item.ID) || slices.Contains(g.Dead, item.ID) {
			continue
		}
		t := tales[entry{g.Stream, g.Group, item.Epoch, item.ID}]
		if t == nil {
			v.add(nil, "group %s of %s passed over %v (%d)", g.Group, g.Stream, item.ID, item.Count)
			continue
		}
		settled := slices.ContainsFunc(t.verdicts, func(o operation) bool { return o.Outcome != No && (o.Kind == Ack || o.Kind == Reject) })
		if !settled {
			v.add([]Record{t.deliveries[len(t.deliveries)-1].Record}, "group %s of %s forgot %v: not acknowledged, not pending, no dead letter", g.Group, g.Stream, item.ID)
		}
	}
}

// redelivered checks two deliveries of an event that follow each other. disturbed: the group was changed from outside between them; unseen: there may
// have been another one; back: the first may have been given back on the way.
func (v *violations) redelivered(h *History, e entry, t *entryTale, before, d delivery, disturbed, unseen, back bool) {
	evidence := []Record{before.Record, d.Record}
	switch {
	case before.Item.Token == d.Item.Token:
		v.add(evidence, "%v was delivered twice with the same token", e.id)
		return
	case d.operation.before(before.operation):
		v.add(evidence, "the tokens of %v do not grow", e.id)
		return
	case disturbed:
		return
	}
	until, released, given := before.Item.Until, No, back
	if back {
		released = Unknown
	}
	for _, o := range t.verdicts {
		if o.Items[0].Token != before.Item.Token || o.Outcome == No || o.seq > d.done {
			continue
		}
		switch o.Kind {
		case Extend:
			if o.Outcome == OK && o.done < d.seq {
				until = o.Until
			} else {
				until = min(until, o.Until)
			}
		case Ack, Reject:
			if o.Outcome == OK && o.done < d.seq {
				v.add(append(evidence, o.Record), "%v was delivered again after its %s", e.id, o.Kind)
			}
			given = true
		case Nack:
			if o.Outcome == OK && d.end+h.Bounds.Clock < o.Until {
				v.add(append(evidence, o.Record), "%v was delivered again before its delay had passed", e.id)
			}
			given = true
		case Release:
			given, released = true, o.Outcome
		}
	}
	if !given && d.end+h.Bounds.Clock < until {
		v.add(evidence, "%v was delivered again at %v, its lease lasted until %v", e.id, d.end, until)
	}
	if d.Attempt < before.Attempt || d.Attempt == before.Attempt && released == No || d.Attempt > before.Attempt && released == OK && !unseen {
		v.add(evidence, "%v was delivered again as attempt %d after %d", e.id, d.Attempt, before.Attempt)
	}
}

// superseded tells of verdicts that were accepted although a newer token had been handed out before. An older copy knows nothing of the newer one.
func (v *violations) superseded(e entry, t *entryTale, d delivery, restored resets) {
	for i, o := range t.verdicts {
		repeat := o.Kind != Extend && slices.ContainsFunc(t.verdicts[:i], func(earlier operation) bool {
			return earlier.Items[0].Token == o.Items[0].Token && earlier.Kind == o.Kind && earlier.Outcome != No
		})
		if o.Outcome == OK && !repeat && o.Items[0].Token < d.Item.Token && d.operation.before(o) && !restored.between("", d.T, o.end) {
			v.add([]Record{d.Record, o.Record}, "the %s of %v was accepted with token %d, after %d had been handed out", o.Kind, e.id, o.Items[0].Token, d.Item.Token)
		}
	}
}

// later is t and d later, or never.
func later(t, d time.Duration) time.Duration {
	if t > never-d {
		return never
	}
	return t + d
}
