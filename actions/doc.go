// Package actions defines tracked units of work, starts them from any process and follows them to their result.
//
// # Defining
//
// An action is defined once, as a package variable that programs which start it and programs which run it share:
//
//	var Resize = actions.Define[ResizeIn, ResizeOut]("resize", actions.MaxAttempts(5))
//
// A [Definition] is immutable and holds no connection; argument and output travel as JSON. What runs it is a worker of package
// workers. A mistake in the options is [rpw.ErrInvalid] wherever the definition is used.
//
// # Starting
//
// [Definition.Start] stores an action and returns at once, [Definition.StartAll] stores many in one step, [Definition.Run] also waits for the
// result. A nil error means stored: the action will reach a terminal state by some worker, also when processes
// die. Options given to Start come after those of the definition, and win.
//
// # Following
//
// [Definition.Wait] and [Definition.Watch] follow an action from any process, without polling, through outages of the backend until ctx
// ends. An action that failed or was cancelled is an [*Error]; a cancelled one matches [rpw.ErrCancelled].
//
// # In handlers
//
// [Current], [Progress] and [Event] find the action that runs in the handler's context. Outside a worker they do nothing, so a handler can be
// tested by calling it; [NewContext] gives such a test an attempt of its own.
//
// Actions run at least once. A handler that writes elsewhere hands [Run.Token] along and has smaller ones refused there.
package actions
