// Package mutants proves that the suite can fail.
package mutants

import (
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/internal/mutate"
)

// TestConformance is the suite over the memory driver, and nothing beside it, so that a mutant is built quickly.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Open: func(testing.TB) conformance.Backend {
			store := memory.New(memory.Options{})
			return conformance.Backend{Connect: func() (rpw.Parts, error) { return store.Parts(), nil }, Flush: store.Flush}
		},
		Unit:   time.Millisecond,
		Bubble: true,
	})
}

// mutant is a mutate.Mutant of a file in the memory driver's folder.
type mutant struct{ name, promise, file, old, new, test string }

// TestMutants breaks the driver, or the root, in one way at a time: the case that is there to notice does.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once for each mutant")
	}
	const streams, groups, cache = "TestConformance/Streams/", "TestConformance/Groups/", "TestConformance/Cache/"
	mutants := []mutant{
		{"ids stand still within a millisecond", "S1", "stream.go", "st.last.Seq++", "", streams + "Publish/OrderIsTotalAndStrict"},
		{"readers are not woken", "S4", "publish.go", "st.readers.wakeAll()", "", streams + "Wait/WakesAtOnce"},
		{"a repeat of the library is stored again", "S3", "publish.go", "stored, hit, err := st.answered.recall(lane, now)", "stored, hit, err := st.answered.recall(rpw.Lane{}, now)", streams + "Producer/SameSeqAnswersTheSame"},
		{"an event key is forgotten at once", "S3", "publish.go", "st.keys.remember(st.store, e.Key, positions[i], until)", "_ = until", streams + "Publish/SameKeyTwiceIsOneEvent"},
		{"an expectation is not checked", "S2", "publish.go", "batch.Expect != st.end()", "false", streams + "Publish/ExpectGuardsTheEnd"},
		{"payloads are not copied", "S2", "publish.go", "Data: payloads.copy(e.Data)", "Data: append(e.Data[:len(e.Data):len(e.Data)], payloads.copy(nil)...)", streams + "Publish/CallersBuffersStayTheirs"},
		{"retention is not applied", "S7", "publish.go", "st.trim(st.keep, now)", "", streams + "Retention/ByLength"},
		{"old events stay", "S7", "stream.go", "horizon = uint64(max(0, now.Add(-keep.Age).UnixMilli()))", "horizon = 0", streams + "Retention/ByAge"},
		{"trimmed history is passed over", "S5", "stream.go", "case p.Count < st.trimmed.Count:", "case false:", streams + "Gaps/TrimmedHistoryIsReported"},
		{"the edge of a gap is one off", "S5", "stream.go", "case p.Count < st.trimmed.Count:", "case p.Count+1 < st.trimmed.Count:", streams + "Gaps/OneMissingEventIsAGap"},
		{"a false alarm at the edge", "S5", "stream.go", "case p.Count < st.trimmed.Count:", "case p.Count <= st.trimmed.Count && st.trimmed.Count > 0:", streams + "Gaps/OneMissingEventIsAGap"},
		{"an edit is a gap", "S5", "stream.go", "st.edited = max(st.edited, rec.Count)", "st.trimmed = rec.Position()", streams + "Gaps/EditsAreNoGap"},
		{"epochs are not compared", "S5", "stream.go", "p.Epoch != st.epoch || p.Count > st.added", "p.Count > st.added", streams + "Gaps/DeletedStreamIsReset"},
		{"positions ahead wait", "S5", "stream.go", "p.Epoch != st.epoch || p.Count > st.added", "p.Epoch != st.epoch", streams + "Gaps/PositionAheadIsReset"},
		{"trims over edits miscount", "S5", "stream.go", "counted && st.edited <= p.Count", "counted", streams + "Gaps/RandomHistoriesAreToldTruly"},
		{"newest begins one early", "S4", "stream.go", "	return st.end()\n}\n\n// locateAfter", "	return st.before(max(0, st.events.len()-1))\n}\n\n// locateAfter", streams + "Locate/NewestIsPinned"},
		{"a page is as large as it gets", "S6", "read.go", "len(p.events) > 0 && p.size+rec.size > rpw.MaxBatchBytes", "false", streams + "Read/PagesAreBoundedInBytes"},
		{"deleting wakes nobody", "S5", "stream.go", "	st.keys.drop(st.store)\n	st.readers.wakeAll()", "	st.keys.drop(st.store)", streams + "Wait/DeletingTheStreamWakes"},

		{"a receipt is not compared", "G2", "settle.go", "p.token != s.Receipt.Token ||", "", groups + "Settle/SupersededHolderGetsLeaseLost"},
		{"the incarnation is not compared", "G2", "settle.go", "|| g.incarnation != s.Receipt.Incarnation", "", groups + "Settle/ForgedReceiptsAreRefused"},
		{"verdicts are not remembered", "G2", "settle.go", "g.settled.put(s.Receipt, s.Verdict, now)", "", groups + "Settle/RepeatedVerdictIsNil"},
		{"a release costs an attempt", "G2", "settle.go", "p.attempt--", "", groups + "Settle/ReleaseCostsNoAttempt"},
		{"a delay is not kept", "G2", "settle.go", "g.giveBack(p, now.Add(s.Delay))", "g.giveBack(p, now)", groups + "Settle/NackDelaysTheNextAttempt"},
		{"an extension extends nothing", "G3", "settle.go", "p.until = now.Add(cmp.Or(s.Delay, g.Lease))", "", groups + "Settle/ExtendHoldsOn"},
		{"the reason is lost", "G4", "settle.go", "header[rpw.HeaderDeadReason] = reason", "_ = reason", groups + "DeadLetter/RejectMovesItWithTheReason"},
		{"nothing is ever dead", "G4", "group.go", "p.attempt >= g.MaxDeliveries", "false", groups + "DeadLetter/PastMaxDeliveries"},
		{"one delivery too many", "G4", "group.go", "p.attempt >= g.MaxDeliveries", "p.attempt > g.MaxDeliveries", groups + "DeadLetter/PastMaxDeliveries"},
		{"a fetch is not remembered", "G1", "fetch.go", "g.fetched.store(req.Lane, now, answer)", "", groups + "Fetch/LostReplyLeasesToNobodyElse"},
		{"tokens begin again", "G2", "group.go", "st.store.stampAbove(g.token)", "", groups + "Settle/OldReceiptsDoNotFitANewGroup"},
		{"nobody watches for what is due", "G1", "fetch.go", "most := min(left, g.watch(w, now))", "most := left", groups + "Fetch/WakesWhenSomethingIsDueAgain"},
		{"groups pass over gaps", "G5", "fetch.go", "g.noteGap()", "", groups + "Gaps/TrimmedIsReportedOncePerConsumer"},
		{"a gap is told for ever", "G5", "fetch.go", "c.gap = nil", "", groups + "Gaps/TrimmedIsReportedOncePerConsumer"},
		{"another incarnation is not noticed", "G5", "fetch.go", "req.Incarnation != 0 && req.Incarnation != g.incarnation", "false", groups + "Gaps/FlushedGroupIsMadeAgain"},
		{"those who wait for a deleted group wait on", "G5", "group.go", "	delete(st.groups, g.Group)\n	g.waiting.wakeAll()", "	delete(st.groups, g.Group)", groups + "Gaps/WaitingFetchLearnsThatItsGroupIsGone"},

		{"empty is absent", "C1", "cache.go", "	if e == nil {\n		return rpw.Value{}", "	if e == nil || len(e.data) == 0 {\n		return rpw.Value{}", cache + "Get/EmptyIsNotAbsent"},
		{"values are not copied", "C1", "cache.go", "slices.Clip(bytes.Clone(item.Data))", "slices.Clip(item.Data)", cache + "Get/BuffersAreNotShared"},
		{"values live for ever", "C2", "cacheshard.go", "e != nil && !e.expired(now)", "e != nil", cache + "TTL/ValueDiesWhenItEnds"},
		{"KeepTTL keeps nothing", "C2", "cache.go", "if ttl != rpw.KeepTTL {", "if true {", cache + "TTL/KeepLeavesItAsItIs"},
		{"fractions are cut", "C2", "cache.go", "return (d + time.Millisecond - 1).Truncate(time.Millisecond)", "return d.Truncate(time.Millisecond)", cache + "TTL/FractionsAreRoundedUp"},
		{"a condition holds always", "C3", "cache.go", "case when == rpw.IfEqual && !bytes.Equal(e.data, old):", "case false:", cache + "Set/IfEqual"},
		{"counters overflow", "C3", "cache.go", "(sum > n) != (item.By > 0) && item.By != 0", "false", cache + "Increment/OverflowIsConflict"},
		{"a scan forgets the last shard", "C4", "scan.go", "for at.shard < cacheShards {", "for at.shard < cacheShards-1 {", cache + "Scan/ReturnsWhatIsThere"},
		{"a prefix is ignored", "C4", "scan.go", "strings.HasPrefix(e.key, prefix)", `strings.HasPrefix(e.key, "")`, cache + "Scan/PrefixIsLiteral"},

		{"a publish of unknown outcome is not repeated", "S3", "../../publish.go", "target: b.Stream, items: len(b.Events), repeat: true}", "target: b.Stream, items: len(b.Events)}", streams + "Producer/LostReplyIsOneEvent"},
		{"a cache write of unknown outcome is repeated", "C3", "../../guard.go", "uncertain && !c.repeat ||", "", cache + "Set/UnknownOutcomeIsNotRepeated"},
		{"a closing hub leaves its waits alone", "E1", "../../guard.go", "stop := context.AfterFunc(h.ctx, func() { cancel(ErrClosed) })", "stop := func() bool { return true }", streams + "Wait/ClosingHubEndsWaits"},
		{"a gap shows the namespace", "E2", "../../guard.go", "own.Stream = c.h.outward(own.Stream)", "", "TestConformance/Hub/Namespace/AnswersSpeakTheUsersNames"},
		{"a single load becomes many", "C5", "../../cache.go", "		f.flying[key] = fl\n	}\n	fl.waiting++", "	}\n	fl.waiting++", cache + "Load/OneLoadForMany"},
		{"control characters are let through", "E2", "../../names.go", "if nameBytes[c] {", "if nameBytes[c] || c == '\\t' {", "TestConformance/Names/Bad/RefusedByEveryVerb"},
		{"a subscription reads from the beginning", "S4", "../../subscription.go", "at: from}, nil", "at: [2]Position{1: from}[0]}, nil", streams + "Subscribe/ResumesFromAStoredPosition"},
		{"handlers are not told of a lost lease", "G3", "../../consume.go", "cancel(ErrLeaseLost)", "_ = cancel", groups + "Consume/SupersededHandlerIsTold"},
	}
	list := make([]mutate.Mutant, len(mutants))
	for i, m := range mutants {
		list[i] = mutate.Mutant{Name: m.name, Promise: m.promise, File: "../../driver/memory/" + m.file, Old: m.old, New: m.new, Test: m.test}
	}
	mutate.Run(t, ".", list)
}
