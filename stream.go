package rpw

import (
	"context"
	"encoding/json"
)

// Stream is a stream whose events carry a T, as JSON. Make one with StreamOf, once, as a package variable: it is immutable, holds no connection and
// works with every Hub.
type Stream[T any] struct {
	name string
	keep Retention
}

// StreamOption changes what StreamOf makes.
type StreamOption func(*streamOptions)

type streamOptions struct{ keep Retention }

// Keep bounds what the stream keeps, from the next publish on. Without it the bound is DefaultKeepEvents. Over a socket it needs the right to administer the
// stream, since it takes away what others wrote.
func Keep(r Retention) StreamOption { return func(o *streamOptions) { o.keep = r } }

// StreamOf names a stream and the type of its events. T is what encoding/json can write; json.RawMessage passes
// payloads through: what is published must be JSON, what is read is handed out as it is, unchecked. The name is checked when it is used.
func StreamOf[T any](name string, opts ...StreamOption) Stream[T] {
	var o streamOptions
	apply(&o, opts)
	return Stream[T]{name: name, keep: o.keep}
}

// Name returns the stream's name.
func (s Stream[T]) Name() string { return s.name }

// PublishOption adds to an event that is published.
type PublishOption func(*NewEvent)

// WithKey stores the event only once within RepeatWindow: publishing the same key again, from any process, answers
// the position of the first. It makes a publish safe to repeat by the caller after ErrUncertain. "" is no key.
func WithKey(key string) PublishOption { return func(e *NewEvent) { e.Key = key } }

// WithHeader adds a small extra, such as a trace id, to the event.
func WithHeader(name, value string) PublishOption {
	return func(e *NewEvent) {
		if e.Header == nil {
			e.Header = make(map[string]string, 1)
		}
		e.Header[name] = value
	}
}

// Publish stores an event and returns the position after it. nil means stored. ErrUncertain: it may have been; with WithKey the call
// can be repeated safely.
func (s Stream[T]) Publish(ctx context.Context, h *Hub, eventType string, data T, opts ...PublishOption) (Position, error) {
	e, err := s.event(eventType, data, opts)
	if err != nil {
		return Position{}, s.wrap(h, err)
	}
	return s.PublishBatch(ctx, h, e)
}

// Item makes an event for PublishBatch.
func (s Stream[T]) Item(eventType string, data T, opts ...PublishOption) (NewEvent, error) {
	e, err := s.event(eventType, data, opts)
	if err != nil {
		return e, &Error{Op: "publish", Target: s.name, Kind: ErrInvalid, Err: explain(err)}
	}
	return e, nil
}

func (s Stream[T]) event(eventType string, data T, opts []PublishOption) (NewEvent, error) {
	payload, err := encode(data)
	if err != nil {
		return NewEvent{}, err
	}
	e := NewEvent{Type: eventType, Data: payload}
	apply(&e, opts)
	return e, nil
}

func (s Stream[T]) wrap(h *Hub, err error) error {
	return call{h: h, verb: "publish", target: s.name}.wrap(err)
}

// PublishBatch stores events made with Item, all or none, contiguous and in order, and returns the position after the
// last. At most MaxBatch events and MaxBatchBytes; it is never split.
func (s Stream[T]) PublishBatch(ctx context.Context, h *Hub, events ...NewEvent) (Position, error) {
	h = h.orClosed()
	draft := h.drafts.draft(events)
	one := draft.batch[:]
	one[0].Stream, one[0].Keep = s.name, s.keep
	if err := checkBatch(&one[0]); err != nil {
		return Position{}, s.wrap(h, err)
	}
	positions, err := h.publish(ctx, one)
	if err != nil {
		return Position{}, err
	}
	h.drafts.reuse(draft)
	return positions[len(positions)-1], nil
}

// Message is an event with its payload decoded. Event.Data holds the bytes; those of a json.RawMessage are the same ones, to be read only.
type Message[T any] struct {
	Event
	Data T
}

// decode fills in Data. The error of a payload that is no T is ErrInvalid.
func (m *Message[T]) decode(h *Hub, stream string) (err error) {
	if raw, ok := any(&m.Data).(*json.RawMessage); ok {
		*raw = m.Event.Data
		return nil
	}
	if m.Data, err = decode[T](m.Event.Data); err != nil {
		err = &Error{Op: "decode event " + m.ID.String() + " of", Driver: h.Driver(), Target: stream, Kind: ErrInvalid, Err: explain(err)}
	}
	return err
}

// Read returns up to n events (0: MaxPage) from a place in the stream, without waiting: for looking back. Positions to go on
// come from the messages. A payload that is no T is an error that names the event. A stream that is not there begins to exist, without events;
// StreamInfo of the StreamBus tells whether it is there.
func (s Stream[T]) Read(ctx context.Context, h *Hub, at Start, n int) ([]Message[T], error) {
	bus := h.Streams()
	after, err := bus.Locate(ctx, s.name, at)
	if err != nil {
		return nil, err
	}
	events, err := bus.Read(ctx, ReadRequest{Stream: s.name, After: after, Max: n})
	if err != nil {
		return nil, err
	}
	messages := make([]Message[T], len(events))
	for i, e := range events {
		messages[i].Event = e
		if err := messages[i].decode(h, s.name); err != nil {
			return nil, err
		}
	}
	return messages, nil
}
