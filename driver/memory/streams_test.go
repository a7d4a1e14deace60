package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// bus is the shorthand of these tests: every call must succeed unless the test says otherwise.
type bus struct {
	t require.TestingT
	*streamStore
}

func newBus(t require.TestingT) bus { return bus{t, New(Options{}).streams} }

// add publishes n events and returns their positions.
func (b bus) add(stream string, n int) []rpw.Position {
	return b.publish(rpw.Batch{Stream: stream, Events: slices.Repeat([]rpw.NewEvent{{Type: "e", Data: []byte("data")}}, n)})
}

func (b bus) publish(batch rpw.Batch) []rpw.Position {
	answers, err := b.Publish(context.Background(), []rpw.Batch{batch})
	require.NoError(b.t, err)
	require.Len(b.t, answers, 1)
	require.NoError(b.t, answers[0].Err)
	require.Len(b.t, answers[0].Positions, len(batch.Events))
	return answers[0].Positions
}

func (b bus) locate(stream string, at rpw.Start) rpw.Position {
	p, err := b.Locate(context.Background(), stream, at)
	require.NoError(b.t, err)
	return p
}

func (b bus) read(req rpw.ReadRequest) []rpw.Event {
	events, err := b.Read(context.Background(), req)
	require.NoError(b.t, err)
	return events
}

func (b bus) gap(req rpw.ReadRequest) *rpw.GapError {
	events, err := b.Read(context.Background(), req)
	require.Empty(b.t, events)
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(b.t, ok, "no gap but %v", err)
	return gap
}

func counts(events []rpw.Event) (all []uint64) {
	for _, e := range events {
		all = append(all, e.Count)
	}
	return all
}

// TestStreamAgainstModel replays random edits of a stream, and compares reads from every place with a naive model
// that knows the fate of each event.
func TestStreamAgainstModel(t *testing.T) {
	type fate struct {
		at              rpw.Position
		trimmed, edited bool
	}
	rapid.Check(t, func(t *rapid.T) {
		b := newBus(t)
		base := b.locate("s", rpw.Oldest())
		all := []fate{{at: base, edited: true}} // the beginning, which is no event
		live := func() (n int) {
			for _, f := range all {
				if !f.trimmed && !f.edited {
					n++
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				for _, p := range b.add("s", rapid.IntRange(1, 120).Draw(t, "n")) {
					all = append(all, fate{at: p})
				}
			},
			"trim": func(t *rapid.T) {
				keep := rapid.IntRange(1, 300).Draw(t, "keep")
				n, err := b.Trim(context.Background(), "s", rpw.Retention{Events: int64(keep)})
				require.NoError(t, err)
				gone := max(0, live()-keep)
				require.EqualValues(t, gone, n)
				for i := 1; gone > 0; i++ {
					if !all[i].trimmed && !all[i].edited {
						all[i].trimmed = true
						gone--
					}
				}
			},
			"edit": func(t *rapid.T) {
				first := rapid.IntRange(0, len(all)-1).Draw(t, "first")
				step := rapid.IntRange(1, 3).Draw(t, "step")
				var ids []rpw.ID
				want := int64(0)
				for i := first; i < len(all) && len(ids) < 300; i += step {
					ids = append(ids, all[i].at.ID)
					if !all[i].trimmed && !all[i].edited {
						all[i].edited = true
						want++
					}
				}
				n, err := b.DeleteEvents(context.Background(), "s", ids)
				require.NoError(t, err)
				require.Equal(t, want, n)
			},
			"": func(t *rapid.T) {
				for range 5 {
					from := rand.IntN(len(all))
					lost, edits, want := uint64(0), false, []uint64(nil)
					for _, f := range all[from+1:] {
						edits = edits || f.edited
						switch {
						case f.trimmed:
							lost++
						case !f.edited && len(want) < rpw.MaxPage:
							want = append(want, f.at.Count)
						}
					}
					req := rpw.ReadRequest{Stream: "s", After: all[from].at}
					if lost == 0 {
						require.Equal(t, want, counts(b.read(req)))
						continue
					}
					gap := b.gap(req)
					require.Equal(t, rpw.GapTrimmed, gap.Kind)
					require.Equal(t, all[from].at, gap.After)
					if !edits {
						require.Equal(t, lost, gap.Missed)
					} else if gap.Missed != 0 {
						require.Equal(t, lost, gap.Missed)
					}
					require.Equal(t, want, counts(b.read(rpw.ReadRequest{Stream: "s", After: gap.Resume})))
					require.Equal(t, want, counts(b.read(rpw.ReadRequest{Stream: "s", After: gap.Oldest})))
				}
				info, err := b.StreamInfo(context.Background(), "s")
				require.NoError(t, err)
				require.EqualValues(t, live(), info.Events)
				require.EqualValues(t, len(all)-1, info.Added)
				require.Equal(t, b.locate("s", rpw.Oldest()), info.First)
				require.EqualValues(t, info.Bytes+info.Events*eventOverhead, b.store.Used())

				n := rand.IntN(live() + 2)
				require.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: b.locate("s", rpw.Last(n))}), min(n, live(), rpw.MaxPage))
				back := counts(b.read(rpw.ReadRequest{Stream: "s", Reverse: true}))
				require.Len(t, back, min(live(), rpw.MaxPage))
				slices.Reverse(back)
				require.True(t, slices.IsSorted(back))
			},
		})
	})
}

func TestPositionsOfOtherHistoriesAreResets(t *testing.T) {
	b := newBus(t)
	at := b.add("s", 5)
	ok := at[2]
	for name, p := range map[string]rpw.Position{
		"another epoch":        {Epoch: ok.Epoch + 1, ID: ok.ID, Count: ok.Count},
		"ahead":                {Epoch: ok.Epoch, ID: rpw.ID{MS: ok.ID.MS + 1e6}, Count: 6},
		"the id of another":    {Epoch: ok.Epoch, ID: at[1].ID, Count: ok.Count},
		"no id":                {Epoch: ok.Epoch, Count: ok.Count},
		"an id and no count":   {Epoch: ok.Epoch, ID: ok.ID},
		"the end, another id":  {Epoch: ok.Epoch, ID: ok.ID, Count: 5},
		"far ahead in its ids": {Epoch: ok.Epoch, ID: rpw.ID{MS: ok.ID.MS + 1e6}, Count: ok.Count},
	} {
		gap := b.gap(rpw.ReadRequest{Stream: "s", After: p})
		assert.Equal(t, rpw.GapReset, gap.Kind, name)
		assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: gap.Resume}), 5, name)
	}
	assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: ok}), 2)
}

func TestAnIDGetsItsPlaceInThePresentHistory(t *testing.T) {
	b := newBus(t)
	at := b.add("s", 10)
	after := func(id rpw.ID) rpw.Position { return b.locate("s", rpw.After(rpw.Position{ID: id})) }
	assert.Equal(t, at[3], after(at[3].ID))
	assert.Equal(t, at[9], after(rpw.ID{MS: at[9].ID.MS + 1000}))

	_, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 4})
	require.NoError(t, err)
	gap := b.gap(rpw.ReadRequest{Stream: "s", After: after(at[3].ID)})
	assert.Equal(t, rpw.GapTrimmed, gap.Kind)
	assert.Zero(t, gap.Missed, "how many followed a bare id that is gone cannot be known")
	assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: after(at[5].ID)}), 4)
	assert.Equal(t, b.locate("s", rpw.Oldest()), after(rpw.ID{}))
}

// TestIDsGrowWhenTheClockFallsBack: F19, S1: the clock falls back.
func TestIDsGrowWhenTheClockFallsBack(t *testing.T) {
	st := newStream(New(Options{}), "s")
	now := time.Now()
	var last rpw.ID
	for _, shift := range []time.Duration{0, 0, -time.Hour, time.Millisecond, -time.Millisecond} {
		at := st.append(&rpw.NewEvent{}, 0, extra{}, now.Add(shift))
		assert.Positive(t, at.ID.Compare(last))
		last = at.ID
	}
}

func TestCallersMayReuseWhatTheyPassed(t *testing.T) {
	b := newBus(t)
	big := make([]byte, 2*smallPayload)
	data, header := []byte("data"), map[string]string{"k": "v"}
	b.publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{
		{Type: "small", Data: data, Header: header}, {Type: "big", Data: big}, {Type: "empty", Data: []byte{}}, {Type: "nil"},
	}})
	copy(data, "XXXX")
	big[0] = 'X'
	header["k"] = "X"
	events := b.read(rpw.ReadRequest{Stream: "s"})
	assert.Equal(t, "data", string(events[0].Data))
	assert.Equal(t, map[string]string{"k": "v"}, events[0].Header)
	assert.Zero(t, events[1].Data[0])
	_ = append(events[0].Data, "beyond"...) // must not reach the neighbour in the block
	events[3] = rpw.Event{}                 // nor the page of another reader
	again := b.read(rpw.ReadRequest{Stream: "s"})
	assert.Equal(t, "nil", again[3].Type)
	assert.Empty(t, again[2].Data)
	assert.Equal(t, make([]byte, 2*smallPayload), again[1].Data)
}

func TestPayloadsOfABlockNeverMix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := make([]rpw.NewEvent, rapid.IntRange(1, 200).Draw(t, "n"))
		for i := range events {
			events[i].Data = slices.Repeat([]byte{byte(i)}, rapid.IntRange(0, 2*smallPayload).Draw(t, "len"))
		}
		b := newBus(t)
		b.publish(rpw.Batch{Stream: "s", Events: events})
		for i, e := range b.read(rpw.ReadRequest{Stream: "s"}) {
			require.Equal(t, events[i].Data, e.Data)
			require.Equal(t, len(e.Data), cap(e.Data), "an append would run into the next payload")
		}
	})
}

func TestKeysAreForgottenAfterTheirWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		keyed := func(key string, window time.Duration) rpw.Position {
			return b.publish(rpw.Batch{Stream: "s", KeyWindow: window, Events: []rpw.NewEvent{{Type: "e", Key: key}}})[0]
		}
		short, long := keyed("short", time.Second), keyed("long", time.Hour)
		assert.Equal(t, short, keyed("short", time.Second))
		time.Sleep(time.Second)
		assert.NotEqual(t, short, keyed("short", time.Second))
		assert.Equal(t, long, keyed("long", time.Hour))

		for i := range 1000 {
			keyed(fmt.Sprint(i), 0)
		}
		time.Sleep(2 * time.Hour)
		for range 1000 {
			b.add("s", 1)
		}
		st := b.find("s")
		assert.Empty(t, st.keys.byKey)
		assert.Zero(t, st.keys.expiry.len())
		info, err := b.StreamInfo(t.Context(), "s")
		require.NoError(t, err)
		assert.Equal(t, info.Bytes+info.Events*eventOverhead, b.store.Used())
	})
}

func TestAKeyTwiceInABatchIsOneEvent(t *testing.T) {
	b := newBus(t)
	e := rpw.NewEvent{Type: "e", Key: "k"}
	at := b.publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{e, {Type: "other"}, e}})
	assert.Equal(t, at[0], at[2])
	assert.Len(t, b.read(rpw.ReadRequest{Stream: "s"}), 2)
	require.NoError(t, b.DeleteStream(t.Context(), "s"))
	assert.Zero(t, b.store.Used())
}

func TestLateBatchesOfAProducerAreRefused(t *testing.T) {
	b := newBus(t)
	batch := func(seq uint64) rpw.Batch {
		return rpw.Batch{Stream: "s", Producer: rpw.Producer{ID: [16]byte{1}, Seq: seq}, Events: []rpw.NewEvent{{Type: "e"}}}
	}
	first := b.publish(batch(1))
	assert.Equal(t, first, b.publish(batch(1)))
	b.publish(batch(3))
	answers, err := b.Publish(t.Context(), []rpw.Batch{batch(2), batch(4)})
	require.NoError(t, err)
	assert.ErrorIs(t, answers[0].Err, rpw.ErrConflict)
	require.NoError(t, answers[1].Err)
	assert.Len(t, b.read(rpw.ReadRequest{Stream: "s"}), 3)
}

// TestAFullStoreStillFrees: F45, F23, S7: the store is full.
func TestAFullStoreStillFrees(t *testing.T) {
	s := New(Options{MaxBytes: 10_000})
	b := bus{t, s.streams}
	_, err := b.EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: "g"})
	require.NoError(t, err)
	full := func() error {
		answers, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "e", Data: make([]byte, 100)}}}})
		require.NoError(t, err)
		return answers[0].Err
	}
	n := int64(0)
	for full() == nil {
		n++
	}
	assert.Positive(t, n)
	require.ErrorIs(t, full(), rpw.ErrFull)
	info, err := b.StreamInfo(t.Context(), "s")
	require.NoError(t, err)
	assert.Equal(t, n, info.Events, "a refused publish left something")
	errs, err := s.cache.Set(t.Context(), []rpw.CacheSet{{Key: "k", Data: make([]byte, 300), TTL: rpw.NoTTL}})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], rpw.ErrFull)

	deliveries, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 10})
	require.NoError(t, err)
	verdicts := []rpw.Verdict{rpw.Ack, rpw.Reject, rpw.Nack, rpw.Extend, rpw.Release}
	for i, v := range verdicts {
		errs, err := b.Settle(t.Context(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: deliveries[i].Receipt, Verdict: v}}})
		require.NoError(t, err)
		require.NoError(t, errs[0])
	}
	_, err = b.Trim(t.Context(), "s", rpw.Retention{Events: 1})
	require.NoError(t, err)
	require.NoError(t, full())

	s.Flush()
	assert.Zero(t, s.Used())
}

// TestAFullStoreDropsWhatHasExpiredFirst: F45, S7: the store is full of what has expired.
func TestAFullStoreDropsWhatHasExpiredFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{MaxBytes: 10_000})
		_, err := s.cache.Set(t.Context(), []rpw.CacheSet{{Key: "k", Data: make([]byte, 9000), TTL: time.Second}})
		require.NoError(t, err)
		batches := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "e", Data: make([]byte, 5000)}}}}
		answers, err := s.streams.Publish(t.Context(), batches)
		require.NoError(t, err)
		require.ErrorIs(t, answers[0].Err, rpw.ErrFull)
		time.Sleep(time.Second)
		answers, err = s.streams.Publish(t.Context(), batches)
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
	})
}

func TestOldEventsGoWithTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		start := b.locate("s", rpw.Newest())
		b.publish(rpw.Batch{Stream: "s", Keep: rpw.Retention{Age: time.Minute}, Events: make([]rpw.NewEvent, 3)})
		time.Sleep(30 * time.Second)
		b.add("s", 2)
		assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: start}), 5)
		time.Sleep(31 * time.Second)
		gap := b.gap(rpw.ReadRequest{Stream: "s", After: start})
		assert.EqualValues(t, 3, gap.Missed)
		assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: gap.Resume}), 2)
	})
}

func TestReadersOfADeletedStreamGetAReset(t *testing.T) {
	for name, end := range map[string]func(b bus){
		"DeleteStream": func(b bus) { require.NoError(t, b.DeleteStream(t.Context(), "s")) },
		"Flush":        func(b bus) { b.store.Flush() },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t)
			at := b.add("s", 3)
			done := make(chan *rpw.GapError)
			go func() { done <- b.gap(rpw.ReadRequest{Stream: "s", After: at[2], Wait: rpw.Forever}) }()
			synctest.Wait()
			end(b)
			gap := <-done
			assert.Equal(t, rpw.GapReset, gap.Kind, name)
			b.add("s", 1)
			assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", After: gap.Resume}), 1, name)
		})
	}
}

func TestDeletingAStreamTakesItsDeadLetters(t *testing.T) {
	b := newBus(t)
	for _, name := range []string{"s", "s2", rpw.DeadLetter("s", "g"), rpw.DeadLetter("s", "h"), rpw.DeadLetter("s2", "g")} {
		b.add(name, 1)
	}
	page, err := b.Streams(t.Context(), rpw.StreamsRequest{})
	require.NoError(t, err)
	assert.Equal(t, []string{"s", "s2"}, page.Names)
	require.NoError(t, b.DeleteStream(t.Context(), "s"))
	page, err = b.Streams(t.Context(), rpw.StreamsRequest{DeadLetters: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"s2", rpw.DeadLetter("s2", "g")}, page.Names)
	require.NoError(t, b.DeleteStream(t.Context(), rpw.DeadLetter("s2", "g")))
	assert.Empty(t, b.letters)
	b.store.Flush()
	assert.Empty(t, b.byName)
}

func TestStreamsComeInPages(t *testing.T) {
	b := newBus(t)
	want := map[string]bool{}
	for i := range 25 {
		name := fmt.Sprintf("a%02d", i)
		b.add(name, 1)
		want[name] = true
	}
	b.add("b", 1)
	got := map[string]bool{}
	req := rpw.StreamsRequest{Prefix: "a", Max: 10}
	for {
		page, err := b.Streams(t.Context(), req)
		require.NoError(t, err)
		for _, name := range page.Names {
			assert.False(t, got[name], name)
			got[name] = true
		}
		if req.After = page.Next; page.Next == "" {
			break
		}
	}
	assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
}
