package conformance

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// streamModel is one stream: a slice of what is stored.
type streamModel struct {
	*world
	life    int    // of the stream: grows when it is deleted
	added   uint64 // ever, in this life
	trimmed uint64 // the count of the newest event that trimming took
	events  []rpw.Event
	keys    map[string]modelKey
	known   []modelPosition
}

type modelKey struct {
	at   rpw.Position
	ends time.Time
}

type modelPosition struct {
	rpw.Position
	life int
}

const modelStream = "stream"

func newStreamModel(w *world) *streamModel {
	return &streamModel{world: w, keys: make(map[string]modelKey)}
}

func (m *streamModel) verbs() map[string]func() {
	return map[string]func(){
		"stream publish": m.publish, "stream read": m.read, "stream read back": m.readBack, "stream trim": m.trim,
		"stream delete events": m.deleteEvents, "stream delete": m.remove, "stream locate": m.locate,
	}
}

func (m *streamModel) publish() {
	events := make([]rpw.NewEvent, m.number("events", 1, 3))
	for i := range events {
		events[i] = rpw.NewEvent{Type: "e", Data: fmt.Append(nil, m.life, m.added, i), Key: pick(m.world, "key", "", "", "k", "l", "m")}
	}
	batch := rpw.Batch{Stream: modelStream, Events: events}
	fresh := slices.ContainsFunc(events, func(e rpw.NewEvent) bool { _, stored := m.key(e.Key); return !stored })
	ends := modelPosition{life: m.life}
	if len(m.known) > 0 && m.number("expect", 0, 3) == 0 {
		ends = pick(m.world, "position", m.known...)
		batch.Expect = ends.Position
	}
	answers, err := m.hub.Streams().Publish(m.ctx, []rpw.Batch{batch})
	if err == nil {
		err = answers[0].Err
	}
	if fresh && !batch.Expect.IsZero() && (ends.life != m.life || ends.Count != m.added) {
		m.code("conflict", err, "publish", batch)
		return
	}
	m.code("", err, "publish", batch)
	for i, at := range answers[0].Positions {
		if k, stored := m.key(events[i].Key); stored {
			require.Equal(m, k.at, at, "a stored key answers its old position")
			continue
		}
		m.added++
		require.Equal(m, m.added, at.Count)
		if n := len(m.events); n > 0 {
			require.Positive(m, at.ID.Compare(m.events[n-1].ID))
			require.Equal(m, m.events[n-1].Epoch, at.Epoch)
		}
		m.events = append(m.events, rpw.Event{ID: at.ID, Epoch: at.Epoch, Count: at.Count, Type: "e", Data: events[i].Data, Key: events[i].Key})
		if events[i].Key != "" {
			m.keys[events[i].Key] = modelKey{at, time.Now().Add(rpw.RepeatWindow)}
		}
		m.known = append(m.known, modelPosition{at, m.life})
	}
}

func (m *streamModel) key(key string) (modelKey, bool) {
	k, ok := m.keys[key]
	return k, ok && k.ends.After(time.Now())
}

// after are the stored events behind a position.
func (m *streamModel) after(p rpw.Position) []rpw.Event {
	i := slices.IndexFunc(m.events, func(e rpw.Event) bool { return e.Count > p.Count })
	if i < 0 {
		return nil
	}
	return m.events[i:]
}

// page reads, and compares with what must come.
func (m *streamModel) page(req rpw.ReadRequest, want []rpw.Event) {
	req.Stream = modelStream
	events, err := m.hub.Streams().Read(m.ctx, req)
	m.code("", err, "read", req)
	want = want[:min(len(want), req.Max)]
	require.Len(m, events, len(want))
	for i := range want {
		require.Equal(m, want[i].Position(), events[i].Position())
		require.Equal(m, string(want[i].Data), string(events[i].Data))
		require.Equal(m, want[i].Key, events[i].Key)
	}
}

func (m *streamModel) read() {
	req := rpw.ReadRequest{Stream: modelStream, Max: m.number("max", 1, 4)}
	at := modelPosition{life: m.life}
	if len(m.known) > 0 {
		at = pick(m.world, "position", m.known...)
		req.After = at.Position
	}
	lost := at.life != m.life || !at.IsZero() && at.Count < m.trimmed
	if !lost {
		m.page(req, m.after(at.Position))
		return
	}
	_, err := m.hub.Streams().Read(m.ctx, req)
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(m, ok, "want a gap after %v, got %v", at, err)
	require.Equal(m, at.Position, gap.After)
	kind := rpw.GapTrimmed
	if at.life != m.life {
		kind = rpw.GapReset
	}
	require.Equal(m, kind, gap.Kind)
	req.Max = rpw.MaxPage
	for _, from := range []rpw.Position{gap.Resume, gap.Oldest} {
		req.After = from
		m.page(req, m.events)
	}
}

func (m *streamModel) readBack() {
	want := slices.Clone(m.events)
	slices.Reverse(want)
	m.page(rpw.ReadRequest{Reverse: true, Max: m.number("max", 1, 4)}, want)
}

func (m *streamModel) trim() {
	keep := m.number("keep", 1, 4)
	n, err := m.hub.Streams().Trim(m.ctx, modelStream, rpw.Retention{Events: int64(keep)})
	m.code("", err)
	left := len(m.events) - int(n)
	require.GreaterOrEqual(m, left, min(len(m.events), keep))
	require.LessOrEqual(m, left, keep+100)
	if n > 0 {
		m.trimmed = m.events[n-1].Count
		m.events = m.events[n:]
	}
}

func (m *streamModel) deleteEvents() {
	if len(m.known) == 0 {
		return
	}
	at := pick(m.world, "event", m.known...)
	n, err := m.hub.Streams().DeleteEvents(m.ctx, modelStream, []rpw.ID{at.ID, {MS: 1}})
	m.code("", err)
	before := len(m.events)
	m.events = slices.DeleteFunc(slices.Clone(m.events), func(e rpw.Event) bool { return e.ID == at.ID })
	require.EqualValues(m, before-len(m.events), n)
}

func (m *streamModel) remove() {
	if m.number("really", 0, 3) > 0 {
		return
	}
	m.code("", m.hub.Streams().DeleteStream(m.ctx, modelStream))
	m.life++
	m.added, m.trimmed, m.events = 0, 0, nil
	clear(m.keys)
	if m.bubble {
		time.Sleep(time.Millisecond) // ids begin again at the store's time
	}
}

func (m *streamModel) locate() {
	n := m.number("last", 1, 4)
	start, want := rpw.Newest(), m.events[len(m.events):]
	switch m.number("start", 0, 2) {
	case 1:
		start, want = rpw.Oldest(), m.events
	case 2:
		start, want = rpw.Last(n), m.events[max(0, len(m.events)-n):]
	}
	at, err := m.hub.Streams().Locate(m.ctx, modelStream, start)
	m.code("", err)
	require.NotZero(m, at.Epoch, "a located position is pinned")
	m.page(rpw.ReadRequest{After: at, Max: rpw.MaxPage}, want)
	m.known = append(m.known, modelPosition{at, m.life})
}

func (m *streamModel) check() {
	m.page(rpw.ReadRequest{Max: rpw.MaxPage}, m.events)
}
