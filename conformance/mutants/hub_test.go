package mutants

// hubMutants are of what is the same on every driver: the log over streams, and the guard.
var hubMutants = []mutant{
	{"L4", "the level is ignored", "../../streamlogs.go",
		`r.Level >= *m.Level`, `true`, "Logs/Query/EveryFilter"},
	{"L4", "a page without a match stays", "../../streamlogs.go",
		`page.Next = e.Position()
		if r := readLog(e); e.ID.MS >= since && match.matches(&r) {`, `if r := readLog(e); e.ID.MS >= since && match.matches(&r) {
			page.Next = e.Position()`, "Logs/Query/PageWithoutMatchMoves"},
	{"L4", "a time to come has begun", "../../streamlogs.go",
		`e.ID.MS >= since`, `since >= 0`, "Logs/Query/TimeToCome"},
	{"L4", "a tail does not wait", "../../streamlogs.go",
		`Reverse: q.Reverse, Wait: q.Wait}`, `Reverse: q.Reverse}`, "Logs/Query/TailDoesNotPoll"},
	{"L5", "the log forgets its retention", "../../streamlogs.go",
		`Events: events, Keep: req.Keep}`, `Events: events}`, "Logs/Keep/ByCountAndAge"},
	{"L7", "the level is a number", "../../streamlogs.go",
		`"log","level":`, `"log","lvl":`, "Logs/Stored/ReadableByTheOriginal"},

	{"E1", "a context does not end a wait", "waiters.go",
		`case <-ctx.Done():`, `case <-context.WithoutCancel(ctx).Done():`, "Streams/Wait/ContextEndsTheWaitOnly"},
	{"E1", "a done context reaches the driver", "../../guard.go",
		`case ctx.Err() != nil:`, `case false:`, "Hub/Context/DoneBeforeTheCallDoesNothing"},
	{"E1", "a cut write is the context's error alone", "../../publish.go",
		`Kind: ErrUncertain, Err: ctx.Err()}`, `Kind: ctx.Err()}`, "Hub/Context/CutWhileOthersShareTheBatch"},
	{"E1", "an action goes with the claim that left", "actions_claim.go",
		"if seat.called {\n\t\tq.coming -= seat.claimer.max\n\t} else if", "if seat.called {\n\t} else if", "Actions/Wake/WhoLeavesPassesTheCallOn"},
	{"G1", "an event goes with the fetch that left", "../../guard_handback.go",
		`if len(deliveries) == 0 {`, `if true {`, "Groups/Fetch/WhoLeavesHandsBackWhatHeWasGiven"},
	{"A6", "an action goes with the claim that left before its reply", "../../guard_handback.go",
		`if len(claimed) == 0 {`, `if true {`, "Actions/Wake/WhoLeavesHandsBackWhatHeWasGiven"},

	{"E2", "a closed hub still works", "../../guard.go",
		`h.ctx == nil || h.closed.Load():`, `h.ctx == nil:`, "Hub/Close/LaterCallsAreErrClosed"},
	{"E2", "the namespace is not added", "../../guard.go",
		`return h.namespace + name`, `return name`, "Hub/Namespace/NamesAreApart"},

	{"E5", "retries are not told", "../../guard.go",
		`Retries: retries, Err: err}`, `Err: err}`, "Hub/Observer/SeesEveryCall"},
	{"E6", "raw bytes of a name are echoed", "../../names.go",
		"n++\n\t}\n\treturn strconv.Quote(name)", "n++\n\t}\n\treturn name", "Names/Bad/RefusedByEveryVerb"},
}
