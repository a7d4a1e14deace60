// Package memory is the in-process driver of rpw: a full driver, with the same limits, leases, times to live and errors
// as the others, whose data lives and dies with the process. Import it for its side effect and open "memory://",
// or share a [Store] between Hubs.
//
// # URLs
//
//	memory://            a fresh store of its own
//	memory://name        the store of this name, shared by all who open it; it is dropped when the last of them closes
//	memory://name?max_bytes=268435456
//
// The one parameter is max_bytes, how much the store holds (Options.MaxBytes), 1 GiB unless given. Whoever opens a name that
// is open already leaves it out or gives the same. User, password, port, path and fragment are refused, as are other parameters.
//
// # Delivery semantics
//
// An acknowledged publish is stored until retention, a delete or the end of the process takes it. Nothing of this driver ever
// answers rpw.ErrUncertain or rpw.ErrUnavailable: a call is done or it is not. Subscriptions get every event once and in order, or a
// gap first, which is exact: there are no possible ones. Group events are delivered at least once. A full store
// is rpw.ErrFull for what adds, and still lets everything that finishes or frees go on.
//
// # Native access
//
// rpw.Native[*memory.Store] gives the [Store] behind a Hub.
//
// # Virtual time
//
// The store runs nothing of its own: no goroutine, no ticker, no timer but those of the calls that wait, which their own
// goroutine makes. So it works inside testing/synctest, where leases, delays and times to live pass in no time. Make the Store, or
// open the Hub, inside the bubble.
package memory
