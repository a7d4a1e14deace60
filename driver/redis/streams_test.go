package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// bus is the streams of one store, with bare commands beside it.
type bus struct {
	*streamBus
	t testing.TB
}

func newBus(t testing.TB) bus { return busOf(t, testStore(t)) }

func busOf(t testing.TB, s *store) bus { return bus{s.streams().(*streamBus), t} }

// bare does a command behind the driver's back. %s is the key of the stream s.
func (b bus) bare(args ...string) rueidis.RedisMessage {
	b.t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "%s", b.keys.stream("s").main)
	}
	m, err := b.client.Do(b.t.Context(), b.client.B().Arbitrary(args...).Build()).ToMessage()
	if !rueidis.IsRedisNil(err) {
		require.NoError(b.t, err)
	}
	return m
}

func (b bus) add(from, to int) (at []rpw.Position) {
	b.t.Helper()
	batch := rpw.Batch{Stream: "s"}
	for n := from; n <= to; n++ {
		batch.Events = append(batch.Events, rpw.NewEvent{Type: "t", Data: []byte(strconv.Itoa(n))})
	}
	answers, err := b.Publish(b.t.Context(), []rpw.Batch{batch})
	require.NoError(b.t, err)
	require.NoError(b.t, answers[0].Err)
	return answers[0].Positions
}

func (b bus) read(after rpw.Position) []string {
	b.t.Helper()
	events, err := b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: after})
	require.NoError(b.t, err)
	return data(events)
}

func data(events []rpw.Event) []string {
	texts := make([]string, len(events))
	for i := range events {
		texts[i] = string(events[i].Data)
	}
	return texts
}

func (b bus) gap(after rpw.Position) *rpw.GapError {
	b.t.Helper()
	_, err := b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: after})
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(b.t, ok, "no gap, but %v", err)
	events, err := b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: gap.Resume})
	require.NoError(b.t, err, "Resume leads on")
	if len(events) > 0 {
		_, err = b.Read(b.t.Context(), rpw.ReadRequest{Stream: "s", After: events[len(events)-1].Position()})
		require.NoError(b.t, err, "and from there")
	}
	return gap
}

func (b bus) locate(at rpw.Start) rpw.Position {
	b.t.Helper()
	p, err := b.Locate(b.t.Context(), "s", at)
	require.NoError(b.t, err)
	return p
}

func (b bus) group(change ...func(*rpw.GroupConfig)) rpw.GroupInfo {
	b.t.Helper()
	cfg := rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest()}
	for _, c := range change {
		c(&cfg)
	}
	info, err := b.EnsureGroup(b.t.Context(), cfg)
	require.NoError(b.t, err)
	return info
}

func (b bus) fetch(most int) []rpw.Delivery {
	b.t.Helper()
	ds, err := b.Fetch(b.t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: most})
	require.NoError(b.t, err)
	return ds
}

func (b bus) fetchGap() *rpw.GapError {
	b.t.Helper()
	_, err := b.Fetch(b.t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(b.t, ok, "no gap, but %v", err)
	return gap
}

func (b bus) settle(ds []rpw.Delivery, s rpw.Settlement) {
	b.t.Helper()
	req := rpw.SettleRequest{Stream: "s", Group: "g"}
	for _, d := range ds {
		s.Receipt = d.Receipt
		req.Settlements = append(req.Settlements, s)
	}
	errs, err := b.Settle(b.t.Context(), req)
	require.NoError(b.t, err)
	require.NoError(b.t, errors.Join(errs...))
}

func (b bus) info() rpw.GroupInfo {
	b.t.Helper()
	infos, err := b.Groups(b.t.Context(), "s")
	require.NoError(b.t, err)
	require.Len(b.t, infos, 1)
	return infos[0]
}

func dataOf(ds []rpw.Delivery) []string {
	texts := make([]string, len(ds))
	for i := range ds {
		texts[i] = string(ds[i].Data)
	}
	return texts
}

func texts(from, to int) []string {
	list := []string{}
	for n := from; n <= to; n++ {
		list = append(list, strconv.Itoa(n))
	}
	return list
}

func TestEntriesHaveTheFormOfTheOriginal(t *testing.T) {
	b := newBus(t)
	b.add(1, 1)
	entries, err := rueidisEntries(b.bare("XRANGE", "%s", "-", "+"))
	require.NoError(t, err)
	assert.Equal(t, []string{"t", "1", "rpw", "1"}, entries[0])
	b.bare("XADD", "%s", "*", "evt", `{"a":1}`)
	b.bare("XADD", "%s", "*", "evt", "2", "extra", "x")
	b.add(2, 2)
	events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.NoError(t, err)
	require.Equal(t, []string{"1", `{"a":1}`, "2", "2"}, data(events))
	assert.Equal(t, "evt", events[1].Type)
	assert.Equal(t, map[string]string{"extra": "x"}, events[2].Header)
	for i, e := range events {
		assert.EqualValues(t, i+1, e.Count)
		assert.Equal(t, data(events[i+1:]), b.read(e.Position()))
	}
	back, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s", Reverse: true})
	require.NoError(t, err)
	slices.Reverse(back)
	assert.Equal(t, data(events), data(back))
	info, err := b.StreamInfo(t.Context(), "s")
	require.NoError(t, err)
	assert.EqualValues(t, 4, info.Added)
}

func rueidisEntries(m rueidis.RedisMessage) (all [][]string, err error) {
	entries, err := m.ToArray()
	for _, e := range entries {
		parts, _ := e.ToArray()
		fields, _ := parts[1].AsStrSlice()
		all = append(all, fields)
	}
	return all, err
}

func TestAStreamOfOthersIsReadFromItsBeginning(t *testing.T) {
	b := newBus(t)
	for n := range 5 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	b.bare("XTRIM", "%s", "MAXLEN", "3")
	assert.Equal(t, texts(2, 4), b.read(rpw.Position{}))
	begin := b.locate(rpw.Oldest())
	assert.Equal(t, texts(2, 4), b.read(begin))
	b.bare("XADD", "%s", "*", "evt", "5")
	assert.Equal(t, texts(2, 5), b.read(begin))
	end := b.locate(rpw.Newest())
	assert.EqualValues(t, 6, end.Count)
	b.add(6, 6)
	assert.Equal(t, texts(6, 6), b.read(end))
	assert.Equal(t, texts(4, 6), b.read(b.locate(rpw.Last(3))))
}

// TestHistoryTakenByOthersIsAGap: F17, S5: others trim a stream and delete entries of it, below positions and at them.
func TestHistoryTakenByOthersIsAGap(t *testing.T) {
	b := newBus(t)
	begin := b.locate(rpw.Newest())
	at := b.add(1, 10)
	b.bare("XTRIM", "%s", "MAXLEN", "=", "4")
	for i, p := range append([]rpw.Position{begin}, at[:5]...) {
		gap := b.gap(p)
		assert.Equal(t, rpw.GapTrimmed, gap.Kind)
		assert.EqualValues(t, 6-i, gap.Missed)
		assert.Equal(t, texts(7, 10), b.read(gap.Resume))
	}
	for i, p := range at[5:] {
		assert.Equal(t, texts(7+i, 10), b.read(p), "no false alarm")
	}
	b.add(11, 13)
	_, err := b.DeleteEvents(t.Context(), "s", []rpw.ID{at[6].ID, at[8].ID})
	require.NoError(t, err)
	assert.Equal(t, []string{"8", "10", "11", "12", "13"}, b.read(at[6]), "an edit among them")
	b.bare("XDEL", "%s", at[7].ID.String())
	assert.Equal(t, []string{"10", "11", "12", "13"}, b.read(at[8]), "by others, too")
	b.bare("XTRIM", "%s", "MAXLEN", "=", "1")
	assert.Equal(t, rpw.GapTrimmed, b.gap(at[9]).Kind)
	assert.Equal(t, rpw.GapPossible, b.gap(at[6]).Kind, "trimmed or edited: it cannot be told")
}

func TestAnEmptiedStreamIsAGap(t *testing.T) {
	b := newBus(t)
	at := b.add(1, 3)
	b.bare("XTRIM", "%s", "MAXLEN", "=", "0")
	assert.EqualValues(t, 1, b.gap(at[1]).Missed)
	assert.Empty(t, b.read(at[2]))
	b.add(4, 4)
	assert.Equal(t, texts(4, 4), b.read(at[2]))
	assert.Equal(t, texts(4, 4), b.read(b.gap(at[0]).Resume))
}

// TestAStreamDeletedByOthersIsAnotherHistory: F18, S5: others delete a stream and make it anew.
func TestAStreamDeletedByOthersIsAnotherHistory(t *testing.T) {
	b := newBus(t)
	begin := b.locate(rpw.Newest())
	at := b.add(1, 3)
	b.group()
	b.settle(b.fetch(1), rpw.Settlement{Verdict: rpw.Ack})
	b.bare("DEL", "%s")
	assert.Equal(t, rpw.GapReset, b.gap(at[2]).Kind)
	for n := range 2 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	for _, p := range append(at, begin) {
		gap := b.gap(p)
		assert.Equal(t, rpw.GapReset, gap.Kind)
		assert.Equal(t, texts(0, 1), b.read(gap.Resume))
	}
	assert.Equal(t, rpw.GapReset, b.fetchGap().Kind)
	assert.Equal(t, texts(0, 1), dataOf(b.fetch(5)))

	// As many entries as there had been, and more, before anybody looks.
	at = b.add(2, 4)
	time.Sleep(2 * time.Millisecond) // or the new ids could be the old ones
	b.bare("DEL", "%s")
	for n := range 10 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	for _, p := range at {
		assert.Equal(t, rpw.GapReset, b.gap(p).Kind)
	}

	// And who had read nothing of it yet.
	b.bare("DEL", "%s")
	begin = b.locate(rpw.Newest())
	require.Zero(t, begin.Count)
	b.add(1, 3)
	time.Sleep(2 * time.Millisecond)
	b.bare("DEL", "%s")
	for n := range 5 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	assert.Equal(t, rpw.GapReset, b.gap(begin).Kind)
}

// TestARestoredOlderCopyIsAnotherHistory: F18, S5: the keys of a stream are replaced by an older copy of them.
func TestARestoredOlderCopyIsAnotherHistory(t *testing.T) {
	server := redistest.Start(t)
	b := busOf(t, storeOn(t, server, "p"))
	dump := func() (restore func()) {
		list := b.bare("KEYS", "*")
		keys, err := list.AsStrSlice()
		require.NoError(t, err)
		saved := make(map[string]string)
		for _, key := range keys {
			m := b.bare("DUMP", key)
			saved[key], err = m.ToString()
			require.NoError(t, err)
		}
		return func() {
			b.bare("FLUSHALL")
			for key, value := range saved {
				b.bare("RESTORE", key, "0", value)
			}
		}
	}
	b.group()
	at := b.add(1, 3)
	restore := dump()
	ahead := b.add(4, 6)
	b.settle(b.fetch(6), rpw.Settlement{Verdict: rpw.Ack})
	restore()
	for _, p := range ahead {
		assert.Equal(t, rpw.GapReset, b.gap(p).Kind, "ahead of the restored copy")
	}
	assert.Empty(t, b.read(at[2]), "what is still there goes on")
	again := b.add(7, 11) // past the counts of those who were ahead
	for _, p := range ahead {
		assert.Equal(t, rpw.GapReset, b.gap(p).Kind, "its event is none of this history")
	}
	assert.Equal(t, texts(7, 11), b.read(at[2]))
	_, err := b.DeleteEvents(t.Context(), "s", []rpw.ID{again[2].ID})
	require.NoError(t, err)
	assert.Equal(t, rpw.GapReset, b.gap(ahead[1]).Kind, "though events were edited")
	assert.Equal(t, texts(1, 3), dataOf(b.fetch(3)), "the group is as old as the copy")
}

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

// fetchGap2 is a gap that comes with or after the next deliveries.
func (b bus) fetchGap2(t *testing.T) *rpw.GapError {
	ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
	if err == nil {
		b.settle(ds, rpw.Settlement{Verdict: rpw.Release})
		return b.fetchGap()
	}
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(t, ok, "%v", err)
	return gap
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

func TestRetentionByAgeHoldsWithoutAPublish(t *testing.T) {
	b := newBus(t)
	batch := rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Data: []byte("1")}}, Keep: rpw.Retention{Age: 50 * time.Millisecond}}
	answers, err := b.Publish(t.Context(), []rpw.Batch{batch})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err)
	begin := b.locate(rpw.Oldest())
	assert.Equal(t, texts(1, 1), b.read(begin))
	time.Sleep(60 * time.Millisecond)
	assert.Empty(t, b.read(rpw.Position{}))
	assert.EqualValues(t, 1, b.gap(begin).Missed)
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
	again := b.fetch(10)
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

func TestKeysAndProducersBelongToAHistory(t *testing.T) {
	b := newBus(t)
	batch := rpw.Batch{Stream: "s", Producer: rpw.Producer{ID: [16]byte{0, '\n', ' ', 255}, Seq: math.MaxUint64 - 1}, Events: []rpw.NewEvent{{Type: "t", Key: "k"}}}
	publish := func() rpw.Position {
		answers, err := b.Publish(t.Context(), []rpw.Batch{batch})
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
		return answers[0].Last()
	}
	first := publish()
	assert.Equal(t, first, publish())
	batch.Producer.Seq++
	assert.Equal(t, first, publish(), "the key is stored")
	b.bare("DEL", "%s")
	assert.NotEqual(t, first.Epoch, publish().Epoch)
}

// TestAFullServerRefusesWholeAndLetsFinish: F23, S2, G2: the memory of the server is full.
func TestAFullServerRefusesWholeAndLetsFinish(t *testing.T) {
	server := redistest.Start(t)
	b := busOf(t, storeOn(t, server, "p"))
	b.group()
	b.add(1, 300)
	ds := b.fetch(10)
	server.CLI(t, "CONFIG", "SET", "maxmemory", "1")
	answers, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t"}}}})
	if err == nil {
		err = answers[0].Err
	}
	require.ErrorIs(t, err, rpw.ErrFull)
	b.settle(ds[:5], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(ds[5:6], rpw.Settlement{Verdict: rpw.Reject})
	b.settle(ds[6:], rpw.Settlement{Verdict: rpw.Extend})
	assert.Equal(t, texts(11, 12), dataOf(b.fetch(2)))
	n, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 100})
	require.NoError(t, err)
	assert.EqualValues(t, 200, n)
	server.CLI(t, "CONFIG", "SET", "maxmemory", "0")
	assert.EqualValues(t, 301, b.add(301, 301)[0].Count, "nothing was done")
}

func TestWrongTypeIsAConflict(t *testing.T) {
	b := newBus(t)
	b.bare("SET", "%s", "x")
	_, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t"}}}})
	require.ErrorIs(t, err, rpw.ErrConflict)
	_, err = b.Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.ErrorIs(t, err, rpw.ErrConflict)
	_, err = b.Locate(t.Context(), "s", rpw.Newest())
	require.ErrorIs(t, err, rpw.ErrConflict)
}

// TestIdleWaitsAskNothing protects S8: readers and fetches that wait, ten thousand of them, send no command and share a handful of connections.
func TestIdleWaitsAskNothing(t *testing.T) {
	server := redistest.Start(t)
	parts, err := New(t.Context(), dial(t, server), Options{Prefix: "p", IgnoreForeign: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, parts.Close(context.Background())) }()
	b := bus{parts.Streams.(*streamBus), t}
	b.group()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	const readers = 5000              // and as many in a group
	wait := func(call func() error) { // repeated as the Hub does: that so many begin at once is too much for a busy machine
		err := call()
		for errors.Is(err, rpw.ErrUnavailable) || errors.Is(err, rpw.ErrUncertain) && ctx.Err() == nil {
			err = call()
		}
		done <- err
	}
	for n := range readers {
		go wait(func() error {
			_, err := b.Read(ctx, rpw.ReadRequest{Stream: fmt.Sprint("s", n), Wait: rpw.Forever})
			return err
		})
		go wait(func() error {
			_, err := b.Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: fmt.Sprint("c", n), Wait: rpw.Forever})
			return err
		})
	}
	commands := func() string {
		stats := fmt.Sprint(server.CLI(t, "INFO", "stats"))
		_, rest, _ := strings.Cut(stats, "total_commands_processed:")
		n, _, _ := strings.Cut(rest, "\r")
		return n
	}
	var before string
	require.Eventually(t, func() bool {
		last := before
		before = commands()
		x, _ := strconv.Atoi(last)
		y, _ := strconv.Atoi(before)
		return y-x == 1
	}, 30*time.Second, 300*time.Millisecond, "they come to rest")
	clients := fmt.Sprint(server.CLI(t, "CLIENT", "LIST"))
	assert.LessOrEqual(t, strings.Count(clients, "id="), 10)
	cancel()
	for range 2 * readers {
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

func TestAFetchHearsOfForeignEvents(t *testing.T) {
	b := newBus(t)
	b.group()
	b.add(1, 1)
	b.settle(b.fetch(1), rpw.Settlement{Verdict: rpw.Ack})
	fetched := make(chan []rpw.Delivery, 1)
	go func() {
		ds, _ := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: 5 * time.Second})
		fetched <- ds
	}()
	time.Sleep(50 * time.Millisecond)
	b.bare("XADD", "%s", "*", "evt", "2")
	assert.Equal(t, texts(2, 2), dataOf(<-fetched))
}

func TestTheOriginalsLayout(t *testing.T) {
	client := dial(t, shared.Server(t))
	prefix := "o" + strconv.FormatInt(prefixes.Add(1), 10)
	parts, err := New(t.Context(), client, Options{Prefix: prefix, Original: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, parts.Close(context.Background())) }()
	b := bus{parts.Streams.(*streamBus), t}
	publish := func(events ...rpw.NewEvent) error {
		answers, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: events}})
		require.NoError(t, err)
		return answers[0].Err
	}
	require.ErrorIs(t, publish(rpw.NewEvent{Type: "t", Data: []byte("{broken")}), rpw.ErrInvalid)
	require.ErrorIs(t, publish(rpw.NewEvent{Type: "complete", Data: []byte("1")}), rpw.ErrInvalid)
	require.NoError(t, publish(rpw.NewEvent{Type: "t", Data: []byte("1")}, rpw.NewEvent{Type: "t"}))
	b.bare("XADD", prefix+":s", "*", "t", "2")
	assert.Equal(t, []string{"1", "", "2"}, b.read(rpw.Position{}))
	info, err := b.StreamInfo(t.Context(), "s")
	require.NoError(t, err)
	assert.EqualValues(t, rpw.Unlimited, info.Keep.Events, "retention is off unless asked for")
	page, err := b.Streams(t.Context(), rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"s"}, page.Names)
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
	require.Eventually(t, func() bool { // he is subscribed
		b.waker.mu.Lock()
		defer b.waker.mu.Unlock()
		to := b.waker.topics[b.channelOf("s")]
		return to != nil && to.subscribed
	}, 10*time.Second, time.Millisecond)
	b.add(2, 501)
	require.Equal(t, texts(2, 501), <-waits)
	before := ranges()
	end := b.add(502, 900)
	end = append(end, b.add(901, 1000)...)
	require.Equal(t, texts(502, 1000), read(499))
	assert.Equal(t, before+2, ranges(), "each publish has looked whether something follows, and the reader has not")
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

// TestPageReadAheadKnowsWhatWasRemoved: a page of a group's backlog is read while the one before is leased; what is deleted then is not delivered.
func TestPageReadAheadKnowsWhatWasRemoved(t *testing.T) {
	b := newBus(t)
	at := b.add(1, 160)
	_, err := b.EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest()})
	require.NoError(t, err)
	fetch := func() (got []string) {
		deliveries, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 20})
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
		require.Len(t, next.page.events, events)
		size := 0
		for i := range next.page.events {
			size += sizeOf(&next.page.events[i])
		}
		require.Equal(t, size, next.page.size)
		return next.read
	}
	require.Equal(t, texts(1, 20), fetch())
	require.Equal(t, texts(21, 40), fetch())
	read(20)
	require.Equal(t, texts(41, 60), fetch(), "from the page that was read")
	began := read(80) // it is used at once, so more is read
	require.Equal(t, texts(61, 80), fetch())
	require.Equal(t, began, read(60), "what is left of it")
	_, err = b.DeleteEvents(t.Context(), "s", []rpw.ID{at[85].ID})
	require.NoError(t, err)
	assert.Equal(t, append(texts(81, 85), texts(87, 101)...), fetch())
	assert.Zero(t, b.cursors.nexts, "the page does not follow")
}
