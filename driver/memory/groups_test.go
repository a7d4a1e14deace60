package memory

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

func (b bus) group(cfg rpw.GroupConfig) rpw.GroupInfo {
	cfg.Stream, cfg.Group = "s", "g"
	info, err := b.EnsureGroup(context.Background(), cfg)
	require.NoError(b.t, err)
	return info
}

func (b bus) info() rpw.GroupInfo {
	infos, err := b.Groups(context.Background(), "s")
	require.NoError(b.t, err)
	require.Len(b.t, infos, 1)
	return infos[0]
}

func (b bus) fetch(req rpw.FetchRequest) []rpw.Delivery {
	deliveries, err := b.tryFetch(req)
	require.NoError(b.t, err)
	return deliveries
}

func (b bus) tryFetch(req rpw.FetchRequest) ([]rpw.Delivery, error) {
	req.Stream, req.Group = "s", "g"
	if req.Consumer == "" {
		req.Consumer = "c"
	}
	return b.Fetch(context.Background(), req)
}

func (b bus) fetchGap(req rpw.FetchRequest) *rpw.GapError {
	_, err := b.tryFetch(req)
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(b.t, ok, "no gap but %v", err)
	return gap
}

func (b bus) settle(d rpw.Delivery, s rpw.Settlement) error {
	s.Receipt = d.Receipt
	errs, err := b.Settle(context.Background(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{s}})
	require.NoError(b.t, err)
	require.Len(b.t, errs, 1)
	return errs[0]
}

func (b bus) ok(d rpw.Delivery, s rpw.Settlement) { require.NoError(b.t, b.settle(d, s)) }

func (b bus) administer(cmd rpw.GroupCommand) int64 {
	cmd.Stream, cmd.Group = "s", "g"
	answers, err := b.Administer(context.Background(), rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
	require.NoError(b.t, err)
	require.NoError(b.t, answers[0].Err)
	return answers[0].Events
}

func (b bus) deadLetters() []rpw.Event {
	return b.read(rpw.ReadRequest{Stream: rpw.DeadLetter("s", "g")})
}

func fetchedIDs(deliveries []rpw.Delivery) (ids []rpw.ID) {
	for _, d := range deliveries {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestRedeliveryComesFirstAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{})
		b.add("s", 5)
		first := b.fetch(rpw.FetchRequest{Max: 4})
		require.Len(t, first, 4)
		b.ok(first[3], rpw.Settlement{Verdict: rpw.Nack})
		b.ok(first[1], rpw.Settlement{Verdict: rpw.Release})
		b.ok(first[0], rpw.Settlement{Verdict: rpw.Nack, Delay: time.Minute})
		b.ok(first[2], rpw.Settlement{Verdict: rpw.Ack})

		again := b.fetch(rpw.FetchRequest{Consumer: "other", Max: 10})
		require.Len(t, again, 3)
		assert.Equal(t, []uint64{2, 4, 5}, []uint64{again[0].Count, again[1].Count, again[2].Count})
		assert.Equal(t, []int{1, 2, 1}, []int{again[0].Attempt, again[1].Attempt, again[2].Attempt})
		for i, d := range again[1:] {
			assert.Greater(t, d.Receipt.Token, again[i].Receipt.Token)
		}
		time.Sleep(time.Minute - 1)
		b.administer(rpw.GroupCommand{Verb: rpw.RemoveConsumer, Consumer: "nobody"})
		assert.Equal(t, fetchedIDs(again), fetchedIDs(b.fetch(rpw.FetchRequest{Max: 10})), "leases have lapsed, the delay has not passed")
		time.Sleep(1 * time.Nanosecond)
		assert.Equal(t, fetchedIDs(first[:1]), fetchedIDs(b.fetch(rpw.FetchRequest{Max: 10})))
	})
}

func TestALapsedLeaseIsGoodUntilSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{Lease: time.Second})
		b.add("s", 3)
		d := b.fetch(rpw.FetchRequest{Max: 3})
		time.Sleep(2 * time.Second)
		b.ok(d[0], rpw.Settlement{Verdict: rpw.Ack})
		b.ok(d[1], rpw.Settlement{Verdict: rpw.Extend, Delay: time.Minute})
		again := b.fetch(rpw.FetchRequest{Max: 3, Consumer: "other"})
		require.Equal(t, fetchedIDs(d[2:]), fetchedIDs(again))
		for _, verdict := range []rpw.Verdict{rpw.Ack, rpw.Nack, rpw.Extend, rpw.Reject, rpw.Release} {
			assert.ErrorIs(t, b.settle(d[2], rpw.Settlement{Verdict: verdict}), rpw.ErrLeaseLost)
		}
		b.ok(again[0], rpw.Settlement{Verdict: rpw.Ack})
		b.ok(again[0], rpw.Settlement{Verdict: rpw.Ack}) // a repeat
		assert.ErrorIs(t, b.settle(again[0], rpw.Settlement{Verdict: rpw.Nack}), rpw.ErrLeaseLost)
		time.Sleep(time.Hour)
		b.ok(d[1], rpw.Settlement{Verdict: rpw.Ack})
		assert.Zero(t, b.info().Pending)
	})
}

func TestDeadLettersCarryTheirStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{MaxDeliveries: 2, Lease: time.Second})
		b.publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{
			{Type: "nacked", Header: map[string]string{"trace": "1"}}, {Type: "crashed"}, {Type: "rejected"}, {Type: "crashed after nack"},
		}})
		d := b.fetch(rpw.FetchRequest{Max: 4})
		b.ok(d[0], rpw.Settlement{Verdict: rpw.Nack, Reason: "first"})
		b.ok(d[2], rpw.Settlement{Verdict: rpw.Reject, Reason: "poison"})
		b.ok(d[3], rpw.Settlement{Verdict: rpw.Nack, Reason: "first"})
		require.Len(t, b.deadLetters(), 1)
		time.Sleep(time.Second)
		again := b.fetch(rpw.FetchRequest{Max: 4, Consumer: "second"})
		require.Len(t, again, 3)
		b.ok(again[0], rpw.Settlement{Verdict: rpw.Nack, Reason: "last"})
		time.Sleep(time.Second)
		assert.Empty(t, b.fetch(rpw.FetchRequest{Max: 4}))

		dead := b.deadLetters()
		require.Len(t, dead, 4)
		story := func(e rpw.Event) []string {
			return []string{e.Type, e.Header[rpw.HeaderDeadReason], e.Header[rpw.HeaderDeadAttempts], e.Header[rpw.HeaderDeadConsumer], e.Header[rpw.HeaderDeadID]}
		}
		assert.Equal(t, []string{"rejected", "poison", "1", "c", d[2].ID.String()}, story(dead[0]))
		assert.Equal(t, []string{"nacked", "last", "2", "second", d[0].ID.String()}, story(dead[1]))
		assert.ElementsMatch(t, [][]string{
			{"crashed", "max deliveries", "2", "second", d[1].ID.String()},
			{"crashed after nack", "max deliveries", "2", "second", d[3].ID.String()},
		}, [][]string{story(dead[2]), story(dead[3])})
		assert.Equal(t, "1", dead[1].Header["trace"])
		assert.Equal(t, map[string]string{"trace": "1"}, d[0].Header, "the original was changed")
		info := b.info()
		assert.EqualValues(t, 4, info.DeadLetters)
		assert.Zero(t, info.Pending)

		assert.EqualValues(t, 1, b.administer(rpw.GroupCommand{Verb: rpw.Redrive, IDs: []rpw.ID{dead[1].ID, {MS: 1}}}))
		back := b.fetch(rpw.FetchRequest{})
		require.Len(t, back, 1)
		assert.Equal(t, d[0].Event, back[0].Event)
		assert.Equal(t, 1, back[0].Attempt)
		assert.EqualValues(t, 3, b.administer(rpw.GroupCommand{Verb: rpw.Redrive}))
		assert.Empty(t, b.deadLetters())
		assert.Len(t, b.fetch(rpw.FetchRequest{Max: 10}), 3)
		assert.Len(t, b.read(rpw.ReadRequest{Stream: "s"}), 4, "a subscriber saw a redriven event")
	})
}

func TestARedrivenEventIsNotDeliveredTwiceAfterAReset(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.add("s", 3)
	d := b.fetch(rpw.FetchRequest{Max: 3})
	b.ok(d[1], rpw.Settlement{Verdict: rpw.Reject})
	assert.EqualValues(t, 2, b.administer(rpw.GroupCommand{Verb: rpw.ResetGroup, From: rpw.Oldest()}))
	b.administer(rpw.GroupCommand{Verb: rpw.Redrive})
	again := b.fetch(rpw.FetchRequest{Max: 10})
	assert.Equal(t, []uint64{2, 1, 3}, []uint64{again[0].Count, again[1].Count, again[2].Count})
	assert.Len(t, again, 3)
	assert.ErrorIs(t, b.settle(d[0], rpw.Settlement{Verdict: rpw.Ack}), rpw.ErrLeaseLost)
	for _, d := range again {
		b.ok(d, rpw.Settlement{Verdict: rpw.Ack})
	}
	require.NoError(t, b.DeleteStream(t.Context(), "s"))
	assert.Zero(t, b.store.Used())
}

// TestTrimmingLosesNothingThatIsPending: F17, G1: a stream is trimmed below what is pending.
func TestTrimmingLosesNothingThatIsPending(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.add("s", 3)
	d := b.fetch(rpw.FetchRequest{Max: 2})
	held := b.store.Used()
	_, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 1})
	require.NoError(t, err)
	assert.Equal(t, held, b.store.Used(), "the bytes are still held by the group")
	_, err = b.DeleteEvents(t.Context(), "s", []rpw.ID{d[0].ID})
	require.NoError(t, err)
	b.ok(d[0], rpw.Settlement{Verdict: rpw.Nack})
	again := b.fetch(rpw.FetchRequest{})
	assert.Equal(t, d[0].Event, again[0].Event)
	b.ok(again[0], rpw.Settlement{Verdict: rpw.Ack})
	b.ok(d[1], rpw.Settlement{Verdict: rpw.Ack})
	assert.Equal(t, held/3, b.store.Used())
}

// TestTheLastGroupGivesTheBytesBack: groups hold events of which the stream trims some, deletes others and moves the rest.
func TestTheLastGroupGivesTheBytesBack(t *testing.T) {
	b := newBus(t)
	const n, one = 4 * fewTombstones, eventOverhead + 5
	groups := []string{"g", "h", "i"}
	receipts := make([][]rpw.Delivery, len(groups))
	for _, group := range groups {
		_, err := b.EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: group})
		require.NoError(t, err)
	}
	ids := make([]rpw.ID, 0, n)
	for _, p := range b.add("s", n) {
		ids = append(ids, p.ID)
	}
	for i, group := range groups {
		for len(receipts[i]) < n {
			d, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: group, Consumer: "c", Max: rpw.MaxPage})
			require.NoError(t, err)
			receipts[i] = append(receipts[i], d...)
		}
	}
	_, err := b.Trim(t.Context(), "s", rpw.Retention{Events: n - 10})
	require.NoError(t, err)
	_, err = b.DeleteEvents(t.Context(), "s", ids[20:n-10])
	require.NoError(t, err)
	require.Less(t, b.find("s").events.len(), n/2, "the tombstones are still there")
	for i, group := range groups {
		require.EqualValues(t, n*one, b.store.Used(), "the bytes are still held by a group")
		settlements := make([]rpw.Settlement, n)
		for j, d := range receipts[i] {
			settlements[j] = rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Ack}
		}
		errs, err := b.Settle(t.Context(), rpw.SettleRequest{Stream: "s", Group: group, Settlements: settlements})
		require.NoError(t, err)
		require.NoError(t, errors.Join(errs...))
	}
	assert.EqualValues(t, 20*one, b.store.Used(), "what the stream still has: ten after the trimmed, ten before the end")
	assert.Empty(t, b.find("s").orphans)
}

func TestEachKnownConsumerIsToldOfAGapOnce(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.fetch(rpw.FetchRequest{Consumer: "a"})
	b.fetch(rpw.FetchRequest{Consumer: "b"})
	b.add("s", 10)
	_, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 4})
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		gap := b.fetchGap(rpw.FetchRequest{Consumer: name})
		assert.Equal(t, rpw.GapTrimmed, gap.Kind)
		assert.Equal(t, "g", gap.Group)
		assert.EqualValues(t, 6, gap.Missed)
		if name == "a" { // another gap before b hears of the first: told as one
			_, err = b.Trim(t.Context(), "s", rpw.Retention{Events: 2})
			require.NoError(t, err)
			gap := b.fetchGap(rpw.FetchRequest{Consumer: "a"})
			assert.EqualValues(t, 2, gap.Missed)
			joined := b.fetchGap(rpw.FetchRequest{Consumer: "b"})
			assert.EqualValues(t, 8, joined.Missed)
			assert.Zero(t, joined.After.Count)
			break
		}
	}
	assert.Len(t, b.fetch(rpw.FetchRequest{Consumer: "late"}), 1)
	assert.Len(t, b.fetch(rpw.FetchRequest{Consumer: "a"}), 1)
}

func TestARecreatedGroupOutranksTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes in between
		b := newBus(t)
		old := b.group(rpw.GroupConfig{From: rpw.Oldest()})
		b.add("s", 100)
		d := b.fetch(rpw.FetchRequest{Max: 100})
		last := d[99].Receipt
		for name, end := range map[string]func(){
			"group":  func() { b.administer(rpw.GroupCommand{Verb: rpw.DeleteGroup}) },
			"stream": func() { require.NoError(t, b.DeleteStream(t.Context(), "s")) },
			"store":  func() { b.store.Flush() },
		} {
			end()
			_, err := b.tryFetch(rpw.FetchRequest{})
			require.ErrorIs(t, err, rpw.ErrNotFound, name)
			_, err = b.Settle(t.Context(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: last, Verdict: rpw.Ack}}})
			require.ErrorIs(t, err, rpw.ErrNotFound, name)

			info := b.group(rpw.GroupConfig{From: rpw.Oldest()})
			assert.Greater(t, info.Incarnation, old.Incarnation, name)
			b.add("s", 1)
			for range 2 {
				gap := b.fetchGap(rpw.FetchRequest{Incarnation: old.Incarnation})
				assert.Equal(t, rpw.GapReset, gap.Kind, name)
			}
			d := b.fetch(rpw.FetchRequest{Incarnation: info.Incarnation})
			require.Len(t, d, 1, name)
			assert.Greater(t, d[0].Receipt.Token, last.Token, name)
			old, last = info, d[0].Receipt
		}
	})
}

// TestIdleConsumersAreForgotten: F46, G6: consumers that come once.
func TestIdleConsumersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{})
		b.add("s", 1)
		b.fetch(rpw.FetchRequest{Consumer: "holds"})
		for i := range 1000 {
			b.fetch(rpw.FetchRequest{Consumer: fmt.Sprint(i)})
		}
		waits := make(chan []rpw.Delivery)
		go func() { waits <- b.fetch(rpw.FetchRequest{Consumer: "waits", Wait: rpw.Forever, Incarnation: 0}) }()
		synctest.Wait()
		time.Sleep(time.Second)
		assert.Len(t, b.info().Consumers, 1002)
		assert.Len(t, <-waits, 1) // the lease of the other has lapsed
		time.Sleep(2 * time.Hour)
		b.fetch(rpw.FetchRequest{Consumer: "new"})
		info := b.info()
		require.Len(t, info.Consumers, 1)
		assert.Equal(t, "new", info.Consumers[0].Name)
		assert.EqualValues(t, 1, info.Consumers[0].Pending)
		time.Sleep(sweepEvery)
		b.fetch(rpw.FetchRequest{Consumer: "new"})
		assert.Len(t, b.find("s").groups["g"].consumers, 1)
	})
}

func TestARemovedConsumerLosesNothing(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.add("s", 3)
	d := b.fetch(rpw.FetchRequest{Consumer: "gone", Max: 3})
	b.ok(d[1], rpw.Settlement{Verdict: rpw.Nack, Delay: time.Hour})
	assert.EqualValues(t, 3, b.administer(rpw.GroupCommand{Verb: rpw.RemoveConsumer, Consumer: "gone"}))
	assert.Empty(t, b.info().Consumers)
	assert.Equal(t, fetchedIDs(d), fetchedIDs(b.fetch(rpw.FetchRequest{Consumer: "new", Max: 3})))
	assert.EqualValues(t, 3, b.info().Consumers[0].Pending)
}

func TestPendingComesInPages(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.add("s", 20)
	b.fetch(rpw.FetchRequest{Consumer: "a", Max: 10})
	d := b.fetch(rpw.FetchRequest{Consumer: "b", Max: 10})
	b.ok(d[0], rpw.Settlement{Verdict: rpw.Nack, Delay: time.Hour, Reason: "why"})
	var got []rpw.PendingEntry
	req := rpw.PendingRequest{Stream: "s", Group: "g", Consumer: "b", Max: 3}
	for pages := 1; ; pages++ {
		page, err := b.Pending(t.Context(), req)
		require.NoError(t, err)
		got = append(got, page.Entries...)
		if req.After = page.Next; page.Next.IsZero() {
			assert.Equal(t, 4, pages)
			break
		}
	}
	require.Len(t, got, 10)
	assert.Equal(t, rpw.PendingEntry{ID: d[0].ID, Consumer: "b", Attempt: 1, Until: got[0].Until, Reason: "why"}, got[0])
	assert.True(t, got[1].Leased)
}

// TestGroupAgainstModel replays random verbs, and holds the group to what must be true whatever happens: every
// event is delivered until it is settled, by one holder at a time, and all accounts agree.
func TestGroupAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const lease, maxDeliveries = 10 * time.Second, 3
		b := newBus(rt)
		now := time.Now()
		st := b.lock("s")
		defer st.mu.Unlock()
		g := newGroup(st, rpw.GroupConfig{Stream: "s", Group: "g", Lease: lease, MaxDeliveries: maxDeliveries}, now)
		st.groups = map[string]*group{"g": g}
		type held struct {
			rpw.Delivery
			settled bool
		}
		newest := map[rpw.ID]*held{} // the newest delivery of each event
		var receipts []*held
		published, acked, delivered := 0, 0, map[rpw.ID]int{}
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				n := rapid.IntRange(1, 5).Draw(t, "n")
				published += n
				batch := rpw.Batch{Stream: "s", Events: make([]rpw.NewEvent, n)}
				require.NoError(t, st.publish(&batch, make([]rpw.Position, n), now))
			},
			"fetch": func(t *rapid.T) {
				req := rpw.FetchRequest{Consumer: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "consumer"), Max: rapid.IntRange(1, 7).Draw(t, "max")}
				answer := g.fetch(&req, now)
				require.Nil(t, answer.gap)
				for _, d := range answer.deliveries {
					if last := newest[d.ID]; last != nil {
						require.False(t, last.Until.After(now), "leased to two")
						require.Greater(t, d.Receipt.Token, last.Receipt.Token)
					}
					delivered[d.ID]++
					require.Equal(t, delivered[d.ID], d.Attempt)
					require.LessOrEqual(t, d.Attempt, maxDeliveries)
					h := &held{Delivery: d}
					newest[d.ID] = h
					receipts = append(receipts, h)
				}
			},
			"settle": func(t *rapid.T) {
				if len(receipts) == 0 {
					t.Skip("nothing was delivered")
				}
				h := rapid.SampledFrom(receipts).Draw(t, "receipt")
				verdict := rapid.SampledFrom([]rpw.Verdict{rpw.Ack, rpw.Nack, rpw.Extend, rpw.Release}).Draw(t, "verdict")
				known := h.settled
				stands := newest[h.ID] == h && g.pending.find(h.ID) != nil && !known
				err := g.settle(&rpw.Settlement{Receipt: h.Receipt, Verdict: verdict}, now)
				if !stands {
					if !known {
						require.ErrorIs(t, err, rpw.ErrLeaseLost)
					}
					return
				}
				require.NoError(t, err)
				switch verdict {
				case rpw.Extend:
					h.Until = now.Add(lease)
					return
				case rpw.Ack:
					acked++
				case rpw.Release:
					delivered[h.ID]--
				}
				h.settled, h.Until = true, now
			},
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 15).Draw(t, "s")) * time.Second)
			},
			"": func(t *rapid.T) {
				info := g.info(now, 0)
				dead := 0
				if st := b.find(rpw.DeadLetter("s", "g")); st != nil {
					dead = int(st.live)
				}
				require.EqualValues(t, published, info.Lag+info.Pending+int64(acked)+int64(dead))
				require.Equal(t, g.pending.len(), g.due.len()+g.ready.len())
				perConsumer := int64(0)
				for _, c := range info.Consumers {
					perConsumer += c.Pending
				}
				require.Equal(t, info.Pending, perConsumer)
			},
		})
	})
}
