package redis

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// carriedBatch is the message of a publish at a place.
func carriedBatch(b *streamBus, begin, end rpw.Position, events ...rpw.NewEvent) string {
	args := b.publishArgs([]rpw.Batch{{Stream: "s", Events: events}})
	args[0], args[1] = wire(end), wire(begin)
	p := packed(nil).array(len(args))
	for _, arg := range args {
		p = p.text(arg)
	}
	return string(p)
}

// TestCarriedEventsAreForWhoIsThere: messages carry what follows a place, and nothing to a reader who is at another.
func TestCarriedEventsAreForWhoIsThere(t *testing.T) {
	behind := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 4}, Count: 2}
	here := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 5}, Count: 3}
	within := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 6}, Count: 4}
	end := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 6, Seq: 1}, Count: 5}
	last := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 8, Seq: 3}, Count: 6}
	b := &streamBus{store: &store{}}
	w := &waker{topics: map[string]*topic{"c": {channel: "c"}}}
	after := func(at rpw.Position, most int) []rpw.Event {
		_, batches := w.after("c", at)
		return eventsOf(batches, at, most)
	}
	told := w.keep(w.topics["c"], carriedBatch(b, here, end, rpw.NewEvent{Type: "t", Data: []byte("a")},
		rpw.NewEvent{Type: "u", Data: []byte("b"), Key: "k", Header: map[string]string{"h": "v"}}))
	assert.Equal(t, wire(end), told)
	events := after(here, 10)
	require.Len(t, events, 2)
	assert.Equal(t, within, events[0].Position())
	assert.Equal(t, end, events[1].Position())
	assert.Equal(t, "t a", events[0].Type+" "+string(events[0].Data))
	assert.Equal(t, rpw.Event{Epoch: 7, ID: end.ID, Count: 5, Type: "u", Data: []byte("b"), Key: "k", Header: map[string]string{"h": "v"}}, events[1])
	assert.Equal(t, events[:1], after(here, 1))
	assert.Equal(t, events[1:], after(within, 10))
	for _, elsewhere := range []rpw.Position{behind, end, {}, {Epoch: 8, ID: here.ID, Count: here.Count}, {Epoch: 7, ID: rpw.ID{MS: 6, Seq: 7}, Count: 4}} {
		assert.Empty(t, after(elsewhere, 10))
	}

	w.keep(w.topics["c"], carriedBatch(b, end, last, rpw.NewEvent{Type: "t", Data: []byte("c")}))
	assert.Len(t, after(within, 10), 2, "one batch follows the other")
	assert.Positive(t, w.size)
	w.keep(w.topics["c"], carriedBatch(b, last, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 9}, Count: 7}, rpw.NewEvent{Type: "t", Data: make([]byte, topicMost-100)}))
	assert.Empty(t, after(here, 10), "the oldest make room")
	assert.Len(t, after(last, 10), 1)
	w.keep(w.topics["c"], carriedBatch(b, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 10}, Count: 8}, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 11}, Count: 9},
		rpw.NewEvent{Type: "t"}))
	assert.Empty(t, after(last, 10), "what does not follow begins anew")
	w.keep(w.topics["c"], "")
	assert.Zero(t, w.size)
}
