package rpw

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// opTimeout is how long a call takes with its repeats, when ctx gives it more and the driver ends its first try in that time; of a call that waits, and of one to a
// backend in this process, how long it is repeated from its first failure on. It is also how long a call takes at most while the backend is silent.
const opTimeout = 5 * time.Second

// lastTry is how much of it is left for the last repeat: one that is cut makes unknown what was known.
const lastTry = opTimeout / 10

// Back-off between repeats of a call: full jitter, doubled from the base up to the cap.
const (
	backoffBase = 50 * time.Millisecond
	backoffCap  = time.Second
)

// call is what the guard knows of a verb on its way to the driver.
type call struct {
	h      *Hub
	verb   string
	target string // as the user wrote it, without the namespace
	items  int
	waits  bool
	repeat bool // safe to repeat when the outcome is unknown
	nested bool // its own calls go through the guard, which repeats them and says why they failed
}

// invoke takes one call through the guard. verb is a method expression, so that nothing is allocated for it.
func invoke[B, Q, A any](ctx context.Context, c call, contract B, verb func(B, context.Context, Q) (A, error), req Q) (A, error) {
	var none A
	p := passage{call: c}
	ctx, err := p.begin(ctx, any(contract) != nil)
	if err != nil {
		return none, err
	}
	answer, err := verb(contract, ctx, req)
	retries := 0
	if err != nil {
		answer, retries, err = repeat(ctx, &p, contract, verb, req, err)
	}
	if err = p.end(ctx, retries, err); err != nil {
		return none, err
	}
	return answer, nil
}

// repeat repeats a call that failed, as far as the rule allows. It is apart from invoke for the stack of the calls that wait.
func repeat[B, Q, A any](ctx context.Context, p *passage, contract B, verb func(B, context.Context, Q) (A, error), req Q, err error) (answer A, retries int, _ error) {
	doubt := false
	for ; err != nil && p.again(ctx, err, retries); retries++ {
		doubt = doubt || errors.Is(err, ErrUncertain)
		repeat, cancel := p.within(ctx)
		before := err
		if answer, err = verb(contract, repeat, req); err != nil && repeat.Err() != nil && ctx.Err() == nil {
			err = givenUp(err, before)
		}
		cancel()
	}
	if doubt {
		err = inDoubt(err)
		itemsInDoubt(answer)
	}
	return answer, retries, err
}

// givenUp is the error of a repeat that the Hub has cut, after the error before: the caller's ctx has not ended.
func givenUp(err, before error) error {
	if errors.Is(err, ErrUncertain) {
		return Errorf(ErrUncertain, "no answer within %v; before that: %s", opTimeout, strings.TrimPrefix(before.Error(), "rpw: "))
	}
	return before
}

// inDoubt is the answer to a call of which an earlier try had an unknown outcome. What the store refuses after a look at what it holds settles that
// too, since it would have known an earlier try. Any other failure of the last try says nothing about those before.
func inDoubt(err error) error {
	switch kind := kindOf(err); kind {
	case ErrUnavailable, ErrFull, ErrPermission, ErrClosed:
		return Errorf(ErrUncertain, "an earlier try may have been carried out, and the last one was not: %s", strings.TrimPrefix(err.Error(), "rpw: "))
	case context.Canceled, context.DeadlineExceeded:
		return Errorf(ErrUncertain, "an earlier try may have been carried out: %w", err)
	}
	return err
}

// itemsInDoubt is inDoubt for an answer that tells of each item by itself. Those of writes to the cache are not repeated.
func itemsInDoubt(answer any) {
	switch items := answer.(type) {
	case []error:
		eachInDoubt(items, func(err *error) *error { return err })
	case []Published:
		eachInDoubt(items, func(a *Published) *error { return &a.Err })
	case []GroupAnswer:
		eachInDoubt(items, func(a *GroupAnswer) *error { return &a.Err })
	case []Enqueued:
		eachInDoubt(items, func(a *Enqueued) *error { return &a.Err })
	case []Advanced:
		eachInDoubt(items, func(a *Advanced) *error { return &a.Err })
	case []Controlled:
		eachInDoubt(items, func(a *Controlled) *error { return &a.Err })
	}
}

func eachInDoubt[A any](items []A, errOf func(*A) *error) {
	for i := range items {
		if err := errOf(&items[i]); *err != nil {
			*err = inDoubt(*err)
		}
	}
}

// do is invoke for a verb that is no method expression.
func (c call) do(ctx context.Context, verb func(context.Context) error) error {
	_, err := invoke(ctx, c, verb, func(verb func(context.Context) error, ctx context.Context, _ struct{}) (struct{}, error) {
		return struct{}{}, verb(ctx)
	}, struct{}{})
	return err
}

// passage is a call that was let through.
type passage struct {
	call
	start   time.Duration // since the Hub began; only of a call that is timed, or for an observer
	since   time.Duration // opTimeout counts from here: the start of a call that is timed, the first failure of others; negative: not yet
	release func()        // of what a wait holds; nil if the call does not wait
}

// begin refuses what must not reach the driver, and prepares ctx.
func (p *passage) begin(ctx context.Context, supported bool) (context.Context, error) {
	h := p.h
	switch {
	case ctx == nil:
		return nil, p.wrap(Errorf(ErrInvalid, "the context is nil"))
	case h.ctx == nil || h.closed.Load():
		return nil, p.wrap(Errorf(ErrClosed, "the hub is closed"))
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !supported:
		return nil, p.wrap(Errorf(errors.ErrUnsupported, "the driver does not implement this part"))
	}
	if p.waits { // a closing Hub ends waits
		waiting, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(h.ctx, func() { cancel(ErrClosed) })
		ctx, p.release = waiting, func() { stop(); cancel(nil) }
	}
	timed := !p.waits && !h.parts.Local
	if timed || h.observer != nil {
		p.start = h.age()
	}
	if p.since = -1; timed {
		p.since = p.start
	}
	if h.observer != nil {
		ctx = h.observer.Begin(ctx, p.operation())
	}
	return ctx, nil
}

func (c call) operation() Operation {
	return Operation{Verb: c.verb, Driver: c.h.parts.Name, Items: c.items, Waits: c.waits}
}

// end makes of err what the caller sees.
func (p *passage) end(ctx context.Context, retries int, err error) error {
	if err != nil {
		err = p.wrap(p.closing(ctx, err))
	}
	if p.release != nil {
		p.release()
	}
	if o := p.h.observer; o != nil {
		o.End(ctx, p.operation(), Outcome{Took: p.h.age() - p.start, Retries: retries, Err: err})
	}
	return err
}

// closing says ErrClosed where the end of the Hub cut a wait short.
func (c call) closing(ctx context.Context, err error) error {
	if c.waits && errors.Is(err, context.Canceled) && context.Cause(ctx) == ErrClosed {
		return Errorf(ErrClosed, "the hub was closed while waiting")
	}
	return err
}

// again is the retry rule: ErrUnavailable (nothing was done) always, ErrUncertain where a repeat is safe,
// nothing else; with jitter, while there is time for another answer and ctx lasts. It waits.
func (p *passage) again(ctx context.Context, err error, retries int) bool {
	uncertain := errors.Is(err, ErrUncertain)
	if p.nested || uncertain && !p.repeat || !uncertain && !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		return false
	}
	now := p.h.age()
	if p.since < 0 {
		p.since = now
	}
	left := p.since + opTimeout - lastTry - now
	if left <= 0 {
		return false
	}
	pause := min(backoff(retries), left)
	p.h.notify(Notice{Kind: NoticeRetry, Err: err, After: pause})
	return sleep(ctx, p.h.ctx, pause)
}

// within bounds a repeat, so that all of them take opTimeout together. What waits is not bounded.
func (p *passage) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.waits {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.since+opTimeout-p.h.age())
}

// backoff is the pause before repeat n (from 0).
func backoff(n int) time.Duration {
	return rand.N(min(backoffCap, backoffBase<<min(n, 10))) + time.Millisecond
}

// sleep waits for d; false if one of the contexts ended before.
func sleep(ctx, other context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-other.Done():
	}
	return false
}

// wrap makes of err what users see. Context errors pass through, unless the outcome is unknown.
func (c call) wrap(err error) error {
	if err == nil {
		return nil
	}
	if gap, ok := errors.AsType[*GapError](err); ok {
		own := *gap
		own.Stream = c.h.outward(own.Stream)
		return &own
	}
	if inner, ok := err.(*Error); ok && c.nested {
		err = &Error{Kind: inner.Kind, Err: inner.Err}
	}
	kind := kindOf(err)
	if kind == context.Canceled || kind == context.DeadlineExceeded {
		return err
	}
	return &Error{Op: c.verb, Driver: c.h.Driver(), Target: c.target, Kind: kind, Err: explain(err)}
}

// explain returns what err says beyond its kind, so that no text says it twice.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e.Op == "" && (e.Kind == nil || e.Kind == kindOf(err)) {
		return e.Err
	}
	if err == kindOf(err) {
		return nil
	}
	return err
}

// inward puts a name of the user into the namespace.
func (h *Hub) inward(name string) string {
	if h.namespace == "" {
		return name
	}
	return h.namespace + name
}

// outward takes a name of the driver out of it.
func (h *Hub) outward(name string) string {
	return strings.TrimPrefix(name, h.namespace)
}

// lanePool hands out lanes, each to one call at a time.
type lanePool struct {
	mu   sync.Mutex
	free []Lane
	next uint64
}

// lane gives a call that has none a lane of its own; back returns it.
func (h *Hub) lane(lane *Lane) (back func()) {
	if *lane != (Lane{}) {
		return func() {}
	}
	return h.lanes.take(h.id, lane)
}

func (p *lanePool) take(id [16]byte, lane *Lane) func() {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		*lane, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.next++
		*lane = Lane{ID: id}
		for i, n := 8, p.next; i < 16; i, n = i+1, n>>8 { // the Hub's id, with the number of the lane in its second half
			lane.ID[i] ^= byte(n)
		}
	}
	p.mu.Unlock()
	lane.Seq++
	mine := *lane
	return func() {
		p.mu.Lock()
		p.free = append(p.free, mine)
		p.mu.Unlock()
	}
}

// pageMax reads the Max of a request: 0 means byDefault, more than most means most.
func pageMax(n *int, byDefault, most int) error {
	if *n < 0 {
		return Errorf(ErrInvalid, "Max is %d; 0 means the default, %d is the most", *n, most)
	}
	if *n == 0 {
		*n = byDefault
	}
	*n = min(*n, most)
	return nil
}

// checkItems bounds the number of items of a call.
func checkItems(n int) error {
	switch {
	case n == 0:
		return Errorf(ErrInvalid, "the request is empty")
	case n > MaxBatch:
		return Errorf(ErrTooLarge, "%d items in one call (max %d); split it", n, MaxBatch)
	}
	return nil
}

// checkDuration bounds a duration of the user.
func checkDuration(what string, d, least, most time.Duration) error {
	if d < least || d > most {
		return Errorf(ErrInvalid, "%s is %v; it must be from %v to %v", what, d, least, most)
	}
	return nil
}

func checkWait(d time.Duration) error {
	if d < 0 {
		return Errorf(ErrInvalid, "Wait is negative (%v); 0 does not wait, Forever waits until ctx ends", d)
	}
	return nil
}

// checkSize bounds a payload.
func checkSize(what string, n int) error {
	if n > MaxPayload {
		return Errorf(ErrTooLarge, "%s has %d bytes (max %d); store it elsewhere and pass a reference", what, n, MaxPayload)
	}
	return nil
}

// first returns the first error that is not nil.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
