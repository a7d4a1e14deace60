// Package rpw is for processes that work together: background workers, servers, watchers and edge
// processes that share streams, a cache, a global log and tracked actions, over a backend that one URL chooses.
//
//	hub, err := rpw.Open(ctx, cmp.Or(os.Getenv("RPW_URL"), "memory://"))
//
// A Hub is the backend behind one guard. The functions and types of this package work over it: streams (StreamOf, Subscribe,
// Consume), the cache (Get, Set, Update, Load, Increment, Keys, RepoOf); the packages actions, workers and logs add tracked
// units of work, the processes that run them, and the log. Drivers are imported for their registration, in the way of database/sql:
//
//	import _ "github.com/redis-process-worker/rpw/driver/memory" // memory://
//
// # What is promised
//
// An acknowledged publish is stored as durably as the configured backend stores it. The library's own repeats store
// once, always; a publish whose outcome is unknown to the caller says so (ErrUncertain), and the caller can repeat it safely when
// the events carried keys of his own (WithKey). A subscription delivers every stored event after its position once and in order, across
// reconnects, or reports a gap first. Group events and actions are delivered at least once; only the holder of the newest token
// can finish one. The memory driver is lost with its process.
//
// # Errors
//
// Every error matches, by errors.Is, one of the sentinels of this package, a context error, or errors.ErrUnsupported; or it is a *GapError.
// The same mistake gets the same error on every driver. The Hub repeats by itself what is safe to repeat, for up to 5 s: a call of which
// nothing was done (ErrUnavailable), and, where a repeat cannot do harm, one whose outcome is unknown. What remains is told to the caller:
//
//   - ErrUnavailable: nothing was done; try again later.
//   - ErrUncertain: a write may have been done. Repeat it if that is harmless (a publish with keys, a Set of your own key), or look first.
//   - a context error: your ctx ended. If the write may have left before, the error is ErrUncertain as well.
//
// # Positions
//
// Events have an ID ("ms-seq") and a Position, which is the ID with what a store needs to tell whether anything was lost in between. Store positions
// as text and come back with After, from any process.
//
// # Time in tests
//
// Everything here takes time from the clock and waits on channels only, so with the memory driver a test may run in a testing/synctest bubble: a
// test of a worker with an hour-long lease takes milliseconds; the README has a complete one.
//
// # Drivers
//
// A driver implements StreamBus, Cache, LogSink and ActionStore, or some of them, and registers its URL schemes. The guard has checked names and
// limits before it is called. The package conformance is the suite it must pass; the package driver has tools for it.
package rpw
