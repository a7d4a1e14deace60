package rpw

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Hub is what programs hold: a backend behind a guard that is the same for every driver. The guard checks names and limits, adds
// the namespace, retries what is safe to retry, wraps errors and refuses calls after Close. A Hub is safe
// for concurrent use; open one for each backend and share it. The zero Hub and a nil one are closed.
//
// The functions of this package (Publish, Subscribe, Consume, Get, Set, ...) and the packages actions, logs and workers work over a Hub.
// Its accessors give the contracts themselves, guarded, for what has no helper.
type Hub struct {
	namespace string
	observer  Observer
	parts     Parts

	id      [16]byte // of the Hub as a producer
	born    time.Time
	lanes   lanePool
	lines   lines
	drafts  drafts
	loads   flights
	unheard unheard

	ctx      context.Context // ends, with cause ErrClosed, when the Hub closes
	cancel   context.CancelCauseFunc
	closed   atomic.Bool
	mu       sync.Mutex // guards onClose, and closed against spawn
	onClose  []*closeHook
	tasks    sync.WaitGroup // goroutines of the Hub
	shutdown chan struct{}  // closed when Shutdown is over
	closing  atomic.Bool
	closeErr error // of Shutdown
}

type closeHook struct{ f func(context.Context) error }

// CloseTimeout bounds Hub.Close.
const CloseTimeout = 5 * time.Second

// Option changes how a Hub is made.
type Option func(*Hub) error

// WithNamespace puts all names of the Hub into a namespace: other hubs of the same backend see them as "namespace:name"
// if they have none, and not at all if they have another, unless that is within it: "a:b" lies within "a". There is no way out of it through the
// contracts; Native is the driver's own. At most 64 bytes, by the grammar of names.
func WithNamespace(namespace string) Option {
	return func(h *Hub) error {
		if namespace == "" {
			return nil
		}
		if err := CheckName("namespace", namespace); err != nil {
			return err
		}
		if len(namespace) > maxNamespace {
			return Errorf(ErrInvalid, "namespace %s is too long: %d bytes (max %d)", QuoteName(namespace), len(namespace), maxNamespace)
		}
		h.namespace = namespace + ":"
		return nil
	}
}

// WithObserver lets o see what the Hub does. Several observers see it in the given order.
func WithObserver(o Observer) Option {
	return func(h *Hub) error {
		if o == nil {
			return Errorf(ErrInvalid, "the observer is nil")
		}
		if h.observer != nil {
			o = observers{h.observer, o}
		}
		h.observer = o
		return nil
	}
}

// New returns a Hub over a backend that the caller has made, without the registry: for tests, and for drivers that need more than a URL.
// The Hub closes it.
func New(parts Parts, opts ...Option) (*Hub, error) {
	h, err := newHub(opts)
	if err == nil {
		err = h.use(parts)
	}
	if err != nil {
		return nil, &Error{Op: "open", Kind: kindOf(err), Err: explain(err)}
	}
	return h, nil
}

func newHub(opts []Option) (*Hub, error) {
	h := &Hub{shutdown: make(chan struct{}), born: time.Now()}
	rand.Read(h.id[:])
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	h.ctx.Done() // its channel belongs to the Hub's maker, also if a testing/synctest bubble waits on it first
	for _, opt := range opts {
		if opt == nil {
			return nil, Errorf(ErrInvalid, "an option is nil")
		}
		if err := opt(h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *Hub) use(parts Parts) error {
	if parts.Name == "" || strings.Trim(parts.Name, "abcdefghijklmnopqrstuvwxyz0123456789-+") != "" {
		return Errorf(ErrInvalid, "the driver's name %s is no lower-case word", QuoteName(parts.Name))
	}
	h.parts = parts
	return nil
}

// age is how long the Hub exists. It is what calls are timed by: less work than the time of day.
func (h *Hub) age() time.Duration { return time.Since(h.born) }

// orClosed lets a nil Hub be a closed one.
func (h *Hub) orClosed() *Hub {
	if h == nil {
		return new(Hub)
	}
	return h
}

// Driver returns the name of the driver: "memory", "redis", ...
func (h *Hub) Driver() string { return h.orClosed().parts.Name }

// Streams returns the guarded contract for streams and groups. Without a driver for it, every verb is errors.ErrUnsupported.
func (h *Hub) Streams() StreamBus { return guardedStreams{h.orClosed()} }

// Cache returns the guarded contract for the cache.
func (h *Hub) Cache() Cache { return guardedCache{h.orClosed()} }

// Logs returns the guarded contract for the global log.
func (h *Hub) Logs() LogSink { return guardedLogs{h.orClosed()} }

// Actions returns the guarded contract for actions.
func (h *Hub) Actions() ActionStore { return guardedActions{h.orClosed()} }

// Health asks the backend for a sign of life. It takes at most 5 s, or less with a deadline in ctx.
func (h *Hub) Health(ctx context.Context) error {
	h = h.orClosed()
	c := call{h: h, verb: "health"}
	if ctx == nil {
		return c.wrap(errNilContext)
	}
	asking, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	err := c.do(asking, func(ctx context.Context) error {
		if h.parts.Health == nil {
			return nil
		}
		return h.parts.Health(ctx)
	})
	if err != nil && errors.Is(err, asking.Err()) && ctx.Err() == nil { // the bound, not the caller's
		return c.wrap(Errorf(ErrUnavailable, "no sign of life within %v", opTimeout))
	}
	return err
}

// Native returns the driver's own client or store as a T, for what rpw does not wrap; ok is false
// if the driver has no such thing. Drivers document what theirs is. It is shared with the Hub: do not close it.
func Native[T any](h *Hub) (native T, ok bool) {
	native, ok = h.orClosed().parts.Native.(T)
	return native, ok
}

// OnClose registers f to be called when the Hub closes, before the driver does, so that f can still use the Hub: what was registered
// last is called first. f ends with its ctx; what it returns, or panics with, is part of the error of Close. The function that OnClose
// returns takes f off again. On a closed Hub f is not registered and the error is ErrClosed.
func (h *Hub) OnClose(f func(context.Context) error) (remove func(), err error) {
	h = h.orClosed()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ctx == nil || h.closed.Load():
		return func() {}, &Error{Op: "on close", Kind: ErrClosed}
	case f == nil:
		return func() {}, &Error{Op: "on close", Kind: ErrInvalid, Err: errors.New("the function is nil")}
	}
	hook := &closeHook{f}
	h.onClose = append(h.onClose, hook)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if i := slices.Index(h.onClose, hook); i >= 0 {
			h.onClose = slices.Delete(h.onClose, i, i+1)
		}
	}, nil
}

// Close is Shutdown within CloseTimeout.
func (h *Hub) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), CloseTimeout)
	defer cancel()
	return h.Shutdown(ctx)
}

// Shutdown flushes what is buffered (logs), ends every wait and subscription with ErrClosed, and closes the driver, in the time that ctx
// gives. Calls after it are ErrClosed. Repeating it waits for the first one, within ctx, and returns its answer.
func (h *Hub) Shutdown(ctx context.Context) error {
	if h == nil || h.ctx == nil {
		return nil
	}
	if ctx == nil {
		return &Error{Op: "close", Driver: h.parts.Name, Kind: ErrInvalid, Err: explain(errNilContext)}
	}
	if h.closing.CompareAndSwap(false, true) {
		h.closeErr = h.close(ctx)
		close(h.shutdown)
		return h.closeErr
	}
	if err := waitFor(ctx, h.shutdown); err != nil {
		return err
	}
	return h.closeErr
}

// waitFor waits for done; the error is that of ctx, if it ends before.
func waitFor(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	default:
		return ctx.Err()
	}
}

func (h *Hub) close(ctx context.Context) error {
	var errs []error
	for hook := h.lastHook(); hook != nil; hook = h.lastHook() {
		errs = append(errs, hook.run(ctx))
	}
	h.cancel(ErrClosed)
	errs = append(errs, h.waitForTasks(ctx))
	if h.parts.Close != nil {
		errs = append(errs, h.parts.Close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return &Error{Op: "close", Driver: h.parts.Name, Kind: kindOf(err), Err: explain(err)}
	}
	return nil
}

// run calls the hook. A panic is an error of it, so that the Hub closes all the same.
func (hook *closeHook) run(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a function that OnClose was given panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return hook.f(ctx)
}

// lastHook takes the hook off that was registered last. When none is left the Hub is closed: nil.
func (h *Hub) lastHook() *closeHook {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.onClose)
	if n == 0 {
		h.closed.Store(true)
		return nil
	}
	hook := h.onClose[n-1]
	h.onClose = slices.Delete(h.onClose, n-1, n)
	return hook
}

// waitForTasks waits for the goroutines of the Hub, which end with h.ctx, unless a load of a user does not mind it.
func (h *Hub) waitForTasks(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.tasks.Wait()
	}()
	return waitFor(ctx, ended)
}

// spawn runs f in a goroutine that Shutdown waits for; false if the Hub is closed. f ends soon after h.ctx.
func (h *Hub) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed.Load() {
		return false
	}
	h.tasks.Go(f)
	return true
}

func (h *Hub) notify(n Notice) {
	if h.observer != nil {
		h.observer.Notify(n)
	}
}

// observers is a list of two or more.
type observers []Observer

func (o observers) Begin(ctx context.Context, op Operation) context.Context {
	for _, each := range o {
		ctx = each.Begin(ctx, op)
	}
	return ctx
}

func (o observers) End(ctx context.Context, op Operation, out Outcome) {
	for _, each := range o {
		each.End(ctx, op, out)
	}
}

func (o observers) Notify(n Notice) {
	for _, each := range o {
		each.Notify(n)
	}
}
