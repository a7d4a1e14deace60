package logs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/redis-process-worker/rpw"
)

// Handler is a slog.Handler that writes to the global log of a Hub. It and those made from it by With and WithGroup share one
// buffer and one goroutine. Make one with NewHandler; the zero Handler logs nothing. A Handler is safe for concurrent use; its methods
// for slog never block on the backend and never fail.
type Handler struct {
	queue      *queue // nil: of the zero Handler
	unregister func() // from the Hub
	level      slog.Leveler
	prefix     object     // the attributes of WithAttrs, written already
	groups     []string   // of WithGroup, not yet opened in prefix
	scratch    *sync.Pool // of *object
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler returns a Handler over hub. It ends with the Hub, or before that with Close. On a Hub that is closed
// it drops everything. A mistake in the options, such as a name that no log can have, is the error of Flush and Close, and is told the
// fallback at once.
func NewHandler(hub *rpw.Hub, opts ...Option) *Handler {
	o := newOptions(opts)
	h := &Handler{queue: newQueue(hub.Logs(), o), level: o.level}
	h.scratch = &sync.Pool{New: func() any { return &object{buf: make([]byte, 0, 1<<10)} }}
	var err error
	if h.unregister, err = hub.OnClose(h.queue.close); err != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		h.queue.close(ended)
	}
	return h
}

// Enabled reports whether records of this level are logged.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.queue != nil && level >= h.level.Level()
}

// Handle buffers a record. It never waits and its error is always nil.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if ctx == nil {
		ctx = context.Background()
	}
	if h.queue == nil || isOwn(ctx) {
		return nil
	}
	e := entry{ms: noTime, level: r.Level, message: cut(r.Message, maxValue)}
	if !r.Time.IsZero() {
		e.ms = r.Time.UnixMilli()
	}
	e.origin, _ = rpw.OriginOf(ctx)
	o := h.scratch.Get().(*object)
	h.queue.push(&e, h.encode(&r, o))
	if cap(o.buf) <= maxValue { // a huge one is not worth keeping
		h.scratch.Put(o)
	}
	return nil
}

// encode writes the attributes of h and r into o.
func (h *Handler) encode(r *slog.Record, o *object) []byte {
	o.begin(&h.prefix)
	o.inGroups(h.groups, func() {
		r.Attrs(func(a slog.Attr) bool {
			o.add(a, 0)
			return true
		})
	})
	return o.end()
}

// WithAttrs returns a Handler whose records carry attrs, too. They are written as JSON once, now.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.prefix = object{}
	with.prefix.begin(&h.prefix)
	before := with.prefix.open
	with.prefix.inGroups(h.groups, func() {
		for _, a := range attrs {
			with.prefix.add(a, 0)
		}
	})
	if with.prefix.open > before {
		with.groups = nil
	}
	return &with
}

// WithGroup returns a Handler that puts the attributes that follow into a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.groups = append(slices.Clip(h.groups), name)
	return &with
}

// Flush waits until everything logged before is stored or dropped, or ctx ends: then its error is that of ctx. If the backend refused the
// newest batch, as it will not take a repeat either, the error says why. On a closed Handler that had to leave records behind it is rpw.ErrClosed.
func (h *Handler) Flush(ctx context.Context) error {
	switch {
	case ctx == nil:
		return &rpw.Error{Op: "flush log", Kind: rpw.ErrInvalid, Err: errNilContext}
	case h.queue == nil:
		return nil
	}
	return h.queue.flush(ctx)
}

// Close flushes and ends the Handler, in the time that ctx gives; the error says how many records could not be written, or what that of
// Flush would. What is logged after it is dropped. Closing the Hub does the same. Repeating it waits for the same end.
func (h *Handler) Close(ctx context.Context) error {
	switch {
	case ctx == nil:
		return &rpw.Error{Op: "close log", Kind: rpw.ErrInvalid, Err: errNilContext}
	case h.queue == nil:
		return nil
	}
	h.unregister()
	return h.queue.close(ctx)
}

var errNilContext = errors.New("the context is nil")

// Dropped returns how many records were dropped so far: by overflow, because the backend refused them, or after Close.
func (h *Handler) Dropped() uint64 {
	if h.queue == nil {
		return 0
	}
	return h.queue.droppedSoFar()
}
