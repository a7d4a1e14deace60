package conformance

// Promise is what users buy: a rule that every driver, or a layer above it, keeps.
type Promise struct {
	ID   string
	Text string
	// Elsewhere names the package, below the module's root, whose own tests protect the promise because no driver alone can; "": cases of this suite do.
	Elsewhere string
	// Later says that the contracts have room for it, and nothing implements it yet.
	Later bool
}

// Promises lists all that rpw promises. Each is protected by cases of this suite, unless marked Elsewhere or Later.
func Promises() []Promise {
	return []Promise{
		{ID: "S1", Text: "One total order per stream; positions grow strictly; an event's id has the form ms-seq on every driver."},
		{ID: "S2", Text: "A nil error means stored; a batch is contiguous and all or none, never split; calls of one Hub ordered by return keep their order."},
		{ID: "S3", Text: "A repeat by the library never duplicates; an event key of the caller is appended once within its window, from any process."},
		{ID: "S4", Text: "Subscribe returns after its start is pinned: all that is published later arrives."},
		{ID: "S5", Text: "Missing history is reported as a *GapError before the next event, never skipped silently, without false alarms; the caller chooses to stop, continue or replay."},
		{ID: "S6", Text: "A slow reader slows nobody: it lags in the store, with bounded memory in the process."},
		{ID: "S7", Text: "Every stream has retention, by length and by age, with a default bound."},
		{ID: "S8", Text: "Ten thousand subscriptions in one process cost a small, bounded number of connections.", Elsewhere: "driver/redis"},

		{ID: "G1", Text: "Competing consumers get each event at least once; one holder at a time, under a lease."},
		{ID: "G2", Text: "Verdicts are answered one by one and fenced by receipts; a superseded holder gets ErrLeaseLost and changes nothing; repeating an applied verdict is nil."},
		{ID: "G3", Text: "The lease of a live handler is renewed for it."},
		{ID: "G4", Text: "Past its deliveries, or rejected, an event moves to the dead-letter stream with the reason, in one step, and can be redriven."},
		{ID: "G5", Text: "A flushed or vanished group is rebuilt with one gap report for each consumer."},
		{ID: "G6", Text: "Lag, pending and consumers can be inspected; a consumer is removed without losing its events."},

		{ID: "C1", Text: "Bytes in, the same bytes out; empty is not absent; a miss is not an error."},
		{ID: "C2", Text: "A time to live in milliseconds by the store's clock; what remains of it can be read."},
		{ID: "C3", Text: "Set or delete if absent, present or equal; atomic counters."},
		{ID: "C4", Text: "A scan returns each key that lives through it, in bounded pages; the iterator returns it once."},
		{ID: "C5", Text: "Get or load, with one load at a time for a key."},
		{ID: "C6", Text: "A near cache is asked for, and has a bound on staleness; own writes read back at once."},
		{ID: "C7", Text: "Typed helpers, and Repo, a typed store of entities with compare-and-swap."},

		{ID: "L1", Text: "logs gives a slog.Handler that batches in the background, never blocks and never fails the caller; what it drops it counts, and says so.", Elsewhere: "logs"},
		{ID: "L2", Text: "The order of a source is kept; Flush and Close are bounded.", Elsewhere: "logs"},
		{ID: "L3", Text: "Records carry worker, action and attempt when logged with the handler's context.", Elsewhere: "logs"},
		{ID: "L4", Text: "Query and live tail with the same filter; a page that matched nothing still moves the position."},
		{ID: "L5", Text: "The log is kept by count and by age."},
		{ID: "L6", Text: "Hostile text cannot forge a line on the console.", Elsewhere: "logs"},
		{ID: "L7", Text: "A stored entry has the form of the original's LogRepo; the default log stream is logQueue."},

		{ID: "A1", Text: "Enqueue returned nil: the action reaches a terminal state by some worker even when processes die."},
		{ID: "A2", Text: "One holder of the lease; the token grows with every claim and fences every write."},
		{ID: "A3", Text: "Exactly one terminal transition."},
		{ID: "A4", Text: "An action whose worker died is taken over soon after its lease, by any worker, without a leader."},
		{ID: "A5", Text: "Retries with exponential back-off and jitter, permanent errors, the history of every attempt's error."},
		{ID: "A6", Text: "Delays are kept to the millisecond, never early; idle workers pick up new work without polling."},
		{ID: "A7", Text: "Cancel from any process: what is pending never runs, what runs is told, then acknowledges or is fenced off after a grace."},
		{ID: "A8", Text: "A timeout for each attempt; expiry if not started in time."},
		{ID: "A9", Text: "Unique keys in a queue; what is pending can be rescheduled or replaced."},
		{ID: "A10", Text: "The result can be waited for, and the course watched as one gapless resumable sequence, from any process, without polling."},
		{ID: "A11", Text: "A queue can be paused and resumed."}, // priorities, rates and limits by key have room in the contract
		{ID: "A12", Text: "Schedules by cron or interval, stored in the backend, firing once.", Later: true},
		{ID: "A13", Text: "Enqueue and claim in batches."},
		{ID: "A14", Text: "List, count, retry and delete by state, name, queue, time and label, in pages; retention by outcome."},
		{ID: "A15", Text: "Parents wait for children.", Later: true},

		{ID: "W1", Text: "A worker handles actions, listens to streams and runs services under supervision.", Elsewhere: "workers"},
		{ID: "W2", Text: "A registry of workers with heartbeat, from a bounded index; offline shows."},
		{ID: "W3", Text: "A graceful stop hands back what is not done without costing an attempt, in bounded time.", Elsewhere: "workers"},
		{ID: "W4", Text: "Remote commands to workers: pause, drain, log level.", Later: true},

		{ID: "K1", Text: "The socket's client is a driver: it passes this suite.", Elsewhere: "socket"},
		{ID: "K2", Text: "Authentication and authorisation by operation and name, deny by default; no way out of the namespace.", Elsewhere: "socket"},
		{ID: "K3", Text: "Reconnect with back-off, resume without loss or duplicate, writes in flight settled exactly once or ErrUncertain.", Elsewhere: "socket"},
		{ID: "K4", Text: "Limits on everything a peer can send; slow peers are closed alone.", Elsewhere: "socket"},
		{ID: "K5", Text: "The original's browser clients work unmodified when the server allows them.", Elsewhere: "socket"},
		{ID: "K6", Text: "A browser client with the same resume semantics.", Later: true},

		{ID: "E1", Text: "The context comes first and is honoured at once; it ends the caller's wait only, and never owns a connection."},
		{ID: "E2", Text: "One error model: the same error for the same mistake on every driver."},
		{ID: "E3", Text: "No goroutine, connection or timer is left after Close.", Elsewhere: "driver/memory"},
		{ID: "E4", Text: "Redis standalone, Sentinel, Cluster, TLS, ACL users and unix sockets by URL, checked when opened.", Elsewhere: "driver/redis"},
		{ID: "E5", Text: "Metrics and traces through a small Observer; Health on the Hub."},
		{ID: "E6", Text: "No secret in any error, log or text."},
		{ID: "E7", Text: "Tests of users run in virtual time, with the memory driver and testing/synctest.", Elsewhere: "driver/memory"},
	}
}
