package mutants

var actionMutants = []mutant{
	{"A1", "a joined action is stored again", "actions_enqueue.go",
		`if r := q.find(spec.Ref.ID); r != nil {`, `if r := q.find(spec.Ref.ID); false {`, "Actions/Enqueue/SameIDIsOneAction"},
	{"A1", "a claim repeated after a lost reply claims anew", "actions_claim.go",
		`claimed, err := s.claims.once(ctx, req.Lane, func`, `claimed, err := s.claims.once(ctx, rpw.Lane{}, func`, "Actions/Repeat/LostReplies"},

	{"A2", "the token is constant", "actions.go",
		`max(last+1, uint64(now.UnixMicro()))`, `max(last, 1)`, "Actions/Claim/TokensGrow"},
	{"A2", "a claim hands out what runs", "actions_queue.go",
		`q.now, q.now.Add(lease)`, `q.now, q.now`, "Actions/Claim/GivesALease"},
	{"A2", "renew is not fenced", "actions_advance.go",
		`if r.State != rpw.Running || r.token != m.Lease.Token {
		return r.refuse`, `if r.State != rpw.Running || r.token != m.Lease.Token && m.Kind != rpw.Renew {
		return r.refuse`, "Actions/Fence/WhileAnotherHolds"},
	{"A2", "progress is not fenced", "actions_advance.go",
		`if r.State != rpw.Running || r.token != m.Lease.Token {
		return r.refuse`, `if r.State != rpw.Running || r.token != m.Lease.Token && m.Kind != rpw.SetProgress {
		return r.refuse`, "Actions/Fence/WhileAnotherHolds"},
	{"A2", "complete is not fenced", "actions_advance.go",
		`if r.State != rpw.Running || r.token != m.Lease.Token {
		return r.refuse`, `if r.State != rpw.Running || r.token != m.Lease.Token && m.Kind != rpw.Complete {
		return r.refuse`, "Actions/Fence/WhileAnotherHolds"},

	{"A3", "a second terminal move is accepted", "actions_advance.go",
		`case ended.kind == m.Kind:`, `case true:`, "Actions/Advance/RepeatedEndIsNil"},
	{"A3", "the repeat of an end is refused", "actions_advance.go",
		`token: m.Lease.Token, kind: m.Kind,`, ``, "Actions/Advance/RepeatedEndIsNil"},

	{"A4", "a lapsed lease never ends", "actions_queue.go",
		`q.fail(r, rpw.ActionFailure{Message: "worker lost: lease ended"}, at, at)`, `stand(&q.agenda, r, false)`, "Actions/Claim/LapsedIsClaimable"},
	{"A4", "nobody looks when a lease ends", "actions_claim.go",
		`left = min(left, due.Sub(now))`, ``, "Actions/Wake/WhenALeaseEnds"},
	{"A4", "lost on the last attempt it runs again", "actions_queue.go",
		`r.Attempt >= r.MaxAttempts`, `r.Attempt >= r.MaxAttempts && failure.Message != "worker lost: lease ended"`, "Actions/Advance/LostOnTheLastAttempt"},

	{"A5", "an exhausted action is pending", "actions_queue.go",
		`failure.Permanent || r.Attempt >= r.MaxAttempts`, `failure.Permanent`, "Actions/Advance/FailIsTriedAgain"},
	{"A5", "a permanent failure is tried again", "actions_queue.go",
		`failure.Permanent || `, ``, "Actions/Advance/PermanentFails"},
	{"A5", "an attempt follows without delay", "actions_advance.go",
		`q.fail(r, m.Failure, q.now, q.now.Add(m.RetryIn))`, `q.fail(r, m.Failure, q.now, q.now)`, "Actions/Advance/RetryIsNeverEarly"},
	{"A5", "what is given back cost an attempt", "actions_advance.go",
		`r.Attempt--`, ``, "Actions/Advance/GivebackCostsNothing"},

	{"A6", "a delay is ignored", "actions_record.go",
		`return now.Add(delay)`, `return now`, "Actions/Enqueue/DelayIsNeverEarly"},
	{"A6", "a new action wakes nobody", "actions_claim.go",
		"seat.claimer.wake()\n\t}\n\tif q.keeper == nil", "}\n\tif q.keeper == nil", "Actions/Wake/NewWorkAtOnce"},

	{"A7", "the cancel of a pending action is only noted", "actions_control.go",
		`q.finish(r, rpw.Cancelled, r.cancel, q.now)`, `q.place(r)`, "Actions/Cancel/PendingNeverRuns"},
	{"A7", "no signal is sent", "actions_control.go",
		`q.store.sessions.signal(r.Worker, rpw.Signal{`, `_ = (rpw.Signal{`, "Workers/Signal/CancelAtOnce"},
	{"A7", "a signal goes to who asks first", "sessions.go",
		`worker.signals = slices.DeleteFunc(worker.signals, func(sig rpw.Signal) bool { return sig.Seq <= hb.After })
	if i,`, `worker.signals = nil
	if i,`, "Workers/Signal/NoneIsLost"},
	{"A7", "the grace is not enforced", "actions_record.go",
		`if r.cancelling() && r.graceEnd().Before(r.Until) {`, `if false {`, "Actions/Cancel/EndsAfterTheGrace"},
	{"A7", "a result after the cancel is taken", "actions_advance.go",
		"switch {\n\tcase r.cancelling():", "switch {\n\tcase r.cancelling() && m.Kind != rpw.Complete:", "Actions/Cancel/ResultsAreRefused"},
	{"A7", "a cancelled action runs again when its worker is lost", "actions_queue.go",
		`case r.cancelling():`, `case r.cancelling() && r.graceEnd().Before(at):`, "Actions/Cancel/EndsWithALostWorker"},

	{"A8", "the time to start in is ignored", "actions_record.go",
		`if r.within > 0 {`, `if false {`, "Actions/Enqueue/ExpiresIfNotStarted"},
	{"A8", "a later attempt expires", "actions_queue.go",
		`r.Attempt == 0 && !r.startBy.IsZero() && !r.startBy.After(at)`, `!r.startBy.IsZero() && !r.startBy.After(at)`, "Actions/Enqueue/ExpiryIsForTheFirstAttempt"},

	{"A9", "a unique key is not looked up", "actions_enqueue.go",
		`r := q.unique[spec.Unique]; r != nil`, `r := q.unique[spec.Unique]; false && r != nil`, "Actions/Unique/JoinAnswersTheOneThatIsThere"},
	{"A9", "a unique key is not released", "actions_queue.go",
		"r.Failure = at, time.Time{}, why\n\tq.freeKey(r)", "r.Failure = at, time.Time{}, why", "Actions/Unique/KeyIsFreeAgain"},

	{"A10", "changes have a hole", "actions_record.go",
		"r.Seq++\n", "r.Seq++\n\tif kind == rpw.ChangeData {\n\t\tr.Seq++\n\t}\n", "Actions/Changes/DenseAndResumable"},
	{"A10", "a change wakes nobody", "actions_record.go",
		"r.charge()\n\tr.wake()", "r.charge()", "Actions/Changes/WaitIsWokenAtOnce"},
	{"A10", "the output is lost", "actions_advance.go",
		`r.Output = bytes.Clone(m.Output)`, ``, "Actions/Advance/Complete"},

	{"A11", "a paused queue hands out", "actions_claim.go",
		`if q.paused {`, `if false {`, "Actions/Pause/HandsOutNothing"},

	{"A13", "the good ones of a bad batch are stored", "actions_enqueue.go",
		"intake.undo()\n\t\treturn failed", "intake.apply()\n\t\treturn failed", "Actions/Enqueue/AllOrNonePerQueue"},
	{"A13", "more is claimed than was asked for", "actions_claim.go",
		`req.Max-len(claimed)) {`, `req.Max) {`, "Actions/Claim/QueuesInTheGivenOrder"},

	{"A14", "a list ignores states", "actions_read.go",
		`(len(f.States) == 0 || slices.Contains(f.States, r.State)) &&`, ``, "Actions/List/EveryFilter"},
	{"A14", "a count ignores states", "actions_read.go",
		`n > 0 && (len(f.States) == 0 || slices.Contains(f.States, state))`, `n > 0`, "Actions/List/EveryFilter"},
	{"A14", "retention is not applied", "actions_record.go",
		`return ok && !at.After(now)`, `return ok && at.IsZero()`, "Actions/Keep/ManyEndAtOnce"},

	{"W2", "an offline worker shows as idle", "sessions.go",
		`if w.offlineAt.Before(now) {`, `if false {`, "Workers/Heartbeat/OfflineShows"},
	{"W2", "a page of workers ends the list", "sessions.go",
		`page.Next = last.Name + "\n" + last.ID`, `_ = last`, "Workers/List/InOrderAndInPages"},
}
