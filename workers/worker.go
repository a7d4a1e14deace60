package workers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

// DefaultHeartbeat is how often a worker tells the registry that it is alive.
const DefaultHeartbeat = 5 * time.Second

// maxMeta leaves room for what else a heartbeat tells.
const maxMeta = 64 << 10

// maxQueues is how many queues a worker can claim from.
const maxQueues = 100

// Config says how a worker works. The zero value of a field is its default.
type Config struct {
	Name        string            // of all workers of this kind; "": "worker"
	ID          string            // of this run, unique; "": the name and a random part
	Concurrency int               // handlers of actions at a time; 0: GOMAXPROCS. As many results more may be on their way to the store
	Lease       time.Duration     // how long an action is held before it goes to another worker if this one dies; 0: rpw.DefaultLease
	Grace       time.Duration     // how long handlers may go on when the worker stops; 0: rpw.DefaultGrace
	Heartbeat   time.Duration     // 0: DefaultHeartbeat; at most a third of rpw.MaxLease. Offline shows after three of them
	Logger      *slog.Logger      // of failed attempts, panics, outages; nil: slog.Default()
	Meta        map[string]string // shown in the registry; at most 32, and 64 KiB in all
}

func (c *Config) normalize() error {
	c.Name = cmp.Or(c.Name, "worker")
	c.Concurrency = cmp.Or(c.Concurrency, runtime.GOMAXPROCS(0))
	c.Lease = cmp.Or(c.Lease, rpw.DefaultLease)
	c.Grace = cmp.Or(c.Grace, rpw.DefaultGrace)
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		c.ID = c.Name + "-" + id.String()
	}
	switch {
	case c.Concurrency < 0:
		return rpw.Errorf(rpw.ErrInvalid, "Concurrency is %d; it must be at least 1, or 0 for GOMAXPROCS", c.Concurrency)
	case c.Lease < rpw.MinLease || c.Lease > rpw.MaxLease:
		return rpw.Errorf(rpw.ErrInvalid, "Lease is %v; it must be from %v to %v", c.Lease, rpw.MinLease, rpw.MaxLease)
	case c.Grace < 0:
		return rpw.Errorf(rpw.ErrInvalid, "Grace is negative (%v)", c.Grace)
	case c.Heartbeat < rpw.MinLease || c.Heartbeat > rpw.MaxLease/missedBeats:
		return rpw.Errorf(rpw.ErrInvalid, "Heartbeat is %v; it must be from %v to %v", c.Heartbeat, rpw.MinLease, rpw.MaxLease/missedBeats)
	case len(c.Meta) > 32:
		return rpw.Errorf(rpw.ErrTooLarge, "Meta has %d entries (max 32)", len(c.Meta))
	case metaSize(c.Meta) > maxMeta:
		return rpw.Errorf(rpw.ErrTooLarge, "Meta has %d bytes (max %d)", metaSize(c.Meta), maxMeta)
	}
	return cmp.Or(rpw.CheckName("worker", c.Name), rpw.CheckName("worker id", c.ID))
}

func metaSize(meta map[string]string) (size int) {
	for key, value := range meta {
		size += len(key) + len(value)
	}
	return size
}

// Worker is a background process: it handles actions, consumes streams and runs services. Make one with New, register what it
// does, and Run it once. It is safe for concurrent use.
type Worker struct {
	hub    *rpw.Hub
	store  rpw.ActionStore
	config Config
	stats  counters

	mu       sync.Mutex
	phase    phase
	mistakes []error // of registrations
	handlers map[kind]handler
	queues   []string
	services []*service
	session  *session // from Run on
}

type phase uint8

const (
	registering phase = iota
	running
	ended
)

// kind is what a handler is for.
type kind struct{ queue, name string }

// handler is a handler of actions, with the types of its definition taken off.
type handler func(ctx context.Context, arg json.RawMessage) (json.RawMessage, error)

// New makes a worker. Mistakes in config are reported by Run.
func New(hub *rpw.Hub, config Config) *Worker {
	w := &Worker{hub: hub, config: config, handlers: make(map[kind]handler)}
	if hub == nil {
		w.mistakes = append(w.mistakes, w.fault("make", rpw.Errorf(rpw.ErrInvalid, "the hub is nil")))
	} else {
		w.store = hub.Actions()
	}
	if err := w.config.normalize(); err != nil {
		w.mistakes = append(w.mistakes, w.fault("make", err))
	}
	return w
}

// Handle lets w run the actions of a definition with fn, which is called from several goroutines. A mistake is returned here and again by Run:
// ErrInvalid for a nil or wrong argument, ErrConflict for a second handler of the same action and queue, or while the
// worker runs; ErrClosed after it has.
func Handle[In, Out any](w *Worker, def *actions.Definition[In, Out], fn func(ctx context.Context, in In) (Out, error)) error {
	spec, err := def.Spec()
	if err == nil && fn == nil {
		err = rpw.Errorf(rpw.ErrInvalid, "the handler of %s is nil", rpw.QuoteName(spec.Name))
	}
	return w.register(err, func() error {
		of := kind{spec.Ref.Queue, spec.Name}
		if w.handlers[of] != nil {
			return rpw.Errorf(rpw.ErrConflict, "action %s of queue %s already has a handler", rpw.QuoteName(of.name), rpw.QuoteName(of.queue))
		}
		if err := w.addQueue(of.queue); err != nil {
			return err
		}
		w.handlers[of] = func(ctx context.Context, arg json.RawMessage) (json.RawMessage, error) {
			var in In
			if err := decode(arg, &in); err != nil {
				return nil, rpw.Permanent(rpw.Errorf(rpw.ErrInvalid, "the argument does not read as %T: %w", in, err))
			}
			out, err := fn(ctx, in)
			if err != nil {
				return nil, err
			}
			return encode(out)
		}
		return nil
	})
}

// decode is json.Unmarshal; who wants the argument as JSON gets it as it is.
func decode(arg json.RawMessage, in any) error {
	if raw, ok := in.(*json.RawMessage); ok {
		*raw = bytes.Clone(arg)
		return nil
	}
	return json.Unmarshal(arg, in)
}

// encode writes an output. What cannot be stored now could not be stored after another attempt.
func encode(out any) (json.RawMessage, error) {
	output, err := json.Marshal(out)
	switch {
	case err != nil:
		return nil, rpw.Permanent(rpw.Errorf(rpw.ErrInvalid, "the output cannot be written as JSON: %w", err))
	case len(output) > rpw.MaxPayload:
		return nil, rpw.Permanent(rpw.Errorf(rpw.ErrTooLarge, "the output has %d bytes (max %d); store it elsewhere and return a reference", len(output), rpw.MaxPayload))
	}
	return output, nil
}

// addQueue is called with w.mu held.
func (w *Worker) addQueue(queue string) error {
	for _, known := range w.queues {
		if known == queue {
			return nil
		}
	}
	if len(w.queues) == maxQueues {
		return rpw.Errorf(rpw.ErrInvalid, "a worker claims from at most %d queues", maxQueues)
	}
	w.queues = append(w.queues, queue)
	return nil
}

// register adds something to a worker that does not run yet. A mistake, given or found by add, is kept for Run.
func (w *Worker) register(err error, add func() error) error {
	if w == nil {
		return rpw.Errorf(rpw.ErrInvalid, "the worker is nil; make it with New")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.phase == ended:
		return w.fault("register with", rpw.Errorf(rpw.ErrClosed, "the worker has stopped; make a new one"))
	case w.phase == running:
		return w.fault("register with", rpw.Errorf(rpw.ErrConflict, "the worker runs already; register before Run"))
	case w.handlers == nil:
		return w.fault("register with", rpw.Errorf(rpw.ErrInvalid, "the worker is empty; make it with New"))
	case err == nil:
		err = add()
	}
	if err == nil {
		return nil
	}
	err = w.fault("register with", err)
	w.mistakes = append(w.mistakes, err)
	return err
}

// ID returns the id of this run, as in the registry.
func (w *Worker) ID() string { return w.config.ID }

// fault is an error of the worker, in the form of those of the Hub.
func (w *Worker) fault(op string, err error) error {
	if e, ok := errors.AsType[*rpw.Error](err); ok && e.Op != "" {
		return err
	}
	cause := err
	if e, ok := err.(*rpw.Error); ok {
		cause = e.Err // its kind is in the text already
	}
	return &rpw.Error{Op: op + " worker", Target: w.config.Name, Kind: rpw.Sentinel(rpw.Code(err)), Err: cause}
}
