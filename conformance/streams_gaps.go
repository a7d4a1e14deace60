package conformance

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// lost reads after a position and wants a gap that leads on: from Resume and from Oldest there is no further gap.
func (e *env) lostAfter(stream string, after rpw.Position) *rpw.GapError {
	e.Helper()
	events, err := e.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: stream, After: after})
	gap := e.gap(err)
	assert.Empty(e, events, "no event with a gap")
	assert.Equal(e, stream, gap.Stream)
	assert.Empty(e, gap.Group)
	assert.Equal(e, after, gap.After)
	all := e.read(stream, rpw.Position{})
	assert.Equal(e, texts(all), texts(e.read(stream, gap.Oldest)), "Oldest replays everything that is there")
	resumed := texts(e.read(stream, gap.Resume))
	assert.Equal(e, texts(all[len(all)-len(resumed):]), resumed, "Resume goes on in order")
	return gap
}

func gapCases() []testCase {
	return []testCase{
		{"Streams/Gaps/TrimmedHistoryIsReported", []string{"S5"},
			"A reader behind trimmed events gets a gap with their number before the next event, and can go on from it.",
			func(e *env) {
				at := e.publish("s", numbers(1, 400)...)
				gone := e.trim("s", 100)
				require.Greater(e, gone, 10)
				gap := e.lostAfter("s", at[4])
				assert.Equal(e, rpw.GapTrimmed, gap.Kind)
				assert.EqualValues(e, gone-5, gap.Missed)
				assert.Equal(e, numbers(gone+1, 400), texts(e.read("s", gap.Resume)))
			}},
		{"Streams/Gaps/OneMissingEventIsAGap", []string{"S5"},
			"The edge is exact: who has seen the last trimmed event has no gap, who has not seen it has one of 1 event.",
			func(e *env) {
				at := e.publish("s", numbers(1, 400)...)
				gone := e.trim("s", 100)
				require.Greater(e, gone, 2)
				gap := e.lostAfter("s", at[gone-2])
				assert.EqualValues(e, 1, gap.Missed)
				assert.Equal(e, numbers(gone+1, 400), texts(e.read("s", at[gone-1])))
			}},
		{"Streams/Gaps/LocatedBeginningGetsTheGapToo", []string{"S5"},
			"A reader pinned before the first event of a stream gets a gap when that event is trimmed before it was read.",
			func(e *env) {
				begin := e.locate("s", rpw.Newest())
				e.publish("s", numbers(1, 300)...)
				gone := e.trim("s", 50)
				assert.EqualValues(e, gone, e.lostAfter("s", begin).Missed)
			}},
		{"Streams/Gaps/RetentionIsReported", []string{"S5", "S7"},
			"Events that retention removed as others were published are reported just so.",
			func(e *env) {
				begin := e.locate("s", rpw.Newest())
				for n := range 5 {
					_, err := e.append(rpw.Batch{Stream: "s", Events: items(numbers(n*100+1, n*100+100)...), Keep: rpw.Retention{Events: 20}})
					require.NoError(e, err)
				}
				gap := e.lostAfter("s", begin)
				assert.Equal(e, rpw.GapTrimmed, gap.Kind)
				assert.EqualValues(e, 500-len(e.read("s", gap.Resume)), gap.Missed)
			}},
		{"Streams/Gaps/DeletedStreamIsReset", []string{"S5"},
			"A stream that was deleted, and perhaps written again, is another history: a gap of kind reset.",
			func(e *env) {
				at := e.publish("s", "a", "b")[1]
				require.NoError(e, e.hub.Streams().DeleteStream(e.Context(), "s"))
				assert.Equal(e, rpw.GapReset, e.lostAfter("s", at).Kind)
				e.publish("s", "c")
				gap := e.lostAfter("s", at)
				assert.Equal(e, rpw.GapReset, gap.Kind)
				assert.Equal(e, []string{"c"}, texts(e.read("s", gap.Resume)))
				e.publish("s", numbers(1, 5)...)
				assert.Equal(e, rpw.GapReset, e.lostAfter("s", at).Kind, "also when the new history is longer than the old one")
			}},
		// F18, S5.
		{"Streams/Gaps/FlushedStoreIsReset", []string{"S5"},
			"After the store lost everything a reader gets a gap of kind reset, also one that was at the very beginning or at the end.",
			func(e *env) {
				begin := e.locate("s", rpw.Newest())
				end := e.publish("s", "a", "b")[1]
				e.flush()
				e.on(e.peer()).publish("s", "c")
				for _, at := range []rpw.Position{begin, end} {
					gap := e.lostAfter("s", at)
					assert.Equal(e, rpw.GapReset, gap.Kind)
					assert.Equal(e, []string{"c"}, texts(e.read("s", gap.Resume)))
				}
			}},
		{"Streams/Gaps/PositionAheadIsReset", []string{"S5"},
			"A position ahead of the stream, as after a restore, is a gap and not an endless wait.",
			func(e *env) {
				ahead := e.publish("s", "a")[0]
				ahead.ID.MS += 3_600_000
				ahead.Count += 5
				bus := e.hub.Streams()
				_, err := bus.Read(e.promptly(), rpw.ReadRequest{Stream: "s", After: ahead, Wait: rpw.Forever})
				assert.Equal(e, rpw.GapReset, e.gap(err).Kind)
				last := rpw.Position{Epoch: ahead.Epoch, ID: rpw.ID{MS: 1<<64 - 1, Seq: 1<<64 - 1}, Count: 1<<64 - 1}
				_, err = bus.Read(e.promptly(), rpw.ReadRequest{Stream: "s", After: last, Wait: rpw.Forever})
				assert.Equal(e, rpw.GapReset, e.gap(err).Kind)
				e.publish("s", "b")
			}},
		{"Streams/Gaps/PositionOfAnotherStreamIsReset", []string{"S5"},
			"A position of another stream fits no history of this one.",
			func(e *env) {
				other := e.publish("other", "x")[0]
				e.publish("s", "a")
				assert.Equal(e, rpw.GapReset, e.lostAfter("s", other).Kind)
			}},
		{"Streams/Gaps/EditsAreNoGap", []string{"S5"},
			"Deleting single events is an edit: readers before, at and after them go on without a gap.",
			func(e *env) {
				begin := e.locate("s", rpw.Newest())
				at := e.publish("s", numbers(1, 6)...)
				n, err := e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{at[0].ID, at[2].ID, at[3].ID, at[5].ID, {MS: 1, Seq: 1}})
				require.NoError(e, err)
				assert.EqualValues(e, 4, n, "how many were there")
				assert.Equal(e, []string{"2", "5"}, texts(e.read("s", begin)))
				assert.Equal(e, []string{"2", "5"}, texts(e.read("s", at[0])))
				assert.Equal(e, []string{"5"}, texts(e.read("s", at[1])))
				assert.Equal(e, []string{"5"}, texts(e.read("s", at[3])))
				assert.Empty(e, e.read("s", at[5]), "the newest one was deleted, and was seen")
				e.publish("s", "7")
				assert.Equal(e, []string{"7"}, texts(e.read("s", at[5])))
			}},
		// F17, S5.
		{"Streams/Gaps/RandomHistoriesAreToldTruly", []string{"S5"},
			"In random sequences of publish, trim, delete and read a gap is reported exactly where trimmed events were missed.",
			func(e *env) {
				for seed := range uint64(12) {
					newHistory(e, fmt.Sprintf("s%d", seed), seed).play(40)
				}
			}},
	}
}

// history is the model of one stream and of a reader of it.
type history struct {
	*env
	stream string
	random *rand.Rand
	log    []string // what was done, for the failure

	events  []modelEvent
	trimmed int // how many of the events retention has taken, from the oldest on
}

type modelEvent struct {
	at      rpw.Position
	deleted bool
}

func newHistory(e *env, stream string, seed uint64) *history {
	return &history{env: e, stream: stream, random: rand.New(rand.NewPCG(seed, 0))}
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *history) play(steps int) {
	begin := h.locate(h.stream, rpw.Newest())
	h.events = []modelEvent{{at: begin, deleted: true}} // before the first
	h.trimmed = 1
	for range steps {
		switch h.random.IntN(5) {
		case 0, 1:
			n := 1 + h.random.IntN(150)
			h.note("publish %d", n)
			for _, at := range h.publish(h.stream, numbers(len(h.events), len(h.events)+n-1)...) {
				h.events = append(h.events, modelEvent{at: at})
			}
		case 2:
			h.trimSome()
		case 3:
			h.deleteSome()
		}
		h.readFrom(h.random.IntN(len(h.events)))
	}
}

// trimSome trims, and learns from the first event that is left how far: a store may keep some more than it was asked to.
func (h *history) trimSome() {
	keep := int64(1 + h.random.IntN(len(h.events)))
	gone := h.trim(h.stream, keep)
	h.note("trim to %d: %d", keep, gone)
	for i := h.trimmed; gone > 0; i++ {
		if !h.events[i].deleted {
			gone--
		}
		h.trimmed = i + 1
	}
}

func (h *history) deleteSome() {
	var ids []rpw.ID
	for range 1 + h.random.IntN(5) {
		i := h.random.IntN(len(h.events))
		if i < h.trimmed || h.events[i].deleted {
			continue
		}
		ids = append(ids, h.events[i].at.ID)
		h.events[i].deleted = true
		h.note("delete %d", i)
	}
	if len(ids) == 0 {
		return
	}
	n, err := h.hub.Streams().DeleteEvents(h.Context(), h.stream, ids)
	require.NoError(h, err)
	require.EqualValues(h, len(ids), n, "deleted\n%s", strings.Join(h.log, "\n"))
}

// readFrom reads after event i, and compares with the model.
func (h *history) readFrom(i int) {
	missed, edited := 0, 0 // trimmed events after i that were there, and those that had been deleted one by one before
	var want []string
	for n := i + 1; n < len(h.events); n++ {
		switch {
		case n >= h.trimmed && !h.events[n].deleted:
			want = append(want, fmt.Sprint(n))
		case n < h.trimmed && h.events[n].deleted:
			edited++
		case n < h.trimmed:
			missed++
		}
	}
	after := h.events[i].at
	_, err := h.hub.Streams().Read(h.Context(), rpw.ReadRequest{Stream: h.stream, After: after, Max: 1})
	why := func() string { return fmt.Sprintf("after event %d:\n%s", i, strings.Join(h.log, "\n")) }
	switch {
	case missed > 0:
		require.Error(h, err, "%d events are missing, and no gap, %s", missed, why())
		gap := h.gap(err)
		require.Contains(h, []rpw.GapKind{rpw.GapTrimmed, rpw.GapPossible}, gap.Kind, why())
		if gap.Missed > 0 {
			require.EqualValues(h, missed, gap.Missed, why())
		}
		after = gap.Resume
	case err != nil:
		gap := h.gap(err)
		require.Positive(h, edited, "a false alarm, %s", why())
		after = gap.Resume
	}
	require.Equal(h, strings.Join(want, " "), strings.Join(texts(h.read(h.stream, after)), " "), why())
}

func streamAdminCases() []testCase {
	return []testCase{
		{"Streams/Info/Counts", []string{"S1", "S7"},
			"StreamInfo tells what is stored, what was ever added, and where the stream begins and ends.",
			func(e *env) {
				_, err := e.hub.Streams().StreamInfo(e.Context(), "s")
				e.is(err, rpw.ErrNotFound)
				at := e.publish("s", numbers(1, 300)...)
				gone := e.trim("s", 50)
				_, err = e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{at[299].ID})
				require.NoError(e, err)
				info := e.info("s")
				assert.Equal(e, "s", info.Name)
				assert.EqualValues(e, 300-gone-1, info.Events)
				assert.EqualValues(e, 300, info.Added)
				assert.Equal(e, at[299], info.Last)
				assert.Equal(e, numbers(gone+1, 299), texts(e.read("s", info.First)))
				assert.Zero(e, info.Groups)
			}},
		{"Streams/Info/ANamedStreamExists", []string{"S4", "S5"},
			"A stream exists from the first verb that pins a place in it, so that a position before its first event holds.",
			func(e *env) {
				begin := e.locate("s", rpw.Newest())
				assert.NotZero(e, begin.Epoch)
				assert.Equal(e, begin, e.info("s").Last)
				assert.Equal(e, begin.Epoch, e.on(e.peer()).publish("s", "a")[0].Epoch)
			}},
		{"Streams/List/PagesByName", []string{"S1"},
			"Streams are listed by name, in pages, by prefix; a prefix is literal.",
			func(e *env) {
				for _, stream := range []string{"b/2", "a", "b/1", "c", "b/3", "b"} {
					e.publish(stream, "x")
				}
				var got []string
				for req := (rpw.StreamsRequest{Max: 2}); ; {
					page, err := e.hub.Streams().Streams(e.Context(), req)
					require.NoError(e, err)
					require.LessOrEqual(e, len(page.Names), 2)
					got = append(got, page.Names...)
					if req.After = page.Next; req.After == "" {
						break
					}
				}
				assert.Equal(e, []string{"a", "b", "b/1", "b/2", "b/3", "c"}, got)
				for prefix, want := range map[string][]string{"b/": {"b/1", "b/2", "b/3"}, "*": nil, "?": nil, "[ab]": nil, "z": nil} {
					page, err := e.hub.Streams().Streams(e.Context(), rpw.StreamsRequest{Prefix: prefix})
					require.NoError(e, err)
					assert.ElementsMatch(e, want, page.Names, "prefix %q", prefix)
				}
			}},
		{"Streams/Delete/TakesEverythingWithIt", []string{"S5", "E2"},
			"A deleted stream is gone with its groups, keys and dead letters; deleting what is not there is no error.",
			func(e *env) {
				keyed := rpw.NewEvent{Type: "t", Key: "k", Data: payload("1")}
				first := e.publishEvents("s", keyed)[0]
				e.group("s", "g")
				e.verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Reject})
				for range 2 {
					require.NoError(e, e.hub.Streams().DeleteStream(e.Context(), "s"))
				}
				_, err := e.hub.Streams().StreamInfo(e.Context(), "s")
				e.is(err, rpw.ErrNotFound)
				assert.Empty(e, e.read(rpw.DeadLetter("s", "g"), rpw.Position{}))
				again := e.publishEvents("s", keyed)[0]
				assert.NotEqual(e, first.Epoch, again.Epoch, "a new history")
				groups, err := e.hub.Streams().Groups(e.Context(), "s")
				require.NoError(e, err)
				assert.Empty(e, groups)
			}},
		{"Streams/Delete/TrimOfNothingIsNothing", []string{"E2"},
			"Trimming or editing a stream that does not exist takes nothing; a trim without a bound is ErrInvalid.",
			func(e *env) {
				assert.Zero(e, e.trim("s", 1))
				n, err := e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{{MS: 1}})
				require.NoError(e, err)
				assert.Zero(e, n)
				_, err = e.hub.Streams().Trim(e.Context(), "s", rpw.Retention{})
				e.is(err, rpw.ErrInvalid)
			}},
	}
}
