package faults

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// publishNumbers publishes from to to-1, in one batch each thousand.
func publishNumbers(t testing.TB, hub *rpw.Hub, stream rpw.Stream[int], from, to int) {
	t.Helper()
	var events []rpw.NewEvent
	for n := from; n < to; n++ {
		event, err := stream.Item("number", n)
		require.NoError(t, err)
		if events = append(events, event); len(events) == rpw.MaxBatch || n == to-1 {
			_, err = stream.PublishBatch(t.Context(), hub, events...)
			require.NoError(t, err)
			events = events[:0]
		}
	}
}

func groupOf(t testing.TB, hub *rpw.Hub, stream string) rpw.GroupInfo {
	t.Helper()
	groups, err := hub.Streams().Groups(t.Context(), stream)
	require.NoError(t, err)
	require.Len(t, groups, 1)
	return groups[0]
}

// TestMemberLeavesInFlight: F7, G1: members that stop while the answer with their events is under way leave none of them behind.
func TestMemberLeavesInFlight(t *testing.T) {
	t.Parallel()
	const events, rounds = 300, 30
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	far, near := open(t, "redis://"+proxy.Addr), open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	group := rpw.Consumer{Group: "group", From: rpw.Oldest(), Lease: time.Second, Concurrency: 10, Grace: 50 * time.Millisecond, MaxDeliveries: rpw.Unlimited}
	publishNumbers(t, near, stream, 0, events)
	var handled tally
	handle := func(_ context.Context, m rpw.Message[int]) error { handled.add(m.Data); return nil }
	proxy.Slow(redistest.Poor{Delay: 10 * time.Millisecond})
	for range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond+rand.N(60*time.Millisecond))
		_ = stream.Consume(ctx, far, group, handle) // some do not get as far as their group
		cancel()
	}
	early := events - handled.lost(events)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	began := time.Now()
	go func() { done <- stream.Consume(ctx, near, group, handle) }()
	within(t, began, "all events are handled and settled", func() bool { return handled.lost(events) == 0 && groupOf(t, near, "numbers").Pending == 0 })
	atMost(t, "the last that others had left behind came after", time.Since(began), group.Lease+recovery)
	note(t, "events handled by those who left, and again by others", [2]int{early, handled.again()})
	cancel()
	require.NoError(t, <-done)
}

// TestGroupIsGone: F8, G5: the store is flushed, and then comes back empty after a kill, while members wait. They go on with a group made anew,
// each is told once, and nothing spins meanwhile.
func TestGroupIsGone(t *testing.T) {
	t.Parallel()
	const members = 4
	server := redistest.Start(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	var handled tally
	var gaps [members]atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range members {
		running.Go(func() {
			group := rpw.Consumer{Group: "group", Name: strconv.Itoa(i), From: rpw.Oldest(), OnGap: func(gap *rpw.GapError) (rpw.Position, error) {
				assert.Equal(t, rpw.GapReset, gap.Kind)
				gaps[i].Add(1)
				return gap.Resume, nil
			}}
			assert.NoError(t, stream.Consume(ctx, hub, group, func(_ context.Context, m rpw.Message[int]) error { handled.add(m.Data); return nil }))
		})
	}
	publishNumbers(t, hub, stream, 0, 10)
	within(t, time.Now(), "the group works", func() bool { return handled.lost(10) == 0 && len(groupOf(t, hub, "numbers").Consumers) == members })
	for i, lose := range []func(){
		func() { server.CLI(t, "FLUSHALL") },
		func() { server.Kill(); server.Restart(t); server.AwaitLoaded(t) },
	} {
		lost := time.Now()
		lose()
		from, to := 10*(i+1), 10*(i+2)
		publishNumbers(t, hub, stream, from, to)
		took := within(t, lost, "the new group works", func() bool { return handled.lost(int64(to)) == 0 })
		atMost(t, "events come again after", took, recovery)
		within(t, lost, "each member is told", func() bool {
			for n := range gaps {
				if gaps[n].Load() < int64(i+1) {
					return false
				}
			}
			return true
		})
		before := commandsDone(t, server)
		time.Sleep(time.Second)
		atMost(t, "commands in a second of waiting", commandsDone(t, server)-before, 50)
		for n := range gaps {
			assert.EqualValues(t, i+1, gaps[n].Load(), "told once")
		}
	}
	assert.Zero(t, handled.again())
}

// TestMemberIsKilled: F9, G1, G6: what a killed member held goes to another one soon after its lease, with one attempt more, in order; then the dead
// one can be removed, and loses nothing.
func TestMemberIsKilled(t *testing.T) {
	t.Parallel()
	const events = 100
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	hub := open(t, url)
	publishNumbers(t, hub, childStream, 0, events)
	dead := startChild(t, "member", url)
	within(t, time.Now(), "the member holds all", func() bool { return len(dead.said("holds")) == events })
	held := groupOf(t, hub, childStream.Name())
	require.EqualValues(t, events, held.Pending)
	dead.kill()
	killed := time.Now()
	var mu sync.Mutex
	var got []int
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	one := childGroup
	one.Concurrency = 1
	go func() {
		done <- childStream.Consume(ctx, hub, one, func(ctx context.Context, m rpw.Message[int]) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, m.Data)
			d, _ := rpw.DeliveryOf(ctx)
			assert.Equal(t, 2, d.Attempt)
			return nil
		})
	}()
	took := within(t, killed, "the other has all", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == events })
	atMost(t, "all events of a killed member were handled by another after", took, childLease+recovery)
	assert.True(t, slices.IsSorted(got), "in order")
	within(t, killed, "all is settled", func() bool { return groupOf(t, hub, childStream.Name()).Pending == 0 })
	answers, err := hub.Streams().Administer(t.Context(), rpw.GroupCommands{Commands: []rpw.GroupCommand{
		{Stream: childStream.Name(), Group: "group", Verb: rpw.RemoveConsumer, Consumer: held.Consumers[0].Name},
	}})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err)
	assert.Len(t, groupOf(t, hub, childStream.Name()).Consumers, 1)
	cancel()
	require.NoError(t, <-done)
}

// TestPoisonedEvent: F13, G4: an event that kills each process that handles it, and one that cannot be decoded, go to the dead-letter stream, once,
// after the deliveries that the store has counted; those after them are handled.
func TestPoisonedEvent(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	hub := open(t, url)
	_, err := childStream.Publish(t.Context(), hub, "number", poison)
	require.NoError(t, err)
	for range childGroup.MaxDeliveries {
		victim := startChild(t, "poisoned member", url)
		within(t, time.Now(), "the event kills the process", victim.ended)
	}
	_, err = hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: childStream.Name(), Events: []rpw.NewEvent{{Type: "number", Data: []byte("\xff{")}}}})
	require.NoError(t, err)
	publishNumbers(t, hub, childStream, 1, 2)
	survivor := startChild(t, "poisoned member", url)
	within(t, time.Now(), "the next event is handled", func() bool { return slices.Equal(survivor.said("handled"), []string{"1"}) })
	within(t, time.Now(), "all is settled", func() bool { i := groupOf(t, hub, childStream.Name()); return i.Pending == 0 && i.Lag == 0 })
	dead, err := hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: rpw.DeadLetter(childStream.Name(), "group")})
	require.NoError(t, err)
	require.Len(t, dead, 2)
	attempts := make(map[string]string)
	for _, e := range dead {
		attempts[string(e.Data)] = e.Header[rpw.HeaderDeadAttempts]
		assert.NotEmpty(t, e.Header[rpw.HeaderDeadReason])
	}
	assert.Equal(t, map[string]string{strconv.Itoa(poison): strconv.Itoa(childGroup.MaxDeliveries), "\xff{": "1"}, attempts)
	assert.False(t, survivor.ended())
}

// TestShortLivedMembers: F46, G6: a thousand members come, hold an event each, and are never seen again. Their events go to one that lives, what they
// hold and since when can be seen, and they can be removed.
func TestShortLivedMembers(t *testing.T) {
	t.Parallel()
	const members = 1000
	server := redistest.Start(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	publishNumbers(t, hub, stream, 0, members)
	_, err := hub.Streams().EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "numbers", Group: "group", From: rpw.Oldest(), Lease: time.Second})
	require.NoError(t, err)
	held := make([]rpw.Settlement, members)
	each(members, func(i int) { // with a lease that outlasts them all: the first must not have lost its event when the last comes
		got, err := hub.Streams().Fetch(t.Context(), rpw.FetchRequest{Stream: "numbers", Group: "group", Consumer: "pod" + strconv.Itoa(i), Lease: rpw.MaxLease})
		assert.NoError(t, err)
		if assert.Len(t, got, 1) {
			held[i] = rpw.Settlement{Receipt: got[0].Receipt, Verdict: rpw.Extend, Delay: time.Second}
		}
	})
	info := groupOf(t, hub, "numbers")
	assert.EqualValues(t, members, info.Pending)
	assert.Len(t, info.Consumers, members)
	assert.Positive(t, info.OldestPending)
	assert.Zero(t, info.Lag)
	errs, err := hub.Streams().Settle(t.Context(), rpw.SettleRequest{Stream: "numbers", Group: "group", Settlements: held}) // the last that is heard of them
	require.NoError(t, err)
	require.NoError(t, errors.Join(errs...))
	var handled tally
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	began := time.Now()
	go func() {
		group := rpw.Consumer{Group: "group", Lease: time.Second, Concurrency: 100}
		done <- stream.Consume(ctx, hub, group, func(_ context.Context, m rpw.Message[int]) error { handled.add(m.Data); return nil })
	}()
	within(t, began, "one member has handled all", func() bool { return handled.lost(members) == 0 && groupOf(t, hub, "numbers").Pending == 0 })
	atMost(t, "the events of a thousand lost members were handled after", time.Since(began), time.Second+2*recovery)
	commands := make([]rpw.GroupCommand, members)
	for i := range commands {
		commands[i] = rpw.GroupCommand{Stream: "numbers", Group: "group", Verb: rpw.RemoveConsumer, Consumer: "pod" + strconv.Itoa(i)}
	}
	began = time.Now()
	answers, err := hub.Streams().Administer(t.Context(), rpw.GroupCommands{Commands: commands})
	require.NoError(t, err)
	for _, answer := range answers {
		require.NoError(t, answer.Err)
	}
	atMost(t, "a thousand are removed in one call within", time.Since(began), recovery)
	assert.Len(t, groupOf(t, hub, "numbers").Consumers, 1)
	cancel()
	require.NoError(t, <-done)
}

var quiet = slog.New(slog.DiscardHandler)
