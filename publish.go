package rpw

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// lines are the lines of a Hub, by stream.
type lines struct {
	mu     sync.RWMutex
	byName map[string]*line
	seq    atomic.Uint64 // of the Hub as a producer, over all streams: a store accepts holes
}

// drafts are the batches that a Hub's publishers use one after the other.
type drafts struct{ pool sync.Pool }

// draft is a batch of a copy of somebody's events, so that his slice stays his.
type draft struct {
	batch  [1]Batch
	events []NewEvent
}

func (ds *drafts) draft(events []NewEvent) *draft {
	d, ok := ds.pool.Get().(*draft)
	if !ok {
		d = new(draft)
	}
	d.events = append(d.events, events...)
	d.batch[0].Events = d.events
	return d
}

// reuse takes back a draft that the store was done with, for it has answered without an error.
func (ds *drafts) reuse(d *draft) {
	d.batch[0] = Batch{}
	clear(d.events)
	d.events = d.events[:0]
	ds.pool.Put(d)
}

// maxIdleLines is how many streams a Hub remembers a line for while nothing is published.
const maxIdleLines = 10_000

// line orders a Hub's publishes to one stream: one batch is in flight at a time, each with a greater sequence number
// of the Hub as a producer, so that a late execution of an abandoned batch is refused by the store. Publishes that
// arrive meanwhile wait and leave together, as one batch: the gain of a group commit, at the price of
// the batch in flight.
type line struct {
	mu      sync.Mutex
	stream  string
	busy    bool
	gone    bool // no longer in the map
	waiting []*publication
}

// publication is a batch that waits for its turn.
type publication struct {
	batch     *Batch
	sent      bool // guarded by line.mu: it can no longer be withdrawn
	positions []Position
	err       error
	done      chan struct{}
}

// publish sends a checked batch in its turn: the only one of one, which is publish's own.
func (h *Hub) publish(ctx context.Context, one []Batch) ([]Position, error) {
	h = h.orClosed()
	b := &one[0]
	c := call{h: h, verb: "publish", target: b.Stream, items: len(b.Events), repeat: true}
	if ctx == nil {
		return nil, c.wrap(Errorf(ErrInvalid, "the context is nil"))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if h.ctx == nil {
		return nil, c.wrap(Errorf(ErrClosed, "the hub is closed"))
	}
	l := h.lines.lock(b.Stream)
	if l.busy {
		p := &publication{batch: b, done: make(chan struct{})}
		l.waiting = append(l.waiting, p)
		l.mu.Unlock()
		return l.await(ctx, p)
	}
	l.busy = true
	b.Producer = Producer{ID: h.id, Seq: h.lines.seq.Add(1)}
	l.mu.Unlock()
	defer l.pass(h)
	b.Stream = h.inward(b.Stream)
	return c.send(ctx, one)
}

// lock returns the line of a stream, locked.
func (ls *lines) lock(stream string) *line {
	for {
		ls.mu.RLock()
		l := ls.byName[stream]
		ls.mu.RUnlock()
		if l == nil {
			l = ls.add(stream)
		}
		l.mu.Lock()
		if !l.gone {
			return l
		}
		l.mu.Unlock()
	}
}

func (ls *lines) add(stream string) *line {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.byName[stream]; l != nil {
		return l
	}
	if ls.byName == nil {
		ls.byName = make(map[string]*line)
	}
	if len(ls.byName) >= maxIdleLines {
		ls.dropIdle()
	}
	l := &line{stream: stream}
	ls.byName[stream] = l
	return l
}

// dropIdle forgets the lines nobody uses. A new one goes on with greater numbers, so nothing is lost with it.
func (ls *lines) dropIdle() {
	for stream, l := range ls.byName {
		if l.mu.TryLock() {
			if l.gone = !l.busy; l.gone {
				delete(ls.byName, stream)
			}
			l.mu.Unlock()
		}
	}
}

// send takes one batch through the guard.
func (c call) send(ctx context.Context, one []Batch) ([]Position, error) {
	answers, err := invoke(ctx, c, c.h.parts.Streams, StreamBus.Publish, one)
	if err != nil {
		return nil, err
	}
	return answers[0].Positions, c.wrap(answers[0].Err)
}

// await waits for the turn and the answer of p. A caller who leaves before p was sent withdraws it.
func (l *line) await(ctx context.Context, p *publication) ([]Position, error) {
	select {
	case <-p.done:
		return p.positions, p.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	if p.sent {
		l.mu.Unlock()
		select {
		case <-p.done:
			return p.positions, p.err
		default:
			return nil, &Error{Op: "publish", Target: l.stream, Kind: ErrUncertain, Err: ctx.Err()}
		}
	}
	for i, other := range l.waiting {
		if other == p {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	return nil, ctx.Err()
}

// pass ends a turn: those who waited meanwhile are served by a goroutine of the Hub, which ends when no one waits.
func (l *line) pass(h *Hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy = false
		return
	}
	if !h.spawn(func() { l.serve(h) }) {
		for _, p := range l.waiting {
			p.err = &Error{Op: "publish", Driver: h.parts.Name, Target: l.stream, Kind: ErrClosed}
			close(p.done)
		}
		l.waiting, l.busy = nil, false
	}
}

func (l *line) serve(h *Hub) {
	a := allowance{h: h}
	defer a.end()
	for answered := 0; ; {
		l.letJoin(answered)
		l.mu.Lock()
		group := l.gather()
		answered = len(group)
		if len(group) == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		l.sendGroup(&a, group, h.lines.seq.Add(1))
	}
}

// allowance gives the batches of a line opTimeout each, or a tenth of a second less: those that leave within that share a context, as each
// has a timer, which may wake another processor.
type allowance struct {
	h      *Hub
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Duration // when ctx is too old for another batch, since the Hub began
}

func (a *allowance) begin() context.Context {
	if now := a.h.age(); now >= a.until {
		a.end()
		a.ctx, a.cancel = context.WithTimeout(a.h.ctx, opTimeout)
		a.until = now + opTimeout/50
	}
	return a.ctx
}

func (a *allowance) end() {
	if a.cancel != nil {
		a.cancel()
	}
}

// letJoin gives those who were just answered the time to publish again, and go along, as long as they do.
func (l *line) letJoin(answered int) {
	for before := -1; ; {
		runtime.Gosched()
		l.mu.Lock()
		n := len(l.waiting)
		l.mu.Unlock()
		if n >= answered || n == before {
			return
		}
		before = n
	}
}

// gather takes from the waiting as many as fit into one batch. Those with an expectation go alone, since
// all of a batch share its fate.
func (l *line) gather() []*publication {
	n, events, bytes := 0, 0, 0
	for i, p := range l.waiting {
		size := 0
		for j := range p.batch.Events {
			size += p.batch.Events[j].Size()
		}
		first := l.waiting[0].batch
		if i > 0 && (events+len(p.batch.Events) > MaxBatch || bytes+size > MaxBatchBytes ||
			first.Expect != (Position{}) || p.batch.Expect != (Position{}) ||
			p.batch.Keep != first.Keep || p.batch.KeyWindow != first.KeyWindow) {
			break
		}
		n, events, bytes = n+1, events+len(p.batch.Events), bytes+size
	}
	group := append([]*publication(nil), l.waiting[:n]...)
	for _, p := range group {
		p.sent = true
	}
	clear(l.waiting[copy(l.waiting, l.waiting[n:]):])
	l.waiting = l.waiting[:len(l.waiting)-n]
	return group
}

func (l *line) sendGroup(a *allowance, group []*publication, seq uint64) {
	h := a.h
	b := *group[0].batch
	if len(group) > 1 {
		n := 0
		for _, p := range group {
			n += len(p.batch.Events)
		}
		b.Events = make([]NewEvent, 0, n)
		for _, p := range group {
			b.Events = append(b.Events, p.batch.Events...)
		}
	}
	b.Producer = Producer{ID: h.id, Seq: seq}
	b.Stream = h.inward(b.Stream)
	ctx := a.begin()
	c := call{h: h, verb: "publish", target: l.stream, items: len(b.Events), repeat: true}
	positions, err := c.send(ctx, []Batch{b})
	if err != nil && ctx.Err() != nil {
		err = c.cutShort(err)
	}
	if len(group) > 1 && refused(err) { // by one of them, perhaps: each gets its own answer
		for i := range group {
			l.sendGroup(a, group[i:i+1], h.lines.seq.Add(1))
		}
		return
	}
	for _, p := range group {
		if p.err = err; err == nil {
			n := len(p.batch.Events)
			p.positions, positions = positions[:n:n], positions[n:]
		}
		close(p.done)
	}
}

// refused reports whether the store has taken a batch for a mistake, and done nothing.
func refused(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrConflict)
}

// cutShort says what the end of the Hub's own context means for callers who never saw that context.
func (c call) cutShort(err error) error {
	switch {
	case kindOf(err) != context.DeadlineExceeded && kindOf(err) != context.Canceled:
		return err
	case c.h.closed.Load():
		return c.wrap(Errorf(ErrClosed, "the hub was closed"))
	}
	return c.wrap(Errorf(ErrUnavailable, "the backend did not answer within %v", opTimeout))
}
