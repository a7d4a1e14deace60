package mutants

var streamMutants = []mutant{
	{"S1", "ids come from the clock alone", "stream.go",
		`st.last.Seq++`, `st.last = rpw.ID{MS: ms}`, "Streams/Publish/OrderIsTotalAndStrict"},
	{"S1", "what a reader appends is in the next event", "history.go",
		`s.block[rec.start:rec.end:rec.end]`, `s.block[rec.start:rec.end]`, "Streams/Read/ReadersShareNothingTheyCanBreak"},

	{"S2", "an expectation compares ids only", "publish.go",
		`batch.Expect != st.end()`, `batch.Expect.ID != st.last`, "Streams/Publish/ExpectOfATwinIsConflict"},
	{"S2", "the first events of a bad batch are stored", "../../guard_streams.go",
		"n, err := checkEvent(&b.Events[i])\n\t\tif err != nil {\n\t\t\treturn err", "n, err := checkEvent(&b.Events[i])\n\t\tif err != nil {\n\t\t\tb.Events = b.Events[:i]\n\t\t\tbreak",
		"Streams/Publish/BatchIsAllOrNone"},
	{"S2", "payloads are not copied", "history.go",
		`if len(data) > smallPayload {
		x.data, data = slices.Clip(bytes.Clone(data)), nil`, `if _ = bytes.Clone; len(data) > 0 {
		x.data, data = slices.Clip(data), nil`, "Streams/Publish/CallersBuffersStayTheirs"},
	{"S2", "a late execution is stored", "lanes.go",
		`case lane.Seq < last.seq:`, `case false:`, "Streams/Producer/SmallerSeqIsRefused"},

	{"S3", "a key twice in a batch is two events", "publish.go",
		`at, twice := st.keys.find(e.Key, now); twice`, `at, twice := st.keys.find(e.Key, now); twice && len(batch.Events) == 1`,
		"Streams/Publish/SameKeyTwiceInOneBatchIsOneEvent"},
	{"S3", "keys outlive their windows until they are pruned", "keyring.go",
		`!ok || !stored.until.After(now)`, `!ok`, "Streams/Publish/ManyKeyWindowsEnd"},
	{"S3", "the repeat of a publish is stored again", "lanes.go",
		`return last.answer, true, nil`, `return answer, false, nil`, "Streams/Producer/SameSeqAnswersTheSame"},
	{"S3", "producers are not told apart", "publish.go",
		`rpw.Lane(batch.Producer)`, `rpw.Lane{ID: [16]byte{1}, Seq: batch.Producer.Seq}`, "Streams/Producer/ProducersAndStreamsAreApart"},
	{"S3", "a refused batch is remembered as done", "publish.go",
		"if err != nil {\n\t\treturn rpw.Published{Err: err}", "if err != nil {\n\t\tst.answered.store(lane, now, positions)\n\t\treturn rpw.Published{Err: err}", "Streams/Producer/RefusedBatchUsesNoSeq"},
	{"S3", "a repeat leaves under a new number", "../../publish.go",
		`b.Producer = Producer{ID: h.id, Seq: h.lines.seq.Add(1)}`, `b.Producer = Producer{}`, "Streams/Producer/LostReplyIsOneEvent"},

	{"S4", "the start is pinned at the first read", "../../subscription.go",
		`from, err := h.Streams().Locate(ctx, s.name, at)`, `from, err := Position{}, error(nil)`, "Streams/Subscribe/ResumesFromAStoredPosition"},
	{"S3", "an earlier try is forgotten", "../../guard.go",
		`doubt = doubt || errors.Is(err, ErrUncertain)`, ``, "Streams/Producer/DoubtStays"},
	{"S4", "a position is ahead of what was handed out", "../../subscription.go",
		`s.at = m.Position()`, `s.at = m.Position()
	if n := len(s.page); n > 0 {
		s.at = s.page[n-1].Position()
	}`, "Streams/Subscribe/ResumesFromAStoredPosition"},
	{"S4", "waiting readers are not woken", "publish.go",
		`st.readers.wakeAll()`, ``, "Streams/Wait/WakesAtOnce"},
	{"S4", "one reader is woken of all", "publish.go",
		`st.readers.wakeAll()`, `st.readers.wake(n)`, "Streams/Wait/WakesEveryReader"},

	{"S5", "a gap is passed over", "stream.go",
		`case p.Count < st.trimmed.Count:`, `case false:`, "Streams/Gaps/TrimmedHistoryIsReported"},
	{"S5", "one missing event is no gap", "stream.go",
		`case p.Count < st.trimmed.Count:`, `case p.Count+1 < st.trimmed.Count:`, "Streams/Gaps/OneMissingEventIsAGap"},
	{"S5", "what was trimmed is not counted", "stream.go",
		`missed = st.trimmed.Count - p.Count`, `missed = 0`, "Streams/Gaps/TrimmedHistoryIsReported"},
	{"S5", "an edit is reported as a gap", "stream.go",
		`st.edited = max(st.edited, rec.count)`, `st.trimmed = st.position(rec)`, "Streams/Gaps/EditsAreNoGap"},
	{"S5", "edits are counted as missed", "stream.go",
		`counted && st.edited <= p.Count`, `counted`, "Streams/Gaps/RandomHistoriesAreToldTruly"},
	{"S5", "the epoch is not checked", "stream.go",
		`p.Epoch != st.epoch || `, ``, "Streams/Gaps/DeletedStreamIsReset"},
	{"S5", "a position ahead waits", "stream.go",
		` || p.Count > st.added:`, `:`, "Streams/Gaps/PositionAheadIsReset"},
	{"S5", "a deleted stream wakes nobody", "stream.go",
		"st.readers.wakeAll()", "", "Streams/Wait/DeletingTheStreamWakes"},
	{"S5", "a subscription continues over a gap", "../../subscription.go",
		`o.onGap = GapStop`, `o.onGap = GapContinue`, "Streams/Subscribe/GapStopsByDefault"},

	{"S6", "a page is not bounded in bytes", "read.go",
		`p.size+size > rpw.MaxBatchBytes`, `false`, "Streams/Read/PagesAreBoundedInBytes"},

	{"S7", "there is no default bound", "stream.go",
		`keep: rpw.Retention{Events: rpw.DefaultKeepEvents}}`, `keep: rpw.Retention{Events: rpw.Unlimited}}`, "Streams/Retention/HasADefaultBound"},
	{"S7", "retention by length is not applied", "stream.go",
		`most = keep.Events`, `most = math.MaxInt64`, "Streams/Retention/ByLength"},
	{"S7", "retention by age is not applied", "stream.go",
		`now.Add(-keep.Age).UnixMilli()`, `keep.Age.Milliseconds()-keep.Age.Milliseconds()`, "Streams/Retention/ByAge"},
}

var groupMutants = []mutant{
	{"G1", "a lease ends as it begins", "fetch.go",
		`g.token, true, out.until`, `g.token, true, out.now`, "Groups/Fetch/DeliversUnderALease"},
	{"G1", "a lapsed lease is not delivered again", "group.go",
		"} else {\n\t\t\tg.queue(p, &g.ready)", "} else {\n\t\t\tg.unqueue(p)", "Groups/Fetch/LapsedLeaseIsDeliveredAgain"},
	{"G1", "nobody watches for what is due", "fetch.go",
		`most := min(left, g.watch(w, now))`, `most := left`, "Groups/Fetch/WakesWhenSomethingIsDueAgain"},
	{"G1", "a publish wakes no consumer", "publish.go",
		`g.waiting.wake(n)`, `g.waiting.wake(0)`, "Groups/Fetch/WakesOnPublish"},

	{"G2", "the token of a receipt is not checked", "settle.go",
		` || p.token != s.Receipt.Token`, ``, "Groups/Settle/SupersededHolderGetsLeaseLost"},
	{"G2", "the incarnation of a receipt is not checked", "settle.go",
		` || g.incarnation != s.Receipt.Incarnation`, ``, "Groups/Settle/ForgedReceiptsAreRefused"},
	{"G2", "tokens begin again with the group", "group.go",
		`st.store.stampAbove(g.token)`, ``, "Groups/Settle/OldReceiptsDoNotFitANewGroup"},
	{"G2", "a verdict is not remembered", "settle.go",
		`g.settled.put(s.Receipt, s.Verdict, now)`, ``, "Groups/Settle/RepeatedVerdictIsNil"},
	{"G2", "another verdict of the same receipt is nil", "settle.go",
		`if verdict == s.Verdict {`, `if verdict != 0 {`, "Groups/Settle/AnotherVerdictIsLeaseLost"},
	{"G2", "an attempt is not counted", "fetch.go",
		`p.attempt++`, ``, "Groups/Fetch/LapsedLeaseIsDeliveredAgain"},
	{"G2", "a release costs an attempt", "settle.go",
		`p.attempt--`, ``, "Groups/Settle/ReleaseCostsNoAttempt"},

	{"G3", "an extension extends nothing", "settle.go",
		`p.until = now.Add(cmp.Or(s.Delay, g.Lease))`, ``, "Groups/Settle/ExtendHoldsOn"},
	{"G3", "leases of handlers are not renewed", "../../consume.go",
		`m.keeper.Hold(d.Receipt, granted, m.Lease, func(err error) {`, `_, _ = granted, (func(err error) {`, "Groups/Consume/LiveHandlerKeepsItsLease"},
	{"G3", "a handler does not hear of its lost lease", "../../consume.go",
		`j.cancel(ErrLeaseLost)`, `_ = j`, "Groups/Consume/SupersededHandlerIsTold"},

	{"G4", "one delivery too many", "group.go",
		`p.attempt >= g.MaxDeliveries`, `p.attempt > g.MaxDeliveries`, "Groups/DeadLetter/PastMaxDeliveries"},
	{"G4", "a dead letter has no reason", "settle.go",
		`header[rpw.HeaderDeadReason] = reason`, ``, "Groups/DeadLetter/RejectMovesItWithTheReason"},
	{"G4", "a rejected event is only dropped", "settle.go",
		`g.bury(p, cmp.Or(s.Reason, "rejected"), now)`, `_, _ = cmp.Or(""), g.forget; g.forget(p)`, "Groups/DeadLetter/RejectMovesItWithTheReason"},
	{"G4", "a redriven event is published again", "administer.go",
		`g.redrive(*origin, now)`, `g.redrive(*origin, now)
		g.st.append(&rpw.NewEvent{Type: origin.Type}, 0, extra{}, now)`, "Groups/Redrive/HandsThemBack"},

	{"G5", "a gap is told for ever", "fetch.go",
		`c.gap = nil`, ``, "Groups/Gaps/TrimmedIsReportedOncePerConsumer"},
	{"G5", "a gap is told to one consumer only", "group.go",
		`c.gap = joinGaps(c.gap, gap)`, `c.gap = joinGaps(c.gap, gap)
		break`, "Groups/Gaps/TrimmedIsReportedOncePerConsumer"},
	{"G5", "another incarnation is not noticed", "fetch.go",
		`req.Incarnation != g.incarnation`, `false`, "Groups/Gaps/FlushedGroupIsMadeAgain"},
	{"G5", "who waits does not hear that the group is gone", "group.go",
		"delete(st.groups, g.Group)\n\tg.waiting.wakeAll()", "delete(st.groups, g.Group)", "Groups/Gaps/WaitingFetchLearnsThatItsGroupIsGone"},

	{"G6", "lag is not counted", "group.go",
		`g.st.lag(g.cursor.Count)`, `0`, "Groups/Info/LagAndPending"},
	{"G6", "a consumer that came back is another one", "administer.go",
		`p.holder != nil && p.holder.name == name`, `p.holder == g.consumers[name]`, "Groups/Administer/RemovedAgain"},
	{"G6", "a removed consumer takes its events along", "administer.go",
		`p.until = now
`, `g.unqueue(p)
`, "Groups/Administer/RemoveConsumerLosesNothing"},
}
