package redis

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestFetchMeetsWhatOthersDo: F17, G5: others trim what a group has not delivered yet, and what it has.
func TestFetchMeetsWhatOthersDo(t *testing.T) {
	b := newBus(t)
	b.group()
	b.add(1, 10)
	ds := b.fetch(3)
	b.bare("XTRIM", "%s", "MAXLEN", "=", "4")
	gap := b.fetchGap()
	assert.Equal(t, rpw.GapTrimmed, gap.Kind)
	assert.EqualValues(t, 3, gap.Missed)
	assert.Equal(t, texts(7, 8), dataOf(b.fetch(2)))
	b.settle(ds, rpw.Settlement{Verdict: rpw.Release})
	gap = b.fetchGap2(t)
	assert.EqualValues(t, 3, gap.Missed, "what was to be delivered again is gone")
	assert.Equal(t, texts(9, 10), dataOf(b.fetch(10)))
	assert.EqualValues(t, 4, b.info().Pending)
}

func TestTrimmingLosesNothingThatIsPending(t *testing.T) {
	b := newBus(t)
	b.group()
	at := b.add(1, 300)
	ds := b.fetch(5)
	b.settle(ds[3:4], rpw.Settlement{Verdict: rpw.Nack, Reason: "later"})
	_, err := b.DeleteEvents(t.Context(), "s", []rpw.ID{at[1].ID})
	require.NoError(t, err)
	n, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 100})
	require.NoError(t, err)
	assert.EqualValues(t, 199, n)
	assert.EqualValues(t, 195, b.fetchGap().Missed+0)
	b.settle(slices.Concat(ds[:3], ds[4:]), rpw.Settlement{Verdict: rpw.Release})
	again := b.fetch(6)
	assert.Equal(t, append(texts(1, 5), "201"), dataOf(again))
	assert.Equal(t, at[0], again[0].Position())
	b.settle(again[:1], rpw.Settlement{Verdict: rpw.Reject})
	b.settle(again[1:], rpw.Settlement{Verdict: rpw.Ack})
	dead, err := b.Read(t.Context(), rpw.ReadRequest{Stream: rpw.DeadLetter("s", "g")})
	require.NoError(t, err)
	assert.Equal(t, texts(1, 1), data(dead))
	assert.Zero(t, b.info().Pending)
	m := b.bare("EXISTS", b.keys.stream("s").side("gk:g"), b.keys.stream("s").side("gw:g"), b.keys.stream("s").side("gr:g"), b.keys.stream("s").side("gd:g"))
	left, err := m.AsInt64()
	require.NoError(t, err)
	assert.Zero(t, left, "nothing is left of what is settled")
}

func TestEachKnownConsumerIsToldOfAGapOnce(t *testing.T) {
	b := newBus(t)
	b.group()
	fetch := func(consumer string) error {
		_, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: consumer})
		return err
	}
	missed := func(consumer string) uint64 {
		gap, ok := errors.AsType[*rpw.GapError](fetch(consumer))
		require.True(t, ok)
		return gap.Missed
	}
	require.NoError(t, fetch("a"))
	require.NoError(t, fetch("b"))
	b.add(1, 10)
	_, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 4})
	require.NoError(t, err)
	assert.EqualValues(t, 6, missed("a"))
	_, err = b.Trim(t.Context(), "s", rpw.Retention{Events: 2})
	require.NoError(t, err)
	assert.EqualValues(t, 2, missed("a"))
	assert.EqualValues(t, 8, missed("b"), "two gaps that it has not heard of are told as one")
	require.NoError(t, fetch("late"))
}

func TestALapsedLeaseIsGoodUntilSuperseded(t *testing.T) {
	b := newBus(t)
	b.group(func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MinLease })
	b.add(1, 3)
	d := b.fetch(3)
	time.Sleep(rpw.MinLease + 5*time.Millisecond)
	other, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "other", Max: 1, Lease: rpw.MaxLease})
	require.NoError(t, err)
	require.Equal(t, texts(1, 1), dataOf(other))
	b.settle(d[1:2], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(d[2:], rpw.Settlement{Verdict: rpw.Extend, Delay: time.Minute})
	assert.Empty(t, b.fetch(3))
	errs, err := b.Settle(t.Context(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: d[0].Receipt, Verdict: rpw.Ack}}})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], rpw.ErrLeaseLost)
	b.settle(other, rpw.Settlement{Verdict: rpw.Ack})
	b.settle(d[2:], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(d[2:], rpw.Settlement{Verdict: rpw.Ack}) // a repeat
	assert.Zero(t, b.info().Pending)
	assert.Empty(t, b.info().OldestPending)
}

func TestAPartOfALotIsExtended(t *testing.T) {
	b := newBus(t)
	b.group(func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MinLease })
	b.add(1, 4)
	d := b.fetch(4)
	b.settle(d[1:2], rpw.Settlement{Verdict: rpw.Extend, Delay: time.Minute})
	b.settle(d[2:3], rpw.Settlement{Verdict: rpw.Nack, Delay: time.Minute})
	time.Sleep(rpw.MinLease + 5*time.Millisecond)
	again, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 10, Lease: rpw.MaxLease})
	require.NoError(t, err)
	require.Equal(t, []string{"1", "4"}, dataOf(again))
	assert.Equal(t, 2, again[0].Attempt)
	page, err := b.Pending(t.Context(), rpw.PendingRequest{Stream: "s", Group: "g"})
	require.NoError(t, err)
	var leased []bool
	for _, e := range page.Entries {
		leased = append(leased, e.Leased)
	}
	assert.Equal(t, []bool{true, true, false, true}, leased)
	b.settle(d[1:2], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(again, rpw.Settlement{Verdict: rpw.Ack})
	assert.EqualValues(t, 1, b.info().Pending)
}

func TestVerdictsAreRememberedOfTheNewest(t *testing.T) {
	b := newBus(t)
	b.group()
	var all []rpw.Delivery
	for range 24 {
		b.add(1, 500)
		ds := b.fetch(500)
		require.Len(t, ds, 500)
		b.settle(ds, rpw.Settlement{Verdict: rpw.Ack})
		all = append(all, ds...)
	}
	for from := len(all) - 10_000; from < len(all); from += 500 {
		b.settle(all[from:from+500], rpw.Settlement{Verdict: rpw.Ack})
	}
	m := b.bare("HLEN", b.keys.stream("s").side("gl:g"))
	lots, err := m.AsInt64()
	require.NoError(t, err)
	assert.LessOrEqual(t, lots, int64(22), "and the older ones are forgotten")
}

func TestRedrivenEventIsItself(t *testing.T) {
	b := newBus(t)
	b.group()
	_, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "a", Key: "the key", Data: []byte("x"), Header: map[string]string{"h": "v"}}}}})
	require.NoError(t, err)
	first := b.fetch(1)
	b.settle(first, rpw.Settlement{Verdict: rpw.Reject, Reason: "no"})
	answers, err := b.Administer(t.Context(), rpw.GroupCommands{Commands: []rpw.GroupCommand{{Stream: "s", Group: "g", Verb: rpw.Redrive}}})
	require.NoError(t, err)
	assert.EqualValues(t, 1, answers[0].Events)
	again := b.fetch(1)
	require.Len(t, again, 1)
	assert.Equal(t, first[0].Event, again[0].Event)
	assert.Equal(t, 1, again[0].Attempt)
}

func TestARedrivenEventIsNotDeliveredTwiceAfterAReset(t *testing.T) {
	b := newBus(t)
	b.group()
	b.add(1, 3)
	d := b.fetch(3)
	b.settle(d[1:2], rpw.Settlement{Verdict: rpw.Reject})
	for _, cmd := range []rpw.GroupCommand{{Verb: rpw.ResetGroup, From: rpw.Oldest()}, {Verb: rpw.Redrive}} {
		cmd.Stream, cmd.Group = "s", "g"
		answers, err := b.Administer(t.Context(), rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
	}
	again := b.fetch(10)
	assert.Equal(t, []string{"2", "1", "3"}, dataOf(again))
	b.settle(again, rpw.Settlement{Verdict: rpw.Ack})
	assert.Zero(t, b.info().Pending)
}

func TestAFetchHearsOfForeignEvents(t *testing.T) {
	b := newBus(t)
	b.group()
	b.add(1, 1)
	b.settle(b.fetch(1), rpw.Settlement{Verdict: rpw.Ack})
	fetched := make(chan []rpw.Delivery, 1)
	go func() {
		ds, _ := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: time.Minute})
		fetched <- ds
	}()
	b.awaitReader()
	b.bare("XADD", "%s", "*", "evt", "2")
	assert.Equal(t, texts(2, 2), dataOf(<-fetched))
}

// TestPageReadAheadKnowsWhatWasRemoved: a page of a group's backlog is read while the one before is leased; what is deleted then is not delivered.
func TestPageReadAheadKnowsWhatWasRemoved(t *testing.T) {
	b := newBus(t)
	at := b.add(1, 260)
	_, err := b.EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest()})
	require.NoError(t, err)
	fetch := func(most int) (got []string) {
		deliveries, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: most})
		require.NoError(t, err)
		for _, d := range deliveries {
			got = append(got, string(d.Data))
		}
		return got
	}
	read := func(events int) time.Time {
		next := b.cursors.byGroup[rpw.DeadLetter("s", "g")].next
		require.NotNil(t, next)
		<-next.done
		require.Equal(t, events, next.events())
		size := 0
		for _, e := range slices.Concat(next.left.events, next.page.events) {
			size += sizeOf(&e)
		}
		require.Equal(t, size, next.left.size+next.page.size)
		return next.page.read
	}
	require.Equal(t, texts(1, 20), fetch(20))
	require.Equal(t, texts(21, 40), fetch(20))
	read(20)
	require.Equal(t, texts(41, 60), fetch(20), "from the page that was read")
	began := read(80) // it is used at once, so more is read
	require.Equal(t, texts(61, 80), fetch(20))
	require.Equal(t, began, read(60), "what is left of it")
	require.Equal(t, texts(81, 83), fetch(3), "also few")
	require.Equal(t, began, read(57))
	require.Equal(t, texts(84, 113), fetch(30))
	require.Less(t, began, read(27+120), "what is left, and what follows that")
	require.Equal(t, texts(114, 153), fetch(40), "of both")
	read(107)
	_, err = b.DeleteEvents(t.Context(), "s", []rpw.ID{at[160].ID})
	require.NoError(t, err)
	assert.Equal(t, append(texts(154, 160), texts(162, 174)...), fetch(20))
	assert.Zero(t, b.cursors.nexts, "the page does not follow")
}

// TestIDsOfABatchAreSaidTogether: ids that follow one another are one text, as far as Lua can count.
func TestIDsOfABatchAreSaidTogether(t *testing.T) {
	b := newBus(t)
	b.group()
	ids := []string{"5-1", "5-2", "5-3", "6-3", "6-5", "7-9007199254740991", "7-9007199254740992", "7-9007199254740993", "7-18446744073709551615", "8-0"}
	var list idList
	for _, id := range ids {
		parsed, err := rpw.ParseID(id)
		require.NoError(t, err)
		list.add(parsed)
		b.bare("XADD", "%s", id, "evt", "1")
	}
	assert.Equal(t, "5-1+2 6-3 6-5 7-9007199254740991+1 7-9007199254740993 7-18446744073709551615 8-0", list.string())
	ds := b.fetch(len(ids))
	require.Len(t, ds, len(ids))
	b.settle(ds[1:2], rpw.Settlement{Verdict: rpw.Release}) // its lot is taken apart
	b.settle(ds[2:], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(ds[2:], rpw.Settlement{Verdict: rpw.Ack})
	assert.EqualValues(t, 2, b.info().Pending)
}
