// Package workers runs background processes: handlers of actions, consumers of streams and supervised services, over one hub.
//
// # A worker
//
//	w := workers.New(hub, workers.Config{Name: "resizer", Concurrency: 8})
//	workers.Handle(w, Resize, func(ctx context.Context, in ResizeIn) (ResizeOut, error) {
//		actions.Progress(ctx, 0.5)
//		return resize(ctx, in)
//	})
//	err := w.Run(ctx)
//
// Register everything first, then [Worker.Run] until its context ends. A mistake in a registration is returned there and again by
// Run, so only one of the two needs to be looked at.
//
// # Handlers of actions
//
// A handler that returns nil has completed its action. An error fails the attempt: another one follows after the back-off while attempts are left,
// unless the error says otherwise ([rpw.Permanent], [rpw.RetryIn]). A panic is an error with its stack. An argument that is not of
// the handler's type is a permanent one. The handler's context ends, and [context.Cause] tells why, when
//
//   - the action is cancelled ([rpw.ErrCancelled]); it is acknowledged when the handler returns;
//   - the attempt's timeout is over ([context.DeadlineExceeded]); a handler that does not return within the cancel grace has failed, and its
//     slot stays busy until it does return;
//   - the lease is lost ([rpw.ErrLeaseLost]): another worker has the action, and what this handler returns is dropped;
//   - the worker stops and its grace is over ([rpw.ErrClosed]): the action is handed back without costing an attempt.
//
// Leases are renewed for the handler. The context knows the action: [actions.Current], and [rpw.OriginOf] for logs.
//
// # Services
//
// [Worker.Service] supervises a function that runs as long as the worker: a server, a watcher, a scheduler. It is restarted with back-off when it fails, and
// with [Singleton] it runs in one process at a time.
//
// # Outages and stopping
//
// A worker goes on through outages of the backend with back-off and without a restart. When the context of Run ends, or the hub closes,
// it claims nothing more, gives handlers the grace, hands back the rest at once, and returns; also when the backend hangs.
package workers
