package history

import (
	"slices"

	"github.com/redis-process-worker/rpw"
)

// Count is what happened in a run, in numbers.
type Count struct {
	Faults                           map[string]int // by kind
	Acknowledged, Uncertain, Refused int            // events, by what was said of their publish; one that was repeated by the best
	Delivered                        int            // to subscriptions
	Trimmed, Reset                   int            // gaps that they were told of
	Fetched, Again                   int            // events by group members; of them those that somebody had had before
	Enqueued, Ended                  int            // actions that were acknowledged; that were in a terminal state at the end
	Attempts, Fenced                 int            // of actions, handed out; moves that were refused since the lease was lost
	Cached                           int            // calls of the cache that were answered
	Logged, Dropped, Doubled         int            // log records; those that the handler dropped, and told; those that are stored again, with their ID
}

// Count counts.
func (h *History) Count() Count {
	c := Count{Faults: make(map[string]int)}
	events := make(map[string]Outcome) // by stream and hash
	for _, o := range h.operations(OpFault, OpPublish, OpAdvance, OpGet, OpSet, OpDelete) {
		switch o.Op {
		case OpFault:
			c.Faults[o.Kind]++
		case OpPublish:
			for _, item := range o.Items {
				name := o.Stream + "\n" + item.Hash
				if known := events[name]; known != OK && (o.Outcome != No || known == "") {
					events[name] = o.Outcome
				}
			}
		case OpAdvance:
			if o.Code == rpw.Code(rpw.ErrLeaseLost) {
				c.Fenced++
			}
		default:
			if o.Outcome == OK {
				c.Cached++
			}
		}
	}
	for _, outcome := range events {
		switch outcome {
		case OK:
			c.Acknowledged++
		case No:
			c.Refused++
		default:
			c.Uncertain++
		}
	}
	for _, t := range h.actions() {
		if slices.ContainsFunc(t.enqueued, func(o operation) bool { return o.Outcome == OK }) {
			c.Enqueued++
		}
		if t.final != nil && t.final.State.Terminal() {
			c.Ended++
		}
		c.Attempts += len(t.claims)
	}
	for _, t := range h.entries() {
		c.Fetched += len(t.deliveries)
		c.Again += max(0, len(t.deliveries)-1)
	}
	for _, rec := range h.notes(OpDeliver, OpGap, OpLog) {
		switch {
		case rec.Op == OpDeliver:
			c.Delivered++
		case rec.Op == OpLog:
			c.Logged++
		case rpw.GapKind(rec.Kind) == rpw.GapReset:
			c.Reset++
		default:
			c.Trimmed++
		}
	}
	for _, l := range h.Final.Logs {
		c.Dropped += int(l.Dropped)
		c.Doubled += int(l.Again)
	}
	return c
}

// Add adds what happened in another run.
func (c *Count) Add(d Count) {
	for kind, n := range d.Faults {
		c.Faults[kind] += n
	}
	for to, n := range map[*int]int{&c.Acknowledged: d.Acknowledged, &c.Uncertain: d.Uncertain, &c.Refused: d.Refused, &c.Delivered: d.Delivered,
		&c.Trimmed: d.Trimmed, &c.Reset: d.Reset, &c.Fetched: d.Fetched, &c.Again: d.Again, &c.Enqueued: d.Enqueued, &c.Ended: d.Ended,
		&c.Attempts: d.Attempts, &c.Fenced: d.Fenced, &c.Cached: d.Cached, &c.Logged: d.Logged,
		&c.Dropped: d.Dropped, &c.Doubled: d.Doubled} {
		*to += n
	}
}
