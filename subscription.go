package rpw

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// GapPolicy decides what a reader does about a gap: it returns the position to go on from, or an error that ends the reading.
// Write your own to log, count or alert before calling one of GapStop, GapContinue and GapReplay.
type GapPolicy func(gap *GapError) (Position, error)

// GapStop ends the reading with the gap. It is what a reader does if nothing else is said.
func GapStop(gap *GapError) (Position, error) { return Position{}, gap }

// GapContinue goes on with the first event that is there and was not seen.
func GapContinue(gap *GapError) (Position, error) { return gap.Resume, nil }

// GapReplay goes on with the oldest event that is there, also if it was seen before.
func GapReplay(gap *GapError) (Position, error) { return gap.Oldest, nil }

// SubscribeOption changes a subscription.
type SubscribeOption func(*subscribeOptions)

type subscribeOptions struct{ onGap GapPolicy }

// OnGap says what a subscription does about missing history. nil is GapStop.
func OnGap(p GapPolicy) SubscribeOption { return func(o *subscribeOptions) { o.onGap = p } }

// subscriptionPage is how many events a subscription takes from the store at a time: its memory, and what it has read ahead.
const subscriptionPage = 256

// earlyPause is between two waits of which the first ended early, with nothing, as drivers may: one that always does must not spin.
const earlyPause = time.Millisecond

// Subscription delivers every event after its start once and in order, across outages of the backend, or reports a gap first. It holds no
// goroutine and no connection of its own: it reads when asked, so a slow reader lags in the store and slows nobody. Use it from
// one goroutine; Close may be called from any.
type Subscription[T any] struct {
	hub    *Hub
	stream string
	onGap  GapPolicy
	at     Position // after the last event handed out
	page   []Event  // the one that was read last
	next   int      // the place in it of the next event

	closed atomic.Bool
	mu     sync.Mutex              // orders closed and cancel
	cancel context.CancelCauseFunc // of the read under way
}

// Subscribe pins a start and returns a subscription from there: all that is published after Subscribe has
// returned arrives. Newest, Oldest, Since, After and Last say where to start. The context bounds Subscribe itself only.
func (s Stream[T]) Subscribe(ctx context.Context, h *Hub, at Start, opts ...SubscribeOption) (*Subscription[T], error) {
	var o subscribeOptions
	apply(&o, opts)
	if o.onGap == nil {
		o.onGap = GapStop
	}
	from, err := h.Streams().Locate(ctx, s.name, at)
	if err != nil {
		return nil, err
	}
	return &Subscription[T]{hub: h, stream: s.name, onGap: o.onGap, at: from}, nil
}

// Next returns the next event, waiting for it if need be. An outage of the backend only makes it wait longer. Its errors:
//   - a payload that is no T (ErrInvalid): the message still carries the raw event, and the next call goes on after it;
//   - a *GapError, if the policy is to stop; calling Next again reports it again;
//   - the context's error: calling Next again with another context goes on;
//   - ErrClosed, and anything that trying again would not mend.
func (s *Subscription[T]) Next(ctx context.Context) (m Message[T], err error) {
	if s.next == len(s.page) || s.closed.Load() {
		if err = s.fill(ctx); err != nil {
			return m, err
		}
	}
	m.Event = s.page[s.next]
	s.next++
	s.at = m.Position()
	err = m.decode(s.hub, s.stream)
	return m, err
}

// All returns the events as an iterator. It ends after an error, except that of a payload that is no T.
func (s *Subscription[T]) All(ctx context.Context) iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		for {
			m, err := s.Next(ctx)
			unreadable := err != nil && !m.ID.IsZero()
			if !yield(m, err) || err != nil && !unreadable {
				return
			}
		}
	}
}

// Position returns the place after the last event handed out, or the start. Store it to come back
// with After. Like Next it belongs to the reading goroutine.
func (s *Subscription[T]) Position() Position { return s.at }

// Close ends the subscription; a Next under way returns ErrClosed. Closing again does nothing.
func (s *Subscription[T]) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	if s.cancel != nil {
		s.cancel(ErrClosed)
	}
	return nil
}

func (s *Subscription[T]) errClosed() error {
	return &Error{Op: "subscription", Driver: s.hub.Driver(), Target: s.stream, Kind: ErrClosed}
}

// begin gives a read its context, which Close can end.
func (s *Subscription[T]) begin(ctx context.Context) (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, s.errClosed()
	}
	if ctx == nil {
		return nil, call{h: s.hub, verb: "subscription", target: s.stream}.wrap(errNilContext)
	}
	ctx, s.cancel = context.WithCancelCause(ctx)
	return ctx, nil
}

// fill reads the next page, unless the subscription is closed. It waits here as long as nothing arrives, on the stack of whoever called Next, so
// what comes after the wait has functions of its own.
func (s *Subscription[T]) fill(ctx context.Context) error {
	ctx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer s.cancel(nil)
	for failures := 0; ; {
		events, err := s.hub.Streams().Read(ctx, ReadRequest{Stream: s.stream, After: s.at, Max: subscriptionPage, Wait: Forever, Reuse: s.page})
		if err == nil && len(events) > 0 {
			s.page, s.next = events, 0
			return nil
		}
		if err := s.recover(ctx, err, &failures); err != nil {
			return err
		}
	}
}

// recover deals with a read that brought nothing; nil means go on.
func (s *Subscription[T]) recover(ctx context.Context, err error, failures *int) error {
	if err == nil {
		*failures = 0
		sleep(ctx, s.hub.ctx, earlyPause)
		return nil
	}
	if gap, ok := errors.AsType[*GapError](err); ok {
		if *failures++; *failures > 1 {
			sleep(ctx, s.hub.ctx, backoff(*failures-2))
		}
		s.at, err = s.pass(gap)
		return err
	}
	if err = s.hub.outlast(ctx, err, failures); context.Cause(ctx) == ErrClosed {
		return s.errClosed()
	}
	return err
}

func (s *Subscription[T]) pass(gap *GapError) (Position, error) {
	s.hub.notify(Notice{Kind: NoticeGap, Err: gap})
	at, err := s.onGap(gap)
	if err != nil {
		return s.at, err
	}
	return at, nil
}

// outlast waits after a failed call of a loop that is to survive outages. nil means go on; otherwise it says why not: ctx or the Hub has
// ended, or err is not one that time mends.
func (h *Hub) outlast(ctx context.Context, err error, failures *int) error {
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUncertain) {
		return err
	}
	pause := backoff(*failures)
	*failures++
	h.notify(Notice{Kind: NoticeReconnecting, Err: err, After: pause})
	switch {
	case sleep(ctx, h.ctx, pause):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return Errorf(ErrClosed, "the hub was closed")
}
