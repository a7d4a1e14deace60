package rpw

import (
	"context"
	"net/url"
	"time"
)

// Driver opens backends of one kind. A driver's package registers one in its init (Register), for each of its URL schemes.
type Driver interface {
	// Open connects to the backend that the URL names. An unknown or malformed query parameter is ErrInvalid and
	// names the parameter; no error holds a secret of the URL. The Hub has taken its own parameters (see Open) out before.
	Open(ctx context.Context, req OpenRequest) (Parts, error)
}

// OpenRequest is what a Driver is asked to open.
type OpenRequest struct {
	URL    *url.URL
	Notify func(Notice) // never nil; tells the Observer of changes of the link
}

// Parts is a backend, as a Hub takes it: the contracts it implements. A nil contract answers
// errors.ErrUnsupported; without Logs but with Streams, the log is kept in a stream (NewStreamLogs).
type Parts struct {
	Name    string // of the driver, for errors and metrics: a lower-case word
	Streams StreamBus
	Cache   Cache
	Logs    LogSink
	Actions ActionStore
	// Local says that the backend is in this process: a call that does not wait takes no time worth bounding, so the Hub does not
	// look at the clock for it.
	Local bool

	// Health asks the backend for a sign of life; nil means it is always well.
	Health func(ctx context.Context) error
	// Close releases everything, within ctx; nil if there is nothing to release. The Hub calls it once, after it has ended the contexts of
	// the calls that wait, and lets no call through from then on; one that is under way may still be.
	Close func(ctx context.Context) error
	// Native is the driver's own client or store, for Native.
	Native any
}

// Observer sees what a Hub does, for metrics and traces. Nothing it is told holds a name or value of a user, except the text of errors; so labels
// stay few (Code(err) is one). Its methods are called on hot paths, from many goroutines: they must be quick and must not call the Hub.
type Observer interface {
	// Begin is called before a verb; the context it returns, for example with a span, goes to the driver.
	Begin(ctx context.Context, op Operation) context.Context
	// End is called with the outcome.
	End(ctx context.Context, op Operation, out Outcome)
	// Notify tells of what happens between calls.
	Notify(n Notice)
}

// Operation is a verb on its way to a driver.
type Operation struct {
	Verb   string // "publish", "read", "claim", ...
	Driver string
	Items  int  // how many items the request carries
	Waits  bool // the call may wait for something to happen: its time says nothing about the backend's speed
}

// Outcome is how an Operation ended.
type Outcome struct {
	Took    time.Duration
	Retries int   // by the Hub
	Err     error // of the call, not of single items; Code(Err) is fit for a label
}

// Notice is something that happened between calls.
type Notice struct {
	Kind  NoticeKind
	Err   error         // the reason, if there is one
	After time.Duration // of NoticeReconnecting: until the next try
}

// NoticeKind is the kind of a Notice. Receivers ignore kinds they do not know.
type NoticeKind string

// The kinds of Notice.
const (
	NoticeConnected    NoticeKind = "connected"
	NoticeReconnecting NoticeKind = "reconnecting"
	NoticeRefused      NoticeKind = "refused"  // the backend will not have us; a change of configuration is needed
	NoticeRetry        NoticeKind = "retry"    // a call is repeated after Err
	NoticeGap          NoticeKind = "gap"      // a subscription or consumer met a gap
	NoticeDegraded     NoticeKind = "degraded" // the backend lacks something that is not needed, or cannot be checked; Err says what
)
