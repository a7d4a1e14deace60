package history

import (
	"slices"
	"time"
)

// Recovery is how soon something worked again after faults had healed: a time for each fault after which it did before the next one began.
type Recovery struct {
	Publish, Subscription, Completion []time.Duration
	Overtaken                         int // times that are missing, since the next fault was sooner
}

// Recovery measures how soon after each fault a publish was acknowledged, each subscription got an event that was published after it, and an
// action was completed.
func (h *History) Recovery() (r Recovery) {
	published := make(map[string]time.Duration) // when, by stream and hash
	var acknowledged, completed []time.Duration
	for _, o := range h.operations(OpPublish, OpAdvance) {
		switch {
		case o.Op == OpPublish:
			for _, item := range o.Items {
				name := o.Stream + "\n" + item.Hash
				if _, repeated := published[name]; !repeated {
					published[name] = o.T
				}
			}
			if o.Outcome == OK {
				acknowledged = append(acknowledged, o.end)
			}
		case o.Kind == Complete && o.Outcome == OK:
			completed = append(completed, o.end)
		}
	}
	slices.Sort(acknowledged)
	slices.Sort(completed)
	faults, tales := h.operations(OpFault), h.tales()
	for i, f := range faults {
		next := never
		if i+1 < len(faults) {
			next = faults[i+1].T
		}
		note := func(times *[]time.Duration, at time.Duration, ok bool) {
			if ok && at < next {
				*times = append(*times, at-f.end)
			} else {
				r.Overtaken++
			}
		}
		first := func(sorted []time.Duration) (time.Duration, bool) {
			n, _ := slices.BinarySearch(sorted, f.end)
			if n == len(sorted) {
				return never, false
			}
			return sorted[n], true
		}
		at, ok := first(acknowledged)
		note(&r.Publish, at, ok)
		at, ok = first(completed)
		note(&r.Completion, at, ok)
		for _, t := range tales {
			got := slices.IndexFunc(t.records, func(rec Record) bool {
				return rec.Op == OpDeliver && rec.T >= f.end && published[t.stream+"\n"+rec.Items[0].Hash] >= f.end
			})
			note(&r.Subscription, t.records[max(got, 0)].T, got >= 0)
		}
	}
	return r
}
