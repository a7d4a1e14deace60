package rpw

import (
	"context"
	"errors"
	"runtime"
	"slices"
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
	turn    chan struct{} // closed when those of the waiting who go next are answered; nil: none has waited for it yet
}

// publication is a batch that waits for its turn.
type publication struct {
	batch     *Batch
	turn      chan struct{} // guarded by line.mu
	answered  atomic.Bool   // then what follows is the answer
	positions []Position
	err       error
}

func (p *publication) answer(positions []Position, err error) {
	p.positions, p.err = positions, err
	p.answered.Store(true)
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
		l.mu.Unlock() // whoever has to help the collector now does not hold up the others
		p := &publication{batch: b}
		if l = h.lines.lock(b.Stream); l.busy {
			turn := l.join(p)
			l.mu.Unlock()
			return l.await(ctx, p, turn)
		}
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

// join lets p wait, and returns what it waits for. l.mu is held.
func (l *line) join(p *publication) (turn chan struct{}) {
	if l.turn == nil {
		l.turn = make(chan struct{})
	}
	l.waiting = append(l.waiting, p)
	p.turn = l.turn
	return l.turn
}

// await waits for the turn and the answer of p. A caller who leaves before p was sent withdraws it.
func (l *line) await(ctx context.Context, p *publication, turn chan struct{}) ([]Position, error) {
	for {
		select {
		case <-turn:
			if p.answered.Load() {
				return p.positions, p.err
			}
			l.mu.Lock()
			turn = p.turn // it did not fit
			l.mu.Unlock()
		case <-ctx.Done():
			return l.leave(ctx, p)
		}
	}
}

func (l *line) leave(ctx context.Context, p *publication) ([]Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch i := slices.Index(l.waiting, p); {
	case i >= 0:
		l.waiting = slices.Delete(l.waiting, i, i+1)
		return nil, ctx.Err()
	case p.answered.Load():
		return p.positions, p.err
	}
	return nil, &Error{Op: "publish", Target: l.stream, Kind: ErrUncertain, Err: ctx.Err()}
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
			p.answer(nil, &Error{Op: "publish", Driver: h.parts.Name, Target: l.stream, Kind: ErrClosed})
		}
		close(l.turn)
		l.waiting, l.turn, l.busy = nil, nil, false
	}
}

func (l *line) serve(h *Hub) {
	a := allowance{h: h}
	defer a.end()
	for answered := 0; ; {
		l.letJoin(answered)
		l.mu.Lock()
		group, turn := l.gather()
		answered = len(group)
		if len(group) == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		l.sendGroup(&a, group, h.lines.seq.Add(1))
		close(turn)
	}
}

// allowance is what the batches of a line have, one after the other: a slice for their events, and opTimeout each, or a tenth of a second less: those that
// leave within that share a context, as each has a timer, which may wake another processor.
type allowance struct {
	h      *Hub
	events []NewEvent
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
// all of a batch share its fate. What is left waits for the next turn.
func (l *line) gather() (group []*publication, turn chan struct{}) {
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
	group = slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	if turn = l.turn; n > 0 {
		l.turn = nil
	}
	for _, p := range l.waiting {
		if l.turn == nil {
			l.turn = make(chan struct{})
		}
		p.turn = l.turn
	}
	return group, turn
}

func (l *line) sendGroup(a *allowance, group []*publication, seq uint64) {
	h := a.h
	b := *group[0].batch
	if len(group) > 1 {
		b.Events = a.events[:0]
		for _, p := range group {
			b.Events = append(b.Events, p.batch.Events...)
		}
		a.events = nil
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
	if err != nil {
		for _, p := range group {
			p.answer(nil, err)
		}
		return
	}
	for _, p := range group {
		n := len(p.batch.Events)
		p.answer(positions[:n:n], nil)
		positions = positions[n:]
	}
	if len(group) > 1 { // the store is done with it
		clear(b.Events)
		a.events = b.Events
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
