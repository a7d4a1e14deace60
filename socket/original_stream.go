package socket

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/redis-process-worker/rpw"
)

// publish stores events, those of one stream together. It is acknowledged when it is stored, which the original did not wait for.
func (s *originalSession) publish(ctx context.Context, run []*originalRequest) {
	var streams []string // as they come
	byStream := make(map[string][]*originalRequest)
	for _, r := range run {
		if byStream[r.name] == nil {
			streams = append(streams, r.name)
		}
		byStream[r.name] = append(byStream[r.name], r)
	}
	for _, stream := range streams {
		together(byStream[stream], func(run []*originalRequest) ([]struct{}, error) {
			events := make([]rpw.NewEvent, len(run))
			for i, r := range run {
				events[i] = rpw.NewEvent{Type: jsonText(r.message[fieldEventType]), Data: r.message[fieldData]}
			}
			answers, err := s.peer.hub.Streams().Publish(ctx, []rpw.Batch{{Stream: stream, Events: events}})
			if err == nil {
				err = answers[0].Err
			}
			return make([]struct{}, len(run)), err
		}, func(r *originalRequest, _ struct{}, err error) {
			s.answer(r, r.ok("published", appendText(nil, stream)), err)
		})
	}
}

// Bounds of getStreamValues.
const (
	originalCount       = 1000              // entries, if the client does not say
	originalValuesBytes = rpw.MaxBatchBytes // of an answer
)

var errOriginalValues = rpw.Errorf(rpw.ErrTooLarge, "the entries have more than %d bytes together; ask for fewer with count, and go on after the last with start", originalValuesBytes)

// getStreamValues answers with the entries of a range.
func (s *originalSession) getStreamValues(ctx context.Context, run []*originalRequest) {
	r := run[0]
	values, err := s.values(ctx, r)
	s.answer(r, r.ok("values", values), err)
}

func (s *originalSession) values(ctx context.Context, r *originalRequest) ([]byte, error) {
	count, err := countOf(r.message[fieldCount])
	if err != nil {
		return nil, err
	}
	from, until, err := rangeOf(r.message[fieldStart], r.message[fieldEnd])
	if err != nil {
		return nil, err
	}
	b := []byte{'['}
	for e, err := range s.entries(ctx, r.name, from, until, count) {
		switch {
		case err != nil:
			return nil, err
		case e.Type == "": // nothing that the original would send
			continue
		case len(b)+len(e.Data) > originalValuesBytes:
			return nil, errOriginalValues
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"id":"`...), e.ID.String()...), `","type":`...)
		b = append(appendPayload(append(appendText(b, e.Type), `,"data":`...), e.Data, json.Valid(e.Data)), '}')
		if count--; count == 0 {
			break
		}
	}
	return append(b, ']'), nil
}

// entries returns the events of a stream from one id to another, of which about count are wanted.
func (s *originalSession) entries(ctx context.Context, stream string, from, until rpw.ID, count int) iter.Seq2[rpw.Event, error] {
	return func(yield func(rpw.Event, error) bool) {
		if until.Compare(from) < 0 || until.IsZero() {
			return
		}
		bus := s.peer.hub.Streams()
		var after rpw.Position
		if before := idBefore(from); !before.IsZero() {
			var err error
			if after, err = bus.Locate(ctx, stream, rpw.After(rpw.Position{ID: before})); err != nil {
				yield(rpw.Event{}, err)
				return
			}
		}
		for after.ID.Compare(until) < 0 {
			events, err := bus.Read(ctx, rpw.ReadRequest{Stream: stream, After: after, Until: until, Max: min(count, rpw.MaxPage)})
			if gap, ok := errors.AsType[*rpw.GapError](err); ok {
				after = gap.Resume // with what is there
				continue
			}
			if err != nil {
				yield(rpw.Event{}, err)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if len(events) == 0 {
				return
			}
			after = events[len(events)-1].Position()
		}
	}
}

// countOf reads how many entries a client wants: a number, or one in a string.
func countOf(value json.RawMessage) (int, error) {
	if !truthy(value) {
		return originalCount, nil
	}
	if n, err := strconv.Atoi(jsonText(value)); err == nil && n > 0 {
		return n, nil
	}
	return 0, rpw.Errorf(rpw.ErrInvalid, "count must be a whole number above 0")
}

// rangeOf reads the ids that a range begins and ends with, inclusively, in the forms that Redis knows: - and + for the ends of the stream,
// ms-seq, ms alone for all of a millisecond, and ( before an id to leave it out. A range may be empty: then it ends before it begins.
func rangeOf(start, end json.RawMessage) (from, until rpw.ID, err error) {
	until = rpw.ID{MS: math.MaxUint64, Seq: math.MaxUint64}
	if truthy(start) {
		var open bool
		if from, open, err = rangeEnd("start", jsonText(start), 0); err != nil {
			return from, until, err
		}
		if open {
			if from == until {
				return until, rpw.ID{}, nil
			}
			from = idAfter(from)
		}
	}
	if truthy(end) {
		var open bool
		if until, open, err = rangeEnd("end", jsonText(end), math.MaxUint64); err != nil {
			return from, until, err
		}
		if open {
			until = idBefore(until)
		}
	}
	return from, until, nil
}

// rangeEnd reads one end of a range. seq is what an id without a number means.
func rangeEnd(what, text string, seq uint64) (id rpw.ID, open bool, err error) {
	switch text {
	case "-":
		return rpw.ID{}, false, nil
	case "+":
		return rpw.ID{MS: math.MaxUint64, Seq: math.MaxUint64}, false, nil
	}
	bare, open := strings.CutPrefix(text, "(")
	ms, number, whole := strings.Cut(bare, "-")
	id.Seq = seq
	if id.MS, err = strconv.ParseUint(ms, 10, 64); err == nil && whole {
		id.Seq, err = strconv.ParseUint(number, 10, 64)
	}
	if err != nil {
		return id, false, rpw.Errorf(rpw.ErrInvalid, "%s must be an entry's id like 1795399404210-0, its milliseconds, - or +; a ( before an id leaves it out", what)
	}
	return id, open, nil
}

// idBefore is the greatest id below one; of 0-0 it is 0-0 itself.
func idBefore(id rpw.ID) rpw.ID {
	switch {
	case id.Seq > 0:
		return rpw.ID{MS: id.MS, Seq: id.Seq - 1}
	case id.MS > 0:
		return rpw.ID{MS: id.MS - 1, Seq: math.MaxUint64}
	}
	return id
}

func idAfter(id rpw.ID) rpw.ID {
	if id.Seq < math.MaxUint64 {
		return rpw.ID{MS: id.MS, Seq: id.Seq + 1}
	}
	return rpw.ID{MS: id.MS + 1}
}

// appendPayload appends the data of an event, and behind it, if that is not readable as JSON, null and an error: the client shall see that there is
// something that it cannot read. The original's process ended there. No data is {}, as there.
func appendPayload(b, data []byte, readable bool) []byte {
	switch {
	case len(data) == 0:
		return append(b, `{}`...)
	case !readable:
		return append(b, `null,"error":"the data of this event is no JSON"`...)
	}
	return append(slices.Grow(b, len(data)), validText(data)...)
}
