package history

import (
	"slices"

	"github.com/redis-process-worker/rpw"
)

// life is one history of a stream.
type life struct {
	stream string
	epoch  uint64
}

// ledger is all that is known of the events of a history, from whoever saw them.
type ledger struct {
	final   map[string]StreamDump
	stored  map[life]map[uint64]Item   // what is there at the end, by count
	seen    map[life]map[string][]Item // what ever was there, by hash; more than one item is one too many
	edited  map[life]map[uint64]bool   // the counts of events that somebody tried to delete one by one
	undone  map[life]map[uint64]bool   // of these, where that may have been done, been seen, and then been undone
	trimmed map[string]bool            // streams somebody tried to trim
}

func (h *History) ledger() *ledger {
	l := &ledger{make(map[string]StreamDump), make(map[life]map[uint64]Item), make(map[life]map[string][]Item),
		make(map[life]map[uint64]bool), make(map[life]map[uint64]bool), make(map[string]bool)}
	for _, s := range h.Final.Streams {
		l.final[s.Name] = s
		for _, item := range s.Items {
			l.see(s.Name, item)
			at := life{s.Name, item.Epoch}
			if l.stored[at] == nil {
				l.stored[at] = make(map[uint64]Item)
			}
			l.stored[at][item.Count] = item
		}
	}
	for _, o := range h.operations(OpPublish, OpFetch, OpEdit, OpTrim) {
		switch {
		case o.Op == OpTrim:
			l.trimmed[o.Stream] = true
		case o.Op == OpEdit:
			for _, item := range o.Items {
				at := life{o.Stream, item.Epoch}
				mark(l.edited, at, item.Count)
				if h.mayUndo(o) {
					mark(l.undone, at, item.Count)
				}
			}
		case o.Outcome == OK:
			for _, item := range o.Items {
				l.see(o.Stream, item)
			}
		}
	}
	for _, rec := range h.notes(OpDeliver) {
		for _, item := range rec.Items {
			l.see(rec.Stream, item)
		}
	}
	return l
}

func mark(marks map[life]map[uint64]bool, at life, count uint64) {
	if marks[at] == nil {
		marks[at] = make(map[uint64]bool)
	}
	marks[at][count] = true
}

// mayUndo reports whether what a call did may have been undone later: by an older copy, or, if it was not acknowledged, by a failover to a server that never
// heard of it.
func (h *History) mayUndo(o operation) bool {
	return h.resets().restored().between("", o.T, never) || o.Outcome != OK && h.failovers().between("", o.T, never)
}

func (l *ledger) see(stream string, item Item) {
	at := life{stream, item.Epoch}
	if l.seen[at] == nil {
		l.seen[at] = make(map[string][]Item)
	}
	item = Item{ID: item.ID, Epoch: item.Epoch, Count: item.Count, Hash: item.Hash}
	if !slices.Contains(l.seen[at][item.Hash], item) {
		l.seen[at][item.Hash] = append(l.seen[at][item.Hash], item)
	}
}

// noLoss: what was acknowledged is there at the end, and was delivered to every subscription that lived to the end.
func noLoss(h *History) []Violation {
	var found violations
	l, lost := h.ledger(), h.resets()
	restored := lost.restored()
	for _, o := range h.operations(OpPublish) {
		if o.Outcome != OK {
			continue
		}
		for _, item := range o.Items {
			final := l.final[o.Stream]
			switch stored, there := l.stored[life{o.Stream, item.Epoch}][item.Count]; {
			case there && stored.Hash == item.Hash, l.edited[life{o.Stream, item.Epoch}][item.Count]:
			case item.Epoch != final.Last.Epoch && lost.between(o.Stream, o.T, never), restored.between(o.Stream, o.T, never):
			case item.Epoch == final.Last.Epoch && item.Count <= final.First.Count && l.trimmed[o.Stream]:
			default:
				found.add([]Record{o.Record}, "%s was acknowledged as %v of epoch %x, and is not there", item.Hash, item.ID, item.Epoch)
			}
		}
	}
	if !h.Final.Quiet {
		return found
	}
	for actor, tale := range h.tales() {
		final := l.final[tale.stream]
		if tale.left || tale.at.Epoch == final.Last.Epoch && tale.at.Count >= final.Last.Count {
			continue
		}
		for _, item := range final.Items {
			if item.Epoch != tale.at.Epoch || item.Count > tale.at.Count {
				found.add(tale.records[len(tale.records)-1:], "%s lived to the end and never got %v", actor, item.ID)
				break
			}
		}
	}
	return found
}

// tale is what a subscription went through.
type tale struct {
	stream  string
	records []Record     // it subscribed, then deliveries and gaps
	at      rpw.Position // where it was at the end
	left    bool
}

func (h *History) tales() map[string]*tale {
	tales := make(map[string]*tale)
	for actor, records := range h.byActor(OpSubscribe, OpDeliver, OpGap, OpLeave) {
		if records[0].Op != OpSubscribe {
			continue
		}
		t := &tale{stream: records[0].Stream, records: records, at: records[0].At}
		for _, rec := range records[1:] {
			switch rec.Op {
			case OpDeliver:
				item := rec.Items[0]
				t.at = rpw.Position{Epoch: item.Epoch, ID: item.ID, Count: item.Count}
			case OpGap:
				t.at = rec.Resume
			case OpLeave:
				t.left = true
			}
		}
		tales[actor] = t
	}
	return tales
}

// exactlyOnce: what a subscription gets of one epoch strictly grows, and leaves out nothing that is still there.
func exactlyOnce(h *History) []Violation {
	var found violations
	l := h.ledger()
	for actor, t := range h.tales() {
		at := t.records[0].At
		got := make(map[string]bool) // since the last reset
		for _, rec := range t.records[1:] {
			switch rec.Op {
			case OpGap:
				if rpw.GapKind(rec.Kind) == rpw.GapReset {
					clear(got)
				}
				found.skips(l, t.stream, actor, at, rec.Resume.Epoch, rec.Resume.Count+1, rec)
				at = rec.Resume
			case OpDeliver:
				item := rec.Items[0]
				if item.Epoch == at.Epoch && (item.Count <= at.Count || item.ID.Compare(at.ID) <= 0) {
					found.add([]Record{rec}, "%s was after %v (%d) and got %v (%d)", actor, at.ID, at.Count, item.ID, item.Count)
				}
				if got[item.Hash] {
					found.add([]Record{rec}, "%s got %q twice", actor, item.Hash)
				}
				got[item.Hash] = true
				found.skips(l, t.stream, actor, at, item.Epoch, item.Count, rec)
				at = rpw.Position{Epoch: item.Epoch, ID: item.ID, Count: item.Count}
			}
		}
	}
	return found
}

// skips tells of an event between a position and a count that is still there, so must not be passed over.
func (v *violations) skips(l *ledger, stream, actor string, at rpw.Position, epoch, to uint64, rec Record) {
	if epoch != at.Epoch {
		at.Count = 0
		if first := l.final[stream].First; first.Epoch == epoch {
			at.Count = first.Count
		}
	}
	for count := at.Count + 1; count < to; count++ {
		of := life{stream, epoch}
		if item, there := l.stored[of][count]; there && !l.undone[of][count] {
			v.add([]Record{rec}, "%s passed over %v (%d), which is still there", actor, item.ID, count)
		}
	}
}

// noPhantom: what is delivered was published before, with these bytes.
func noPhantom(h *History) []Violation {
	var found violations
	called := make(map[string]bool)
	acknowledged := make(map[rpw.Position]string)
	for _, o := range h.operations(OpPublish) {
		for _, item := range o.Items {
			if o.Outcome == OK {
				acknowledged[rpw.Position{Epoch: item.Epoch, ID: item.ID}] = item.Hash
			}
		}
	}
	for _, rec := range h.Records {
		switch {
		case rec.Op == OpPublish && rec.Phase == Called:
			for _, item := range rec.Items {
				called[rec.Stream+"\n"+item.Hash] = true
			}
		case rec.Op == OpDeliver, rec.Op == OpFetch && rec.Phase == Returned:
			for _, item := range rec.Items {
				if !called[rec.Stream+"\n"+item.Hash] {
					found.add([]Record{rec}, "%v holds %q, which nobody had published", item.ID, item.Hash)
				}
				if hash, known := acknowledged[rpw.Position{Epoch: item.Epoch, ID: item.ID}]; known && hash != item.Hash {
					found.add([]Record{rec}, "%v holds %q, and was acknowledged for %q", item.ID, item.Hash, hash)
				}
			}
		}
	}
	return found
}

// unknownIsBounded: whatever was repeated and however it ended, an epoch holds a payload at most once; and never if
// all calls with it were told that nothing was done. A failover may take what somebody has seen and nobody was told is stored, an older copy whatever came
// later: then a repeat has another place, and what counts is what is there at the end.
func unknownIsBounded(h *History) []Violation {
	var found violations
	back, l := append(h.failovers(), h.resets().restored()...), h.ledger()
	refused := make(map[string]bool) // by stream and hash
	calls := make(map[string][]Record)
	for _, o := range h.operations(OpPublish) {
		for _, item := range o.Items {
			name := o.Stream + "\n" + item.Hash
			calls[name] = append(calls[name], o.Record)
			refused[name] = o.Outcome == No && (len(calls[name]) == 1 || refused[name])
		}
	}
	for at, byHash := range l.seen {
		for hash, items := range byHash {
			if len(back) > 0 {
				items = slices.DeleteFunc(slices.Clone(items), func(i Item) bool { return l.stored[at][i.Count].ID != i.ID })
			}
			name := at.stream + "\n" + hash
			switch {
			case len(items) > 1:
				found.add(calls[name], "%s is in epoch %x of %s %d times: %v", hash, at.epoch, at.stream, len(items), items)
			case refused[name]:
				found.add(calls[name], "%s was refused, and is in epoch %x of %s", hash, at.epoch, at.stream)
			}
		}
	}
	return found
}

// gapHonesty: a subscription is told of what it misses before it gets what comes after, and only then.
func gapHonesty(h *History) []Violation {
	var found violations
	l, lost := h.ledger(), append(h.resets(), h.failovers()...) // a reader may be ahead of the new master
	for actor, t := range h.tales() {
		at := t.records[0].At
		for _, rec := range t.records[1:] {
			switch rec.Op {
			case OpGap:
				if why := falseAlarm(lost, l, t.stream, at, rec); why != "" {
					found.add([]Record{rec}, "%s was at %v (%d) of %x: %s", actor, at.ID, at.Count, at.Epoch, why)
				}
				at = rec.Resume
			case OpDeliver:
				item := rec.Items[0]
				edited := l.edited[life{t.stream, item.Epoch}]
				if item.Epoch != at.Epoch && !at.IsZero() {
					found.add([]Record{rec}, "%s went from epoch %x to %x without a gap", actor, at.Epoch, item.Epoch)
				} else if missing := missing(at.Count, item.Count-1, edited); missing > 0 && !at.IsZero() {
					found.add([]Record{rec}, "%s got %d after %d without a gap: %d are missing", actor, item.Count, at.Count, missing)
				}
				at = rpw.Position{Epoch: item.Epoch, ID: item.ID, Count: item.Count}
			}
		}
	}
	return found
}

// missing is how many of the events after from, up to and with to, were not deleted one by one.
func missing(from, to uint64, edited map[uint64]bool) (n int) {
	for count := from + 1; count <= to && to != ^uint64(0); count++ {
		if !edited[count] {
			n++
		}
	}
	return n
}

// falseAlarm says why a gap is none.
func falseAlarm(lost resets, l *ledger, stream string, at rpw.Position, gap Record) string {
	switch rpw.GapKind(gap.Kind) {
	case rpw.GapTrimmed:
		switch {
		case !l.trimmed[stream]:
			return "trimmed, but nobody trims"
		case gap.Resume.Epoch == at.Epoch && missing(at.Count, gap.Resume.Count, l.edited[life{stream, at.Epoch}]) == 0:
			return "a gap with nothing missing"
		case gap.Resume.Epoch == at.Epoch && uint64(gap.N) > gap.Resume.Count-at.Count:
			return "more are said to be missing than there can be"
		}
	case rpw.GapReset:
		if gap.Resume.Epoch == at.Epoch && !lost.between(stream, 0, gap.T) {
			return "reset, but it is the same history"
		}
	}
	return ""
}

// order: what was acknowledged before another publish was called stands before it; ids and counts grow together.
func order(h *History) []Violation {
	var found violations
	type publish struct {
		operation
		first, last Item
	}
	keyed := make(map[string]int)
	all := h.operations(OpPublish)
	for _, o := range all {
		for _, item := range o.Items {
			keyed[o.Stream+"\n"+item.Hash]++
		}
	}
	by := make(map[life][]publish)
	for _, o := range all {
		if o.Outcome != OK {
			continue
		}
		for i, item := range o.Items {
			if i > 0 && item.Epoch == o.Items[i-1].Epoch && (item.ID.Compare(o.Items[i-1].ID) > 0) != (item.Count > o.Items[i-1].Count) {
				found.add([]Record{o.Record}, "ids and counts do not grow together")
			}
			if keyed[o.Stream+"\n"+item.Hash] > 1 { // its place may be that of an earlier call
				continue
			}
			at := life{o.Stream, item.Epoch}
			if n := len(by[at]); n > 0 && by[at][n-1].seq == o.seq {
				by[at][n-1].last = item
			} else {
				by[at] = append(by[at], publish{o, item, item})
			}
		}
	}
	restored := h.resets().restored() // what comes after it stands where others stood
	for at, publishes := range by {
		returned := slices.SortedFunc(slices.Values(publishes), func(a, b publish) int { return a.done - b.done })
		var newest publish
		next := 0
		for _, p := range publishes { // in the order of their calls
			for ; next < len(returned) && returned[next].before(p.operation); next++ {
				if returned[next].last.Count > newest.last.Count {
					newest = returned[next]
				}
			}
			if (newest.last.Count >= p.first.Count || newest.last.ID.Compare(p.first.ID) >= 0) && !restored.between(at.stream, newest.T, p.end) {
				found.add([]Record{newest.Record, p.Record}, "%v was acknowledged before %v was published", newest.last.ID, p.first.ID)
			}
		}
	}
	return found
}
