package conformance

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// originalCases are what the original got wrong, each as the rule it broke.
func originalCases() []testCase {
	return slices.Concat(originalActions(), originalHub())
}

func originalActions() []testCase {
	return []testCase{
		{"Original/Actions/DataLeavesTheRecord", []string{"A1", "A10"},
			"Setting the data of an action leaves name, argument, state and history as they were.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.Arg, spec.Data = json.RawMessage(`{"x":1}`), json.RawMessage(`{}`)
				b.add(spec)
				held := b.next("q")
				b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Data: json.RawMessage(`{"d":2}`)})
				a := e.boardOf(e.peer()).get(spec.Ref)
				require.Equal(e, []any{"job", rpw.Running, "worker"}, []any{a.Name, a.State, a.Worker})
				sameJSON(e, `{"x":1}`, a.Arg)
				sameJSON(e, `{"d":2}`, a.Data)
				require.Len(e, a.Events, 3)
			}},
		{"Original/Actions/OutputIsStored", []string{"A10"},
			"The output of a completed action is in its record, for who asks later, and not in an event only.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`{"o":3}`)})
				sameJSON(e, `{"o":3}`, e.boardOf(e.peer()).get(held.Ref).Output)
				sameJSON(e, `{"o":3}`, b.list(rpw.ListActions{})[0].Output)
			}},
		{"Original/Actions/OneStatus", []string{"A3", "A14"},
			"An action has one state: Get, List, Count, Queues and the last change say the same after every step.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				ref := job("q", "1").Ref
				agree := func(want rpw.State) {
					e.Helper()
					for _, b := range []board{b, e.boardOf(e.peer())} {
						require.Equal(e, want, b.get(ref).State)
						require.Equal(e, want, b.list(rpw.ListActions{})[0].State)
						require.Equal(e, want, last(b.history(ref)).State)
						require.Equal(e, int64(1), b.count(rpw.ActionFilter{})[want])
						require.Len(e, b.list(rpw.ListActions{ActionFilter: rpw.ActionFilter{States: []rpw.State{want}}}), 1)
						q := b.queues()["q"]
						require.Equal(e, want == rpw.Pending, q.Ready == 1)
						require.Equal(e, want == rpw.Running, q.Running == 1)
						require.Equal(e, want.Terminal(), q.Finished == 1)
					}
				}
				agree(rpw.Pending)
				held := b.next("q")
				agree(rpw.Running)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}})
				agree(rpw.Failed)
				b.commanded(rpw.Retry, ref)
				agree(rpw.Pending)
				b.commanded(rpw.Cancel, ref)
				agree(rpw.Cancelled)
				b.commanded(rpw.Retry, ref)
				b.finish("q")
				agree(rpw.Completed)
			}},
		{"Original/Actions/PendingUntilClaimed", []string{"A1", "A2"},
			"An action is pending until a worker has it, and running only while one holds it.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				require.Equal(e, rpw.Pending, b.get(job("q", "1").Ref).State)
				held := b.nextFor("q", e.lease())
				a := b.get(held.Ref)
				require.Equal(e, []any{rpw.Running, "worker", 1}, []any{a.State, a.Worker, a.Attempt})
				b.state(held.Ref, rpw.Pending)
			}},
		{"Original/Actions/AWorkerTakesOneAfterAnother", []string{"A1", "A6"},
			"A worker gets every action, not only the first.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				for i := range 10 {
					waiting := b.claim(rpw.ClaimRequest{Queues: []string{"q"}})
					other.add(job("q", fmt.Sprint(i)))
					held := b.got(waiting, fmt.Sprint(i))
					b.moved(held[0].Lease, rpw.Move{Kind: rpw.Complete})
				}
			}},
		{"Original/Actions/WorkIsDistributed", []string{"A2", "A1"},
			"Each action goes to one worker, not to all; what was enqueued while no worker listened is not lost.", func(e *env) {
				b := e.board()
				b.add(jobs("q", 10)...)
				workers := []board{b, e.boardOf(e.peer()), e.boardOf(e.peer())}
				var got []string
				for i := 0; len(got) < 10; i++ {
					got = append(got, claimedIDs(workers[i%3].take(rpw.ClaimRequest{Queues: []string{"q"}, Worker: fmt.Sprint(i % 3)}))...)
					require.Less(e, i, 30)
				}
				require.Len(e, slices.Compact(got), 10)
				for _, w := range workers {
					w.none("q", "all have a holder")
				}
			}},
		{"Original/Actions/NilMeansStored", []string{"A1", "E2"},
			"Enqueue returns when the action is stored, and says so when it is not.", func(e *env) {
				other := e.boardOf(e.peer())
				for i := range 20 {
					spec := job("q", fmt.Sprint(i))
					e.board().add(spec)
					other.get(spec.Ref)
				}
				hub, faults := e.faulty()
				b := e.boardOf(hub)
				faults.spoil("Actions.Enqueue", slices.Repeat([]fault{refused}, 1000)...)
				ctx, cancel := contextFor(e, e.units(20))
				defer cancel()
				_, err := b.Enqueue(ctx, []rpw.ActionSpec{job("q", "never")})
				e.is(err, rpw.ErrUnavailable)
				e.is(other.ask(job("q", "never").Ref).Err, rpw.ErrNotFound)
			}},
		{"Original/Actions/UpdatesDoNotOverwrite", []string{"A3", "A10"},
			"Updates of one action at the same time are all kept: none writes an old copy of the record over another.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				held := b.next("q")
				const n = 40
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						m := rpw.Move{Lease: held.Lease, Kind: rpw.AddEvent, Event: fmt.Sprint(i)}
						if answer, err := []board{b, other}[i%2].Advance(e.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{m}}); err != nil || answer[0].Err != nil {
							e.Errorf("add an event: %v %v", err, answer)
						}
					})
				}
				wg.Go(func() { other.command(rpw.Command{Kind: rpw.Cancel, Ref: held.Ref}) })
				wg.Wait()
				a := b.get(held.Ref)
				require.Equal(e, uint64(n+3), a.Seq)
				require.False(e, a.CancelAt.IsZero(), "the cancel was overwritten")
				seen := make(map[string]bool)
				for _, event := range b.history(held.Ref) {
					seen[event.Event] = true
				}
				require.Len(e, seen, n+1)
			}},
		{"Original/Actions/AbsentStaysAbsent", []string{"A10"},
			"An output that was not given is absent, not an empty object; events are filled in when the action is loaded.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				b.finish("q")
				a := b.get(job("q", "1").Ref)
				require.Contains(e, []string{"", "null"}, string(a.Output))
				require.Nil(e, a.Failure)
				require.Len(e, a.Events, 3)
			}},
		{"Original/Actions/NothingGrowsForEver", []string{"A14", "S7"},
			"A finished action goes with all that belongs to it.", func(e *env) {
				b := e.board()
				keep := e.units(5)
				for i := range 20 {
					spec := job("q", fmt.Sprint(i))
					spec.Keep.Completed = keep
					b.add(spec)
					b.finish("q")
				}
				e.eventually(func() bool { return len(b.list(rpw.ListActions{})) == 0 && len(b.queues()) == 0 }, "all is gone")
			}},
		{"Original/Workers/ListOfMany", []string{"W2"},
			"Many workers are listed from an index, in pages, and only those: other records with similar names are none.", func(e *env) {
				b := e.board()
				const n = 120
				for i := range n {
					b.beats(beat(fmt.Sprintf("%03d", i)))
				}
				b.add(job("worker", "worker"), job("worker:worker", "1"))
				require.NoError(e, rpw.Set(e.Context(), e.hub, "worker:worker:1", "no worker"))
				all := b.workers(rpw.WorkersRequest{})
				require.Len(e, all, n)
				for i, w := range all {
					require.Equal(e, fmt.Sprintf("%03d", i), w.ID)
				}
			}},
		{"Original/Workers/OneDoesNotOverwriteAnother", []string{"W2"},
			"Heartbeats of many workers at the same time are all kept; each is whole.", func(e *env) {
				boards := []board{e.board(), e.boardOf(e.peer())}
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						hb := beat(fmt.Sprint(i % 10))
						hb.Worker.Meta = map[string]string{"id": hb.Worker.ID}
						if _, err := boards[i%2].Heartbeat(e.Context(), hb); err != nil {
							e.Errorf("heartbeat: %v", err)
						}
					})
				}
				wg.Wait()
				all := boards[0].workers(rpw.WorkersRequest{})
				require.Len(e, all, 10)
				for _, w := range all {
					require.Equal(e, w.ID, w.Meta["id"])
				}
			}},
		{"Original/Logs/LevelIsTheLevel", []string{"L4"},
			"The level of a record is the one it was logged with, its message holds no colours, and Write returns when it is stored.", func(e *env) {
				record := entry("quiet")
				record.Level, record.Source = slog.LevelDebug, "main"
				e.log(record)
				page, err := e.peer().Logs().Query(e.Context(), rpw.LogQuery{})
				require.NoError(e, err)
				require.Equal(e, []any{slog.LevelDebug, "quiet", "main"}, []any{page.Records[0].Level, page.Records[0].Message, page.Records[0].Source})
			}},
	}
}

func originalHub() []testCase {
	publish := func(e *env, stream, kind, data string) rpw.Position {
		e.Helper()
		answers, err := e.hub.Streams().Publish(e.Context(), []rpw.Batch{{Stream: stream, Events: []rpw.NewEvent{{Type: kind, Data: []byte(data)}}}})
		require.NoError(e, err)
		require.NoError(e, answers[0].Err)
		return answers[0].Last()
	}
	read := func(e *env, stream string, after rpw.Position) <-chan answer[[]rpw.Event] {
		return start(func() ([]rpw.Event, error) {
			for end := time.Now().Add(e.patience()); ; time.Sleep(e.unit) {
				events, err := e.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: stream, After: after, Wait: e.patience()})
				if err != nil || len(events) > 0 || time.Now().After(end) {
					return events, err
				}
			}
		})
	}
	newest := func(e *env, stream string) rpw.Position {
		e.Helper()
		at, err := e.hub.Streams().Locate(e.Context(), stream, rpw.Newest())
		require.NoError(e, err)
		return at
	}
	return []testCase{
		{"Original/Streams/NothingIsLostAfterTheStart", []string{"S4"},
			"What is published right after a reader pinned its start arrives, whenever the reader looks.", func(e *env) {
				for i := range 50 {
					at := newest(e, "s")
					publish(e.on(e.hub), "s", "e", fmt.Sprint(i))
					if i%10 == 0 {
						e.idle()
					}
					events, err := await(e, read(e, "s", at))
					require.NoError(e, err)
					require.Len(e, events, 1)
					require.Equal(e, fmt.Sprint(i), string(events[0].Data))
				}
			}},
		{"Original/Streams/NilMeansStored", []string{"S2"},
			"Publish returns the position of a stored event, whatever its data: 0, false, null and nothing at all.", func(e *env) {
				other := e.on(e.peer())
				for _, data := range []string{`0`, `false`, `null`, `""`, ``} {
					at := publish(e, "s", "e", data)
					events, err := other.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: "s", Reverse: true, Max: 1})
					require.NoError(e, err)
					require.Equal(e, at, events[0].Position())
					require.Equal(e, data, string(events[0].Data))
				}
			}},
		{"Original/Streams/ReadersDoNotQueueUp", []string{"S6", "S8"},
			"A reader that waits on a silent stream keeps no other stream's reader of the same hub waiting, nor any other call.", func(e *env) {
				publish(e, "silent", "e", `1`)
				silent := read(e, "silent", newest(e, "silent"))
				waiting := read(e, "busy", newest(e, "busy"))
				e.idle()
				began := time.Now()
				publish(e, "busy", "e", `1`)
				events, err := await(e, waiting)
				require.NoError(e, err)
				require.Len(e, events, 1)
				e.soon(began)
				require.NoError(e, e.hub.Health(e.Context()))
				require.Empty(e, silent)
				publish(e, "silent", "e", `2`)
				_, err = await(e, silent)
				require.NoError(e, err)
			}},
		{"Original/Streams/NoEventEndsAReader", []string{"S4", "S5"},
			"No type and no data of an event ends a reader: neither complete nor what is no JSON.", func(e *env) {
				at := newest(e, "s")
				publish(e, "s", "e", `1`)
				publish(e, "s", "completed", `2`)
				publish(e, "s", "e", "\xff{not JSON")
				publish(e, "s", "e", `4`)
				events, err := await(e, read(e, "s", at))
				require.NoError(e, err)
				require.Len(e, events, 4)
				require.Equal(e, "\xff{not JSON", string(events[2].Data))
			}},
		{"Original/Hub/ClosingOneLeavesTheOthers", []string{"E1", "E3"},
			"Closing a hub ends its own calls and no one else's.", func(e *env) {
				leaving := e.on(e.peer())
				mine := read(e, "s", newest(e, "s"))
				theirs := read(leaving, "s", newest(e, "s"))
				e.idle()
				require.NoError(e, leaving.hub.Close())
				_, err := await(e, theirs)
				e.is(err, rpw.ErrClosed)
				publish(e, "s", "e", `1`)
				events, err := await(e, mine)
				require.NoError(e, err)
				require.Len(e, events, 1)
				e.board().add(job("q", "1"))
			}},
	}
}
