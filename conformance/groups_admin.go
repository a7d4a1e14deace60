package conformance

import (
	"errors"
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func groupGapCases() []testCase {
	return []testCase{
		{"Groups/Gaps/TrimmedIsReportedOncePerConsumer", []string{"S5", "G5"},
			"History that a group missed is a gap for each of its consumers, once; then it goes on with what is there.",
			func(e *env) {
				e.group("s", "g")
				for _, consumer := range []string{"a", "b"} {
					assert.Empty(e, e.fetch("s", "g", consumer, 1))
				}
				e.publish("s", numbers(1, 300)...)
				gone := e.trim("s", 50)
				require.Positive(e, gone)
				for _, consumer := range []string{"a", "b"} {
					_, err := e.hub.Streams().Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: consumer})
					gap := e.gap(err)
					assert.Equal(e, rpw.GapTrimmed, gap.Kind)
					assert.Equal(e, "s", gap.Stream)
					assert.Equal(e, "g", gap.Group)
					assert.EqualValues(e, gone, gap.Missed)
				}
				assert.Equal(e, numbers(gone+1, gone+1), dataOf(e.fetch("s", "g", "a", 1)))
				assert.Equal(e, numbers(gone+2, gone+2), dataOf(e.fetch("s", "g", "b", 1)))
			}},
		{"Groups/Gaps/WhatWasDeliveredIsNotMissed", []string{"S5", "G5"},
			"Trimming what a group has already been given, or deleting single events, is no gap for it.",
			func(e *env) {
				e.group("s", "g")
				at := e.publish("s", numbers(1, 300)...)
				e.ack("s", "g", e.fetch("s", "g", "c", 295)...)
				e.trim("s", 5)
				_, err := e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{at[296].ID})
				require.NoError(e, err)
				assert.Equal(e, []string{"296", "298", "299", "300"}, dataOf(e.fetch("s", "g", "c", 10)))
			}},
		// F8, G5.
		{"Groups/Gaps/FlushedGroupIsMadeAgain", []string{"G5"},
			"After a flush the group is ErrNotFound; when it was made again a consumer that knows the old one gets one gap of kind reset.",
			func(e *env) {
				old := e.group("s", "g")
				e.publish("s", "a")
				stale := e.fetchOne("s", "g", "c")
				e.flush()
				bus := e.hub.Streams()
				_, err := bus.Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Incarnation: old.Incarnation})
				e.is(err, rpw.ErrNotFound)
				e.publish("s", "b")
				again := e.group("s", "g")
				assert.Greater(e, again.Incarnation, old.Incarnation)
				for _, consumer := range []string{"c", "d"} {
					_, err = bus.Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: consumer, Incarnation: old.Incarnation})
					gap := e.gap(err)
					assert.Equal(e, rpw.GapReset, gap.Kind)
					assert.Equal(e, "g", gap.Group)
				}
				ds, err := bus.Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Incarnation: again.Incarnation})
				require.NoError(e, err)
				assert.Equal(e, []string{"b"}, dataOf(ds))
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: stale.Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
			}},
		{"Groups/Gaps/WaitingFetchLearnsThatItsGroupIsGone", []string{"G5"},
			"A fetch that waits when its group is deleted comes back with ErrNotFound, it does not wait for ever.",
			func(e *env) {
				e.group("s", "g")
				fetch := e.waitFetch("s", "g", "c")
				e.idle()
				e.on(e.peer()).administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.DeleteGroup})
				_, err := await(e, fetch)
				e.is(err, rpw.ErrNotFound)
			}},
		{"Groups/Gaps/NoFalseAlarmForANewConsumer", []string{"S5", "G5"},
			"A group on a stream that was trimmed before begins with what is there, without a gap.",
			func(e *env) {
				e.publish("s", numbers(1, 300)...)
				gone := e.trim("s", 50)
				e.group("s", "g")
				assert.Equal(e, numbers(gone+1, gone+3), dataOf(e.fetch("s", "g", "a", 3)))
				assert.Equal(e, numbers(gone+4, gone+4), dataOf(e.fetch("s", "g", "b", 1)))
			}},
	}
}

func groupAdminCases() []testCase {
	return []testCase{
		{"Groups/Info/LagAndPending", []string{"G6"},
			"A group tells its lag, what is pending and for how long, and what each consumer holds.",
			func(e *env) {
				e.group("s", "g")
				at := e.publish("s", numbers(1, 10)...)
				assert.EqualValues(e, 10, e.groupInfo("s", "g").Lag)
				ds := e.fetch("s", "g", "a", 3)
				e.fetch("s", "g", "b", 1)
				e.pass(e.unit)
				info := e.groupInfo("s", "g")
				assert.Equal(e, "s", info.Stream)
				assert.EqualValues(e, 6, info.Lag)
				assert.EqualValues(e, 4, info.Pending)
				assert.Equal(e, at[3], info.Position)
				assert.GreaterOrEqual(e, info.OldestPending, e.unit)
				require.Len(e, info.Consumers, 2)
				for i, want := range []rpw.ConsumerInfo{{Name: "a", Pending: 3}, {Name: "b", Pending: 1}} {
					assert.Equal(e, want.Name, info.Consumers[i].Name)
					assert.Equal(e, want.Pending, info.Consumers[i].Pending)
					assert.False(e, info.Consumers[i].LastSeen.Before(at[0].ID.Time()), "seen by the store's clock")
				}
				e.ack("s", "g", ds...)
				info = e.groupInfo("s", "g")
				assert.EqualValues(e, 6, info.Lag)
				assert.EqualValues(e, 1, info.Pending)
				e.ack("s", "g", e.fetch("s", "g", "a", 10)...)
				e.pass(e.lease())
				e.ack("s", "g", e.fetch("s", "g", "a", 10)...)
				info = e.groupInfo("s", "g")
				assert.Zero(e, info.Lag)
				assert.Zero(e, info.Pending)
				assert.Zero(e, info.OldestPending)
			}},
		{"Groups/Info/ListedByName", []string{"G6"},
			"The groups of a stream are listed by name; a stream without any, or none at all, has none.",
			func(e *env) {
				groups, err := e.hub.Streams().Groups(e.Context(), "s")
				require.NoError(e, err)
				assert.Empty(e, groups)
				for _, g := range []string{"c", "a", "b"} {
					e.group("s", g)
				}
				groups, err = e.hub.Streams().Groups(e.Context(), "s")
				require.NoError(e, err)
				var names []string
				for _, g := range groups {
					names = append(names, g.Group)
				}
				assert.Equal(e, []string{"a", "b", "c"}, names)
				assert.Equal(e, 3, e.info("s").Groups)
			}},
		// F46, G6.
		{"Groups/Pending/PagesByID", []string{"G6"},
			"Pending events are listed by id, in pages, with holder, attempt and the end of the lease; also of one consumer.",
			func(e *env) {
				e.group("s", "g")
				at := e.publish("s", numbers(1, 10)...)
				held := e.fetch("s", "g", "a", 6)
				e.fetch("s", "g", "b", 4)
				var got []rpw.PendingEntry
				for req := (rpw.PendingRequest{Stream: "s", Group: "g", Max: 4}); ; {
					page, err := e.hub.Streams().Pending(e.Context(), req)
					require.NoError(e, err)
					require.LessOrEqual(e, len(page.Entries), 4)
					got = append(got, page.Entries...)
					if req.After = page.Next; req.After.IsZero() {
						break
					}
				}
				require.Len(e, got, 10)
				for i, p := range got {
					assert.Equal(e, at[i].ID, p.ID)
					assert.Equal(e, 1, p.Attempt)
					assert.True(e, p.Leased)
				}
				assert.True(e, held[0].Until.Equal(got[0].Until), "%v, %v", held[0].Until, got[0].Until)
				page, err := e.hub.Streams().Pending(e.Context(), rpw.PendingRequest{Stream: "s", Group: "g", Consumer: "b"})
				require.NoError(e, err)
				require.Len(e, page.Entries, 4)
				assert.Equal(e, at[6].ID, page.Entries[0].ID)
				assert.Equal(e, "b", page.Entries[0].Consumer)
			}},
		{"Groups/Administer/RemoveConsumerLosesNothing", []string{"G6"},
			"The pending events of a removed consumer are deliverable to others at once; the removed one is fenced off.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
				e.publish("s", numbers(1, 5)...)
				held := e.fetch("s", "g", "dead", 3)
				e.fetch("s", "g", "alive", 1)
				assert.EqualValues(e, 3, e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.RemoveConsumer, Consumer: "dead"}))
				info := e.groupInfo("s", "g")
				require.Len(e, info.Consumers, 1)
				assert.Equal(e, "alive", info.Consumers[0].Name)
				assert.Equal(e, []string{"1", "2", "3", "5"}, dataOf(e.fetch("s", "g", "other", 10)))
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: held[0].Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
				assert.Zero(e, e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.RemoveConsumer, Consumer: "unknown"}))
			}},
		{"Groups/Administer/RemovedAgain", []string{"G6"},
			"A consumer that was removed and came back under its name is removed with all that it held under it.",
			func(e *env) {
				for _, verdict := range []rpw.Verdict{rpw.Nack, rpw.Extend} {
					stream := fmt.Sprint("s", verdict)
					e.group(stream, "g")
					e.publish(stream, "a")
					d := e.fetchOne(stream, "g", "c")
					remove := rpw.GroupCommand{Stream: stream, Group: "g", Verb: rpw.RemoveConsumer, Consumer: "c"}
					assert.EqualValues(e, 1, e.administer(remove))
					err := e.settle(stream, "g", rpw.Settlement{Receipt: d.Receipt, Verdict: verdict, Delay: rpw.MaxLease})[0]
					require.True(e, err == nil || errors.Is(err, rpw.ErrLeaseLost), "nobody else has the event yet: %v", err)
					e.fetch(stream, "g", "c", 1)
					assert.EqualValues(e, 1, e.administer(remove))
					assert.Equal(e, []string{"a"}, dataOf(e.fetch(stream, "g", "d", 1)))
				}
			}},
		{"Groups/Administer/WhatARemovedOneSettlesIsNotCounted", []string{"G6"},
			"What a removed consumer still settles is none of the events of one that comes under its name.",
			func(e *env) {
				verdicts := []rpw.Verdict{rpw.Ack, rpw.Nack, rpw.Release, rpw.Extend}
				for _, lapsed := range []bool{false, true} {
					streams, held := make([]string, len(verdicts)), make([][]rpw.Delivery, len(verdicts))
					for i, late := range verdicts {
						stream := fmt.Sprint("s", lapsed, late)
						e.group(stream, "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
						e.publish(stream, numbers(1, 3)...)
						e.verdict(stream, "g", e.fetch(stream, "g", "c", 2)[1], rpw.Settlement{Verdict: rpw.Nack})
						streams[i] = stream
						held[i] = append(e.fetch(stream, "g", "c", 1), e.fetch(stream, "g", "c", 1)...) // the second event again, and the third
						if lapsed {
							for _, d := range held[i] {
								e.verdict(stream, "g", d, rpw.Settlement{Verdict: rpw.Extend, Delay: e.lease()})
							}
						}
					}
					if lapsed {
						e.pass(e.lease())
					}
					for i, late := range verdicts {
						stream, held := streams[i], held[i]
						if lapsed {
							require.Equal(e, []string{"2"}, dataOf(e.fetch(stream, "g", "d", 1)), "the third can be had, too, and nobody has it")
						}
						e.administer(rpw.GroupCommand{Stream: stream, Group: "g", Verb: rpw.RemoveConsumer, Consumer: "c"})
						for _, d := range held {
							e.settle(stream, "g", rpw.Settlement{Receipt: d.Receipt, Verdict: late})
						}
						e.fetch(stream, "g", "d", 3)
						e.settle(stream, "g", rpw.Settlement{Receipt: held[1].Receipt, Verdict: rpw.Ack})
						require.Empty(e, e.fetch(stream, "g", "c", 3), "it holds nothing")
						info := e.groupInfo(stream, "g")
						require.Len(e, info.Consumers, 2)
						assert.Zero(e, info.Consumers[0].Pending, "lapsed: %v, then %v", lapsed, late)
						assert.LessOrEqual(e, info.Consumers[1].Pending, info.Pending)
					}
				}
			}},
		{"Groups/Administer/ManyConsumersInOneCall", []string{"G6"},
			"Consumers that are removed in one call are answered one by one, each with the events that it held.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
				e.publish("s", numbers(1, 6)...)
				e.fetch("s", "g", "a", 2)
				e.fetch("s", "g", "b", 1)
				e.verdict("s", "g", e.fetchOne("s", "g", "b"), rpw.Settlement{Verdict: rpw.Nack, Delay: rpw.MaxLease})
				e.fetch("s", "g", "alive", 1)
				var commands []rpw.GroupCommand
				for _, consumer := range []string{"a", "unknown", "b", "a"} {
					commands = append(commands, rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.RemoveConsumer, Consumer: consumer})
				}
				commands = append(commands, rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.Redrive}, commands[0])
				answers, err := e.hub.Streams().Administer(e.Context(), rpw.GroupCommands{Commands: commands})
				require.NoError(e, err)
				var events []int64
				for _, answer := range answers {
					require.NoError(e, answer.Err)
					events = append(events, answer.Events)
				}
				assert.Equal(e, []int64{2, 0, 2, 0, 0, 0}, events)
				assert.Len(e, e.groupInfo("s", "g").Consumers, 1)
				assert.Equal(e, []string{"1", "2", "3", "4", "6"}, dataOf(e.fetch("s", "g", "other", 10)))
			}},
		{"Groups/Administer/ResetContinuesAtFrom", []string{"G6", "G2"},
			"A reset group goes on at From and forgets what was pending; those who held it are fenced off.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 4)...)
				held := e.fetch("s", "g", "c", 3)
				e.ack("s", "g", held[0])
				e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.ResetGroup, From: rpw.Oldest()})
				assert.Empty(e, e.pending("s", "g"))
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: held[1].Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
				again := e.fetch("s", "g", "c", 10)
				assert.Equal(e, numbers(1, 4), dataOf(again))
				assert.Greater(e, again[0].Receipt.Token, held[2].Receipt.Token)
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: held[1].Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
				assert.Len(e, e.pending("s", "g"), 4)
				e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.ResetGroup, From: rpw.Newest()})
				assert.Zero(e, e.groupInfo("s", "g").Lag)
			}},
		{"Groups/Administer/DeleteKeepsTheDeadLetters", []string{"G4", "G6"},
			"A deleted group is gone with what is pending; its dead letters stay.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a", "b")
				e.verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Reject})
				e.fetchOne("s", "g", "c")
				e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.DeleteGroup})
				groups, err := e.hub.Streams().Groups(e.Context(), "s")
				require.NoError(e, err)
				assert.Empty(e, groups)
				assert.Equal(e, []string{"a"}, texts(e.read(rpw.DeadLetter("s", "g"), rpw.Position{})))
			}},
		{"Groups/Administer/CommandsAreAnsweredOneByOne", []string{"G6", "E2"},
			"Each command has its own answer; one for a group that does not exist is ErrNotFound and takes no other with it.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				e.fetchOne("s", "g", "dead")
				answers, err := e.hub.Streams().Administer(e.Context(), rpw.GroupCommands{Commands: []rpw.GroupCommand{
					{Stream: "s", Group: "none", Verb: rpw.RemoveConsumer, Consumer: "dead"},
					{Stream: "s", Group: "g", Verb: rpw.RemoveConsumer, Consumer: "dead"},
				}})
				require.NoError(e, err)
				require.Len(e, answers, 2)
				e.is(answers[0].Err, rpw.ErrNotFound)
				require.NoError(e, answers[1].Err)
				assert.EqualValues(e, 1, answers[1].Events)
			}},
	}
}
