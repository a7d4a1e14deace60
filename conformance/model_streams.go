package conformance

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	keep    int64 // of the newest batch that said so
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
		"stream names": m.names,
	}
}

func (m *streamModel) publish() {
	events := make([]rpw.NewEvent, pick(m.world, "events", 1, 2, 3, 3, 150))
	keyed := m.number("keyed", 0, 1) == 1
	for i := range events {
		events[i] = rpw.NewEvent{Type: pick(m.world, "type", "e", "ü f"), Data: fmt.Append(nil, m.life, m.added, i)}
		if keyed && i < 3 {
			events[i].Key = pick(m.world, "key", "", "k", "l", "m")
		}
	}
	events[0].Data = []byte(pick(m.world, "data", "", "\x00\xff\r\n\"{", "ü\u2028", "{}", strings.Repeat("\xfe", 64<<10)))
	events[0].Header = pick(m.world, "header", nil, map[string]string{"trace": "a\xffb", "empty": ""})
	batch := rpw.Batch{Stream: modelStream, Events: events}
	if !keyed {
		batch.Keep.Events = pick(m.world, "keep", int64(0), 0, 1, 200, rpw.Unlimited)
	}
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
		m.events = append(m.events, rpw.Event{ID: at.ID, Epoch: at.Epoch, Count: at.Count,
			Type: events[i].Type, Data: events[i].Data, Key: events[i].Key, Header: events[i].Header})
		if events[i].Key != "" {
			m.keys[events[i].Key] = modelKey{at, time.Now().Add(rpw.RepeatWindow)}
		}
		if i < 3 || i == len(events)-1 {
			m.known = append(m.known, modelPosition{at, m.life})
		}
	}
	m.keep = cmp.Or(batch.Keep.Events, m.keep)
	m.retain()
}

// retain applies the retention, of which a store may be late.
func (m *streamModel) retain() {
	info, err := m.hub.Streams().StreamInfo(m.ctx, modelStream)
	m.code("", err)
	require.Equal(m, m.added, info.Added)
	require.Equal(m, m.added, info.Last.Count)
	require.Equal(m, cmp.Or(m.keep, rpw.DefaultKeepEvents), info.Keep.Events)
	left, keep := int(info.Events), int(m.keep)
	if keep <= 0 {
		require.Len(m, m.events, left)
		return
	}
	m.dropped(len(m.events)-left, keep)
}

// dropped are the oldest n events.
func (m *streamModel) dropped(n, keep int) {
	left := len(m.events) - n
	require.GreaterOrEqual(m, n, 0)
	require.GreaterOrEqual(m, left, min(len(m.events), keep))
	require.LessOrEqual(m, left, keep+100)
	if n > 0 {
		m.trimmed = m.events[n-1].Count
		m.events = m.events[n:]
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
		require.True(m, bytes.Equal(want[i].Data, events[i].Data), "the data of %v", want[i].Position())
		require.Equal(m, [2]string{want[i].Type, want[i].Key}, [2]string{events[i].Type, events[i].Key})
		require.True(m, maps.Equal(want[i].Header, events[i].Header), "%q, %q", want[i].Header, events[i].Header)
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
		want := m.after(at.Position)
		if len(want) > 0 && m.number("bounded", 0, 1) == 1 {
			n := m.number("until", 0, len(want)-1)
			req.Until, want = want[n].ID, want[:n+1]
		}
		if len(want) > 0 || m.bubble {
			req.Wait = m.span("wait")
		}
		m.page(req, want)
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
	req := rpw.ReadRequest{Stream: modelStream, Reverse: true, Max: m.number("max", 1, 4)}
	want := slices.Clone(m.events)
	if n := len(want); n > 0 && m.number("bounded", 0, 1) == 1 {
		from, until := m.number("from", 0, n-1), m.number("until", 0, n-1)
		req.After, req.Until = want[from].Position(), want[until].ID
		if until > from {
			_, err := m.hub.Streams().Read(m.ctx, req)
			m.code("invalid", err, "an empty range", req)
			return
		}
		want = want[until:from]
	}
	slices.Reverse(want)
	m.page(req, want)
}

func (m *streamModel) trim() {
	keep := m.number("keep", 1, 4)
	n, err := m.hub.Streams().Trim(m.ctx, modelStream, rpw.Retention{Events: int64(keep)})
	m.code("", err)
	m.dropped(int(n), keep)
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
	m.tick()
	m.flushed()
}

// flushed begins another life.
func (m *streamModel) flushed() {
	m.life++
	m.added, m.trimmed, m.events, m.keep = 0, 0, nil, 0
	clear(m.keys)
}

func (m *streamModel) names() {
	req := rpw.StreamsRequest{Prefix: pick(m.world, "prefix", "", modelStream[:3], "other"), Max: m.number("max", 1, 3)}
	var names []string
	for {
		page, err := m.hub.Streams().Streams(m.ctx, req)
		m.code("", err)
		require.LessOrEqual(m, len(page.Names), req.Max)
		names = append(names, page.Names...)
		if req.After = page.Next; req.After == "" {
			break
		}
	}
	require.True(m, slices.IsSorted(names), names)
	listed := slices.Contains(names, modelStream)
	if strings.HasPrefix(modelStream, req.Prefix) {
		require.True(m, listed || m.added == 0, "the stream is not listed") // one without events may not be there yet
	} else {
		require.Empty(m, names)
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
