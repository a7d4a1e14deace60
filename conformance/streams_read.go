package conformance

import (
	"bytes"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func readCases() []testCase {
	return []testCase{
		// F6, S4.
		{"Streams/Locate/NewestIsPinned", []string{"S4"},
			"What is published after Locate(Newest) returned comes after the position, on a stream that is new, empty or full.",
			func(e *env) {
				fresh := e.locate("s", rpw.Newest())
				e.on(e.peer()).publish("s", "1")
				assert.Equal(e, []string{"1"}, texts(e.read("s", fresh)))
				full := e.locate("s", rpw.Newest())
				assert.Empty(e, e.read("s", full))
				e.publish("s", "2")
				assert.Equal(e, []string{"2"}, texts(e.read("s", full)))
				assert.Equal(e, []string{"1", "2"}, texts(e.read("s", fresh)))
			}},
		{"Streams/Locate/OldestAndLast", []string{"S4"},
			"Oldest begins with all there is, Last(n) with the n newest or with all if there are fewer.",
			func(e *env) {
				e.publish("s", numbers(1, 10)...)
				for start, want := range map[rpw.Start][]string{
					rpw.Oldest(): numbers(1, 10), rpw.Last(3): numbers(8, 10), rpw.Last(10): numbers(1, 10), rpw.Last(1000): numbers(1, 10),
				} {
					assert.Equal(e, want, texts(e.read("s", e.locate("s", start))), "%+v", start)
				}
				empty := e.locate("empty", rpw.Last(5))
				e.publish("empty", "x")
				assert.Equal(e, []string{"x"}, texts(e.read("empty", empty)))
			}},
		{"Streams/Locate/LastCountsWhatIsThere", []string{"S4", "S5"},
			"Last(n) passes over deleted events: it begins with the n newest that are there.",
			func(e *env) {
				at := e.publish("s", numbers(1, 6)...)
				_, err := e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{at[3].ID, at[5].ID})
				require.NoError(e, err)
				assert.Equal(e, []string{"3", "5"}, texts(e.read("s", e.locate("s", rpw.Last(2)))))
			}},
		{"Streams/Locate/SinceIsInclusive", []string{"S4"},
			"Since(t) begins with the first event stored at t or later, by the store's clock.",
			func(e *env) {
				var at []rpw.Position
				for _, n := range numbers(1, 3) {
					at = append(at, e.publish("s", n)...)
					e.pass(e.unit)
				}
				assert.Equal(e, numbers(2, 3), texts(e.read("s", e.locate("s", rpw.Since(at[1].ID.Time())))))
				assert.Equal(e, numbers(3, 3), texts(e.read("s", e.locate("s", rpw.Since(at[1].ID.Time().Add(time.Millisecond))))))
				assert.Equal(e, numbers(1, 3), texts(e.read("s", e.locate("s", rpw.Since(time.UnixMilli(1))))))
				end := e.locate("s", rpw.Since(at[2].ID.Time().Add(time.Millisecond)))
				assert.Empty(e, e.read("s", end))
				e.publish("s", "4")
				assert.Equal(e, numbers(4, 4), texts(e.read("s", end)))
			}},
		{"Streams/Locate/AfterAnIDTakesThePresentHistory", []string{"S4"},
			"A position without an epoch is an id in the present history; with one it is answered as it is.",
			func(e *env) {
				at := e.publish("s", numbers(1, 4)...)
				assert.Equal(e, at[1], e.locate("s", rpw.After(at[1])))
				byID := e.locate("s", rpw.After(rpw.Position{ID: at[1].ID}))
				assert.Equal(e, numbers(3, 4), texts(e.read("s", byID)))
				stale := rpw.Position{Epoch: at[1].Epoch + 1, ID: at[1].ID, Count: 2}
				assert.Equal(e, stale, e.locate("s", rpw.After(stale)))
			}},
		{"Streams/Read/ZeroPositionIsTheOldest", []string{"S5"},
			"Reading from the zero position begins with what is there, and claims nothing about what was.",
			func(e *env) {
				assert.Empty(e, e.read("s", rpw.Position{}), "a stream nobody wrote to")
				e.publish("s", numbers(1, 300)...)
				gone := e.trim("s", 100)
				require.Positive(e, gone)
				assert.Equal(e, numbers(gone+1, 300), texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Read/PagesAreBounded", []string{"S6"},
			"A page has at most Max events, MaxPage if it is 0 or more than that; pages follow one another without hole or repeat.",
			func(e *env) {
				e.publish("s", numbers(1, 700)...)
				assert.Len(e, e.page(rpw.ReadRequest{Stream: "s"}), rpw.MaxPage)
				assert.Len(e, e.page(rpw.ReadRequest{Stream: "s", Max: 1 << 30}), rpw.MaxPage)
				var got []string
				for after := (rpw.Position{}); ; {
					page := e.page(rpw.ReadRequest{Stream: "s", After: after, Max: 64})
					if len(page) == 0 {
						break
					}
					require.LessOrEqual(e, len(page), 64)
					got = append(got, texts(page)...)
					after = page[len(page)-1].Position()
				}
				assert.Equal(e, numbers(1, 700), got)
			}},
		{"Streams/Read/PagesAreBoundedInBytes", []string{"S6"},
			"A page of large events stays within MaxBatchBytes, and always holds one.",
			func(e *env) {
				large := rpw.NewEvent{Type: "t", Data: bytes.Repeat([]byte("1"), rpw.MaxPayload-1)}
				const most = rpw.MaxBatchBytes / rpw.MaxPayload
				for range most + 1 {
					e.publishEvents("s", large)
				}
				got := 0
				for req := (rpw.ReadRequest{Stream: "s"}); got <= most; {
					page := e.page(req)
					require.NotEmpty(e, page)
					require.LessOrEqual(e, len(page), most)
					got += len(page)
					req.After = last(page).Position()
				}
				assert.Equal(e, most+1, got)
			}},
		{"Streams/Read/UntilIsInclusive", []string{"S1"},
			"Until ends a page with the event that has this id, or before it.",
			func(e *env) {
				at := e.publish("s", numbers(1, 5)...)
				assert.Equal(e, numbers(1, 3), texts(e.page(rpw.ReadRequest{Stream: "s", Until: at[2].ID})))
				assert.Equal(e, numbers(2, 3), texts(e.page(rpw.ReadRequest{Stream: "s", After: at[0], Until: at[2].ID})))
			}},
		{"Streams/Read/Reverse", []string{"S1"},
			"Reverse goes down from After, exclusive, to Until, inclusive; without After from the newest. It never waits.",
			func(e *env) {
				at := e.publish("s", numbers(1, 5)...)
				back := func(req rpw.ReadRequest) []string {
					req.Stream, req.Reverse = "s", true
					return texts(e.page(req))
				}
				assert.Equal(e, []string{"5", "4", "3", "2", "1"}, back(rpw.ReadRequest{}))
				assert.Equal(e, []string{"5", "4"}, back(rpw.ReadRequest{Max: 2}))
				assert.Equal(e, []string{"3", "2"}, back(rpw.ReadRequest{After: at[3], Until: at[1].ID}))
				assert.Empty(e, back(rpw.ReadRequest{After: at[0], Wait: rpw.Forever}))
			}},
		{"Streams/Read/ReverseReportsNoGap", []string{"S5"},
			"Looking back over trimmed history ends with what is there.",
			func(e *env) {
				at := e.publish("s", numbers(1, 300)...)
				gone := e.trim("s", 50)
				require.Positive(e, gone)
				page := e.page(rpw.ReadRequest{Stream: "s", After: at[299], Reverse: true})
				assert.Len(e, page, 299-gone)
				assert.Empty(e, e.page(rpw.ReadRequest{Stream: "s", After: at[0], Reverse: true}))
			}},
		{"Streams/Read/ReadersShareNothingTheyCanBreak", []string{"S1"},
			"What a reader appends to a payload it got changes neither the store nor what others read.",
			func(e *env) {
				e.publish("s", "aa", "bb", "cc")
				for _, ev := range e.read("s", rpw.Position{}) {
					_ = append(ev.Data, 'X')
				}
				assert.Equal(e, []string{"aa", "bb", "cc"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Read/SlowReaderLagsInTheStore", []string{"S6"},
			"A reader that stopped reading delays no publisher and no other reader, and finds everything later.",
			func(e *env) {
				slow := e.locate("s", rpw.Newest())
				fast := e.on(e.peer())
				at := slow
				for n := range 20 {
					e.publish("s", numbers(n*100+1, n*100+100)...)
					got := fast.read("s", at)
					require.Len(e, got, 100)
					at = got[99].Position()
				}
				assert.Equal(e, numbers(1, 2000), texts(e.on(e.peer()).read("s", slow)))
			}},
	}
}
