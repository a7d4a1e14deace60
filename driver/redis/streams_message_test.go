package redis

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// carriedBatch is the message of a publish at a place.
func carriedBatch(b *streamBus, begin, end rpw.Position, events ...rpw.NewEvent) string {
	args, _ := b.publishArgs([]rpw.Batch{{Stream: "s", Events: events}})
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
	w := &waker{topics: map[string]*topic{"c": {channel: "c"}}}
	b := &streamBus{store: &store{waker: w}}
	after := func(at rpw.Position, most int) []rpw.Event {
		_, batches := w.after("c", at)
		return eventsOf(nil, batches, at, most)
	}
	w.hear(w.topics["c"], carriedBatch(b, here, end, rpw.NewEvent{Type: "t", Data: []byte("a")},
		rpw.NewEvent{Type: "u", Data: []byte("b"), Key: "k", Header: map[string]string{"h": "v"}}))
	assert.Equal(t, wire(end), w.topics["c"].newest)
	events := after(here, 10)
	require.Len(t, events, 2)
	assert.Equal(t, within, events[0].Position())
	assert.Equal(t, end, events[1].Position())
	assert.Equal(t, "t a", events[0].Type+" "+string(events[0].Data))
	assert.Equal(t, rpw.Event{Epoch: 7, ID: end.ID, Count: 5, Type: "u", Data: []byte("b"), Key: "k", Header: map[string]string{"h": "v"}}, events[1])
	assert.Equal(t, events[:1], after(here, 1))
	assert.Equal(t, events[1:], after(within, 10))
	_, batches := w.after("c", within)
	over := eventsOf(events, batches, within, 10)
	assert.Equal(t, after(within, 10), over)
	assert.Same(t, &events[0], &over[0], "a page that was handed back is written over")
	for _, elsewhere := range []rpw.Position{behind, end, {}, {Epoch: 8, ID: here.ID, Count: here.Count}, {Epoch: 7, ID: rpw.ID{MS: 6, Seq: 7}, Count: 4}} {
		assert.Empty(t, after(elsewhere, 10))
	}

	w.hear(w.topics["c"], carriedBatch(b, end, last, rpw.NewEvent{Type: "t", Data: []byte("c")}))
	assert.Len(t, after(within, 10), 2, "one batch follows the other")
	assert.Positive(t, w.size)
	w.hear(w.topics["c"], carriedBatch(b, last, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 9}, Count: 7}, rpw.NewEvent{Type: "t", Data: make([]byte, topicMost-100)}))
	assert.Empty(t, after(here, 10), "the oldest make room")
	assert.Len(t, after(last, 10), 1)
	w.hear(w.topics["c"], carriedBatch(b, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 10}, Count: 8}, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 11}, Count: 9},
		rpw.NewEvent{Type: "t"}))
	assert.Empty(t, after(last, 10), "what does not follow begins anew")
	w.hear(w.topics["c"], "")
	assert.Zero(t, w.size)
}

// TestOwnEventsNeedNoMessage: what this process publishes behind the newest event that it knows is there when the answer comes, and the message of it, which
// comes later, neither wakes nor leads back.
func TestOwnEventsNeedNoMessage(t *testing.T) {
	at := func(count uint64) rpw.Position {
		return rpw.Position{Epoch: 7, ID: rpw.ID{MS: 5, Seq: count}, Count: count}
	}
	to := &topic{channel: "c", newest: wire(at(3))}
	w := &waker{topics: map[string]*topic{"c": to}}
	waiting := &watch{c: make(chan string, 1)}
	to.watches = []*watch{waiting}
	batch := func(text string, more ...rpw.NewEvent) []rpw.NewEvent {
		return append([]rpw.NewEvent{{Type: "t", Data: []byte(text), Header: map[string]string{"h": text}}}, more...)
	}
	texts := func(here rpw.Position, most int) (texts []string) {
		_, batches := w.after("c", here)
		for _, e := range eventsOf(nil, batches, here, most) {
			texts = append(texts, e.Position().String()+" "+e.Type+" "+string(e.Data)+" "+e.Header["h"])
		}
		return texts
	}
	line := func(count uint64, text string) string { return at(count).String() + " t " + text + " " + text }

	first := batch("a", rpw.NewEvent{Type: "t", Data: []byte("b"), Header: map[string]string{"h": "b"}})
	w.published("c", first, at(5))
	first[0].Data[0] = 'x' // the caller's again
	assert.Equal(t, wire(at(5)), <-waiting.c)
	w.published("c", batch("c"), at(6))
	<-waiting.c
	assert.Equal(t, []string{line(4, "a"), line(5, "b"), line(6, "c")}, texts(at(3), 9))
	assert.Equal(t, []string{line(5, "b"), line(6, "c")}, texts(at(4), 9))
	assert.Equal(t, []string{line(4, "a")}, texts(at(3), 1))

	for _, late := range []rpw.Position{at(5), at(6)} {
		assert.False(t, w.hear(to, wire(late)), "it is known")
		assert.Equal(t, wire(at(6)), to.newest)
	}
	assert.Len(t, texts(at(3), 9), 3)

	assert.True(t, w.hear(to, wire(at(7))), "of another process")
	w.published("c", batch("i"), at(9))
	assert.Equal(t, wire(at(7)), to.newest, "what comes before it is not known yet")
	w.published("c", batch("h"), rpw.Position{Epoch: 8, ID: at(8).ID, Count: 8})
	assert.Equal(t, wire(at(7)), to.newest, "another history")
	keyed := batch("h")
	keyed[0].Key = "k"
	w.published("c", keyed, at(8))
	assert.Equal(t, wire(at(7)), to.newest, "another event may be stored under its key")
	assert.Empty(t, waiting.c)

	assert.True(t, w.hear(to, ""), "events were removed")
	assert.Empty(t, texts(at(3), 9))
	assert.Zero(t, w.size)
	w.published("c", batch("z"), at(8))
	assert.Empty(t, to.newest)
}

// TestAMessageMayComeBeforeTheAnswer: they come by two connections. The message says which call it is of, so readers have its events without a look into the store, and
// are not kept from those of others.
func TestAMessageMayComeBeforeTheAnswer(t *testing.T) {
	at := func(count uint64) rpw.Position {
		return rpw.Position{Epoch: 7, ID: rpw.ID{MS: 5, Seq: count}, Count: count}
	}
	for name, c := range map[string]struct {
		message  string
		end      uint64 // which it tells
		answered uint64 // 0: not at all
		newest   uint64
		kept     string
	}{
		"it is of this call":                   {"mine", 5, 5, 5, "ab"},
		"it is of this call, which has failed": {"mine", 5, 0, 5, "ab"},
		"it is of another":                     {"other", 4, 6, 6, ""},
		"it is of another, as many events":     {"other", 5, 7, 7, ""},
		"one before it was lost":               {"mine", 6, 6, 6, ""},
	} {
		t.Run(name, func(t *testing.T) {
			waiting := &watch{c: make(chan string, 1)}
			to := &topic{channel: "c", newest: wire(at(3)), watches: []*watch{waiting}}
			w := &waker{topics: map[string]*topic{"c": to}}
			batches := []rpw.Batch{{Events: []rpw.NewEvent{{Type: "t", Data: []byte("a")}, {Type: "t", Data: []byte("b")}}}}
			texts := func(here rpw.Position) (texts string) {
				_, batches := w.after("c", here)
				for _, e := range eventsOf(nil, batches, here, 9) {
					texts += string(e.Data)
				}
				return texts
			}
			require.True(t, w.takeoff("c", "mine", batches))
			w.deliver(rueidis.PubSubMessage{Channel: "c", Message: wire(at(c.end)) + "\n" + c.message})
			assert.Equal(t, wire(at(c.end)), <-waiting.c, "told at once")
			assert.Equal(t, c.kept, texts(at(3)))
			if c.answered > 0 {
				w.published("c", batches[0].Events, at(c.answered))
			}
			w.land("c", "mine")
			assert.Empty(t, to.flights)
			assert.Equal(t, wire(at(c.newest)), to.newest)
			assert.Equal(t, c.answered > c.end, len(waiting.c) == 1, "the answer tells what the message has not")
			assert.Equal(t, c.answered > c.end, texts(at(c.end)) == "ab")
		})
	}
	w := &waker{topics: map[string]*topic{"new": {channel: "new"}, "c": {channel: "c", newest: wire(at(3))}}}
	assert.False(t, w.takeoff("nobody listens", "mine", make([]rpw.Batch, 1)))
	assert.False(t, w.takeoff("new", "mine", make([]rpw.Batch, 1)), "it is not known what it follows")
	assert.False(t, w.takeoff("c", "mine", make([]rpw.Batch, 2)), "one of them may be refused")
}

// TestLargeBatchesComeWithTheMessage: once somebody has heard a publish, those that follow carry their events to him, also while he is busy.
func TestLargeBatchesComeWithTheMessage(t *testing.T) {
	b := newBus(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := b.add(1, 1)[0]
	read := func(n int) (got []string) {
		for len(got) < n {
			events, err := b.Read(ctx, rpw.ReadRequest{Stream: "s", After: at, Wait: rpw.Forever})
			require.NoError(t, err)
			got = append(got, data(events)...)
			at = events[len(events)-1].Position()
		}
		return got
	}
	ranges := func() int {
		stats, err := b.client.Do(ctx, b.client.B().Info().Section("commandstats").Build()).ToString()
		require.NoError(t, err)
		_, stats, _ = strings.Cut(stats, "cmdstat_xrange:calls=")
		stats, _, _ = strings.Cut(stats, ",")
		n, err := strconv.Atoi(stats)
		require.NoError(t, err)
		return n
	}
	waits := make(chan []string)
	go func() { waits <- read(500) }()
	b.awaitReader()
	b.add(2, 501)
	require.Equal(t, texts(2, 501), <-waits)
	before := ranges()
	end := b.add(502, 900)
	end = append(end, b.add(901, 1000)...)
	require.Equal(t, texts(502, 1000), read(499))
	assert.Equal(t, before, ranges(), "the reader has not looked into the store")
	assert.Equal(t, end[len(end)-1], at)
}

// TestDeletedEventsAreNotTakenFromAMessage: what a message has carried is out of date once an event is deleted.
func TestDeletedEventsAreNotTakenFromAMessage(t *testing.T) {
	b := newBus(t)
	w, err := b.waker.watch(t.Context(), b.channelOf("s"))
	require.NoError(t, err)
	defer w.close()
	begin, err := b.Locate(t.Context(), "s", rpw.Newest())
	require.NoError(t, err)
	at := b.add(1, 3)
	require.Equal(t, wire(at[2]), told(t, w))
	events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s", After: begin, Wait: time.Minute})
	require.NoError(t, err)
	require.Equal(t, texts(1, 3), data(events))
	n, err := b.DeleteEvents(t.Context(), "s", []rpw.ID{at[1].ID})
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
	require.Empty(t, told(t, w))
	events, err = b.Read(t.Context(), rpw.ReadRequest{Stream: "s", After: begin, Wait: time.Minute})
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "3"}, data(events))
}
