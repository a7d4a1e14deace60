package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func streamCases() []testCase {
	return slices.Concat(publishCases(), producerCases(), retentionCases(), readCases(), waitCases(), gapCases(), streamAdminCases(), subscriptionCases())
}

// What cases say about streams.

// payload is a text as JSON: itself, or a string of it; nothing stays nothing. Some layouts take nothing else, so all cases but those about bytes keep
// to it.
func payload(text string) []byte {
	if text == "" || text[0] != '"' && json.Valid([]byte(text)) {
		return []byte(text)
	}
	data, err := json.Marshal(text)
	if err != nil {
		panic(err) // no text fails
	}
	return data
}

// textOf is the text of a payload.
func textOf(data []byte) (text string) {
	if len(data) == 0 || data[0] != '"' || json.Unmarshal(data, &text) != nil {
		return string(data)
	}
	return text
}

// items are events of the type "t" with these texts.
func items(data ...string) []rpw.NewEvent {
	events := make([]rpw.NewEvent, len(data))
	for i, d := range data {
		events[i] = rpw.NewEvent{Type: "t", Data: payload(d)}
	}
	return events
}

// numbers are the decimal numbers from to to, as payloads.
func numbers(from, to int) []string {
	var data []string
	for n := from; n <= to; n++ {
		data = append(data, strconv.Itoa(n))
	}
	return data
}

// texts are those of events.
func texts(events []rpw.Event) []string {
	data := make([]string, len(events))
	for i, ev := range events {
		data[i] = textOf(ev.Data)
	}
	return data
}

// append publishes one batch, whatever comes of it.
func (e *env) append(b rpw.Batch) ([]rpw.Position, error) {
	answers, err := e.hub.Streams().Publish(e.Context(), []rpw.Batch{b})
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("%d answers for one batch", len(answers))
	}
	return answers[0].Positions, answers[0].Err
}

// publish stores one batch and returns the position of each event.
func (e *env) publish(stream string, data ...string) []rpw.Position {
	e.Helper()
	return e.publishEvents(stream, items(data...)...)
}

func (e *env) publishEvents(stream string, events ...rpw.NewEvent) []rpw.Position {
	e.Helper()
	positions, err := e.append(rpw.Batch{Stream: stream, Events: events})
	require.NoError(e, err)
	require.Len(e, positions, len(events), "one position for each event")
	return positions
}

// locate pins a start.
func (e *env) locate(stream string, at rpw.Start) rpw.Position {
	e.Helper()
	p, err := e.hub.Streams().Locate(e.Context(), stream, at)
	require.NoError(e, err)
	return p
}

// page reads what there is, once.
func (e *env) page(req rpw.ReadRequest) []rpw.Event {
	e.Helper()
	events, err := e.hub.Streams().Read(e.Context(), req)
	require.NoError(e, err)
	return events
}

// read reads all that there is after a position.
func (e *env) read(stream string, after rpw.Position) (all []rpw.Event) {
	e.Helper()
	for {
		page := e.page(rpw.ReadRequest{Stream: stream, After: after})
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].Position()
	}
}

// waitRead starts a read that waits.
func (e *env) waitRead(req rpw.ReadRequest) <-chan answer[[]rpw.Event] {
	if req.Wait == 0 {
		req.Wait = rpw.Forever
	}
	bus, ctx := e.hub.Streams(), e.Context()
	return start(func() ([]rpw.Event, error) {
		for { // an empty answer may come early
			events, err := bus.Read(ctx, req)
			if err != nil || len(events) > 0 {
				return events, err
			}
		}
	})
}

func (e *env) info(stream string) rpw.StreamInfo {
	e.Helper()
	info, err := e.hub.Streams().StreamInfo(e.Context(), stream)
	require.NoError(e, err)
	return info
}

// trim removes the oldest events until some are kept, and returns how many went. A store may keep 100 more.
func (e *env) trim(stream string, keep int64) int {
	e.Helper()
	n, err := e.hub.Streams().Trim(e.Context(), stream, rpw.Retention{Events: keep})
	require.NoError(e, err)
	return int(n)
}

// contiguous wants positions of one epoch that grow strictly, without a hole.
func (e *env) contiguous(positions []rpw.Position) {
	e.Helper()
	for i, p := range positions {
		require.NotZero(e, p.Epoch, "a position has an epoch")
		if i == 0 {
			continue
		}
		before := positions[i-1]
		require.Equal(e, before.Epoch, p.Epoch, "one epoch")
		require.Positive(e, p.ID.Compare(before.ID), "ids grow: %s, %s", before.ID, p.ID)
		require.Equal(e, before.Count+1, p.Count, "no event of another batch is in between")
	}
}

func positionsOf(events []rpw.Event) []rpw.Position {
	positions := make([]rpw.Position, len(events))
	for i, ev := range events {
		positions[i] = ev.Position()
	}
	return positions
}
