package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func groupCases() []testCase {
	return slices.Concat(fetchCases(), verdictCases(), deadLetterCases(), groupGapCases(), groupAdminCases(), consumeCases())
}

// What cases say about groups.

// group makes sure of a group that begins with the oldest event and has the case's short lease.
func (e *env) group(stream, group string, change ...func(*rpw.GroupConfig)) rpw.GroupInfo {
	e.Helper()
	info, err := e.ensure(stream, group, change...)
	require.NoError(e, err)
	return info
}

func (e *env) ensure(stream, group string, change ...func(*rpw.GroupConfig)) (rpw.GroupInfo, error) {
	cfg := rpw.GroupConfig{Stream: stream, Group: group, From: rpw.Oldest(), Lease: e.lease()}
	for _, c := range change {
		c(&cfg)
	}
	return e.hub.Streams().EnsureGroup(e.Context(), cfg)
}

func (e *env) groupInfo(stream, group string) rpw.GroupInfo {
	e.Helper()
	groups, err := e.hub.Streams().Groups(e.Context(), stream)
	require.NoError(e, err)
	i := slices.IndexFunc(groups, func(g rpw.GroupInfo) bool { return g.Group == group })
	require.GreaterOrEqual(e, i, 0, "the group %s is listed", group)
	return groups[i]
}

// fetch leases what there is, at most MaxPage events.
func (e *env) fetch(stream, group, consumer string, most int) []rpw.Delivery {
	e.Helper()
	ds, err := e.hub.Streams().Fetch(e.Context(), rpw.FetchRequest{Stream: stream, Group: group, Consumer: consumer, Max: most})
	require.NoError(e, err)
	return ds
}

// fetchOne leases one event that is there.
func (e *env) fetchOne(stream, group, consumer string) rpw.Delivery {
	e.Helper()
	ds := e.fetch(stream, group, consumer, 1)
	require.Len(e, ds, 1, "one event to fetch")
	return ds[0]
}

// waitFetch starts a fetch that waits.
func (e *env) waitFetch(stream, group, consumer string) <-chan answer[[]rpw.Delivery] {
	bus, ctx := e.hub.Streams(), e.Context()
	return start(func() ([]rpw.Delivery, error) {
		for {
			ds, err := bus.Fetch(ctx, rpw.FetchRequest{Stream: stream, Group: group, Consumer: consumer, Wait: rpw.Forever})
			if err != nil || len(ds) > 0 {
				return ds, err
			}
		}
	})
}

// settle hands in verdicts.
func (e *env) settle(stream, group string, settlements ...rpw.Settlement) []error {
	e.Helper()
	errs, err := e.hub.Streams().Settle(e.Context(), rpw.SettleRequest{Stream: stream, Group: group, Settlements: settlements})
	require.NoError(e, err)
	require.Len(e, errs, len(settlements), "one answer for each verdict")
	return errs
}

// verdict settles one delivery, which must be accepted.
func (e *env) verdict(stream, group string, d rpw.Delivery, s rpw.Settlement) {
	e.Helper()
	s.Receipt = d.Receipt
	require.NoError(e, e.settle(stream, group, s)[0])
}

func (e *env) ack(stream, group string, ds ...rpw.Delivery) {
	e.Helper()
	for _, d := range ds {
		e.verdict(stream, group, d, rpw.Settlement{Verdict: rpw.Ack})
	}
}

func (e *env) pending(stream, group string) []rpw.PendingEntry {
	e.Helper()
	page, err := e.hub.Streams().Pending(e.Context(), rpw.PendingRequest{Stream: stream, Group: group})
	require.NoError(e, err)
	return page.Entries
}

func (e *env) administer(cmd rpw.GroupCommand) int64 {
	e.Helper()
	answers, err := e.hub.Streams().Administer(e.Context(), rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
	require.NoError(e, err)
	require.Len(e, answers, 1)
	require.NoError(e, answers[0].Err)
	return answers[0].Events
}

// dataOf are the texts of deliveries.
func dataOf(ds []rpw.Delivery) []string {
	data := make([]string, len(ds))
	for i, d := range ds {
		data[i] = textOf(d.Data)
	}
	return data
}

func fetchCases() []testCase {
	return []testCase{
		{"Groups/Ensure/ConfirmsOrConflicts", []string{"G1", "E2"},
			"EnsureGroup confirms a group with the same settings, refuses others with ErrConflict, and takes them with Update.",
			func(e *env) {
				first := e.group("s", "g")
				assert.NotZero(e, first.Incarnation)
				assert.Equal(e, first.Incarnation, e.on(e.peer()).group("s", "g").Incarnation)
				other := func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = 9 }
				_, err := e.ensure("s", "g", other)
				e.is(err, rpw.ErrConflict)
				updated := e.group("s", "g", other, func(cfg *rpw.GroupConfig) { cfg.Update = true })
				assert.Equal(e, 9, updated.MaxDeliveries)
				assert.Equal(e, first.Incarnation, updated.Incarnation)
				assert.Equal(e, 9, e.groupInfo("s", "g").MaxDeliveries)
			}},
		{"Groups/Ensure/DefaultsAreFilledIn", []string{"G1"},
			"A group that says nothing has the default lease and deliveries, and says so.",
			func(e *env) {
				info, err := e.hub.Streams().EnsureGroup(e.Context(), rpw.GroupConfig{Stream: "s", Group: "g"})
				require.NoError(e, err)
				assert.Equal(e, rpw.DefaultGroupLease, info.Lease)
				assert.Equal(e, rpw.DefaultMaxDeliveries, info.MaxDeliveries)
			}},
		{"Groups/Ensure/BeginsWhereItSays", []string{"G1", "S4"},
			"A new group begins at From; what is published after EnsureGroup(Newest) is delivered.",
			func(e *env) {
				at := e.publish("s", numbers(1, 3)...)
				groups := map[string]struct {
					from rpw.Start
					data []string
				}{
					"newest": {rpw.Newest(), numbers(4, 4)}, "oldest": {rpw.Oldest(), numbers(1, 4)},
					"after": {rpw.After(at[0]), numbers(2, 4)}, "last": {rpw.Last(1), numbers(3, 4)},
				}
				for group, want := range groups {
					e.group("s", group, func(cfg *rpw.GroupConfig) { cfg.From = want.from })
				}
				e.publish("s", "4")
				for group, want := range groups {
					assert.Equal(e, want.data, dataOf(e.fetch("s", group, "c", 10)), group)
				}
			}},
		{"Groups/Fetch/NoGroupIsNotFound", []string{"G5", "E2"},
			"Fetching for a group that does not exist is ErrNotFound, whether or not the stream does.",
			func(e *env) {
				bus := e.hub.Streams()
				_, err := bus.Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
				e.is(err, rpw.ErrNotFound)
				e.publish("s", "a")
				_, err = bus.Fetch(e.promptly(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: rpw.Forever})
				e.is(err, rpw.ErrNotFound)
			}},
		{"Groups/Fetch/DeliversUnderALease", []string{"G1"},
			"A delivery carries the event, attempt 1, a receipt with the group's incarnation, and when its lease ends.",
			func(e *env) {
				info := e.group("s", "g")
				at := e.publishEvents("s", rpw.NewEvent{Type: "x", Data: payload("a"), Header: map[string]string{"h": "v"}})[0]
				d := e.fetchOne("s", "g", "c")
				assert.Equal(e, "x", d.Type)
				assert.Equal(e, "a", textOf(d.Data))
				assert.Equal(e, map[string]string{"h": "v"}, d.Header)
				assert.Equal(e, at, d.Position())
				assert.Equal(e, 1, d.Attempt)
				assert.Equal(e, at.ID, d.Receipt.ID)
				assert.Equal(e, info.Incarnation, d.Receipt.Incarnation)
				assert.NotZero(e, d.Receipt.Token)
				assert.True(e, d.Until.After(at.ID.Time()))
				assert.Empty(e, e.fetch("s", "g", "other", 10), "one holder at a time")
			}},
		{"Groups/Fetch/MaxBounds", []string{"G1"},
			"Fetch gives one event if Max is 0, else at most Max, in order.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 600)...)
				assert.Equal(e, numbers(1, 1), dataOf(e.fetch("s", "g", "c", 0)))
				assert.Equal(e, numbers(2, 11), dataOf(e.fetch("s", "g", "c", 10)))
				assert.Equal(e, numbers(12, 511), dataOf(e.fetch("s", "g", "c", 1<<30)))
			}},
		{"Groups/Fetch/ConsumersCompete", []string{"G1"},
			"Consumers of one group in several processes get every event once among them; another group gets all for itself.",
			func(e *env) {
				const total = 200
				e.group("s", "g")
				e.group("s", "other")
				var workers []<-chan answer[[]string]
				for _, consumer := range []string{"a", "b", "c"} {
					bus, ctx := e.peer().Streams(), e.Context()
					workers = append(workers, start(func() (got []string, err error) {
						for {
							ds, err := bus.Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: consumer, Max: 7, Lease: rpw.MaxLease, Wait: rpw.Forever})
							if err != nil {
								return got, err
							}
							for _, d := range ds {
								if textOf(d.Data) == "stop" {
									return got, nil
								}
								got = append(got, textOf(d.Data))
								if _, err := bus.Settle(ctx, rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: d.Receipt, Verdict: rpw.Ack}}}); err != nil {
									return got, err
								}
							}
						}
					}))
				}
				for _, n := range numbers(1, total) {
					e.publish("s", n)
				}
				e.eventually(func() bool {
					info := e.groupInfo("s", "g")
					return info.Lag == 0 && info.Pending == 0
				}, "everything is settled")
				var all []string
				for range workers {
					e.publish("s", "stop")
					e.eventually(func() bool { return e.groupInfo("s", "g").Lag == 0 }, "a worker took it")
				}
				for _, w := range workers {
					got, err := await(e, w)
					require.NoError(e, err)
					all = append(all, got...)
				}
				assert.ElementsMatch(e, numbers(1, total), all)
				assert.Equal(e, numbers(1, total), dataOf(e.fetch("s", "other", "x", rpw.MaxPage))[:total])
			}},
		{"Groups/Fetch/LapsedLeaseIsDeliveredAgain", []string{"G1", "G2"},
			"When a lease lapses the event goes to another consumer, as the next attempt and with a greater token.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				first := e.fetchOne("s", "g", "dead")
				e.pass(e.lease())
				second := e.fetchOne("s", "g", "alive")
				assert.Equal(e, first.ID, second.ID)
				assert.Equal(e, 2, second.Attempt)
				assert.Greater(e, second.Receipt.Token, first.Receipt.Token)
			}},
		{"Groups/Fetch/RedeliveriesComeFirst", []string{"G1"},
			"What lapsed comes before new events, in order of ids.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 3)...)
				require.Len(e, e.fetch("s", "g", "dead", 3), 3)
				e.publish("s", "4")
				e.pass(e.lease())
				assert.Equal(e, numbers(1, 4), dataOf(e.fetch("s", "g", "alive", 10)))
			}},
		{"Groups/Fetch/OwnLeaseOfTheCall", []string{"G1"},
			"The lease of a fetch may differ from the group's.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
				e.publish("s", "a", "b")
				bus := e.hub.Streams()
				ds, err := bus.Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Lease: e.lease()})
				require.NoError(e, err)
				require.Len(e, ds, 1)
				e.fetchOne("s", "g", "c")
				e.pass(e.lease())
				assert.Equal(e, []string{"a"}, dataOf(e.fetch("s", "g", "d", 10)))
			}},
		{"Groups/Fetch/WakesOnPublish", []string{"G1"},
			"A waiting fetch returns as soon as something is published, and only one of those who wait gets it.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
				woken := either(e.waitFetch("s", "g", "a"), e.on(e.peer()).waitFetch("s", "g", "b"))
				e.idle()
				for _, n := range numbers(1, 2) {
					e.publish("s", n)
					ds, err := await(e, woken)
					require.NoError(e, err)
					assert.Equal(e, []string{n}, dataOf(ds))
				}
			}},
		{"Groups/Fetch/WakesWhenSomethingIsDueAgain", []string{"G1"},
			"A waiting fetch gets what lapses, what is released and what a Nack delayed, when its time comes, without any new event.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
				e.publish("s", "a")
				ds, err := e.hub.Streams().Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "dead", Lease: e.lease()})
				require.NoError(e, err)
				require.Len(e, ds, 1)
				d := ds[0]
				got := func(what string, cause func()) {
					fetch := e.waitFetch("s", "g", "c")
					e.idle()
					cause()
					ds, err := await(e, fetch)
					require.NoError(e, err, what)
					require.Len(e, ds, 1, what)
					d = ds[0]
				}
				got("lapsed", func() { e.pass(e.lease()) })
				got("released", func() { e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Release}) })
				got("nacked", func() { e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Nack, Delay: e.units(5)}) })
			}},
		{"Groups/Fetch/CutWaitLeasesNothing", []string{"G1", "E1"},
			"A fetch whose context ended takes nothing that is published later: nothing is leased to nobody.",
			func(e *env) {
				e.group("s", "g")
				h := e.peer()
				fetches := make([]leaver[[]rpw.Delivery], 10)
				for i := range fetches {
					fetches[i] = startLeaver(e, func(ctx context.Context) ([]rpw.Delivery, error) {
						return h.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "gone", Wait: rpw.Forever})
					})
				}
				e.idle()
				for _, fetch := range fetches {
					fetch.leave()
					_, err := await(e, fetch.left)
					require.Error(e, err)
				}
				e.publish("s", "a")
				d := e.fetchOne("s", "g", "c")
				assert.Equal(e, 1, d.Attempt)
			}},
		{"Groups/Fetch/WhoLeavesPassesTheEventOn", []string{"G1", "E1"},
			"When the context of a waiting fetch ends just as something is published, another waiting fetch gets it at once.",
			func(e *env) {
				other := e.on(e.peer())
				stream := func(i int) string { return fmt.Sprint("s", i) }
				leaving, staying := make([]leaver[[]rpw.Delivery], 20), make([]<-chan answer[[]rpw.Delivery], 20)
				for i := range leaving {
					e.group(stream(i), "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
					leaving[i] = startLeaver(e, func(ctx context.Context) ([]rpw.Delivery, error) {
						return e.hub.Streams().Fetch(ctx, rpw.FetchRequest{Stream: stream(i), Group: "g", Consumer: "leaving", Wait: rpw.Forever})
					})
				}
				e.idle()
				for i := range staying {
					staying[i] = other.waitFetch(stream(i), "g", "staying")
				}
				e.idle()
				for i := range leaving {
					leaving[i].leave()
					e.publish(stream(i), "event")
					began := time.Now()
					left, err := await(e, leaving[i].left)
					if err != nil {
						require.ErrorIs(e, err, context.Canceled)
					} else { // it was quicker than its end
						require.Len(e, left, 1)
						e.publish(stream(i), "again")
					}
					got, err := await(e, staying[i])
					require.NoError(e, err)
					require.Len(e, got, 1)
					e.soon(began)
				}
			}},
		// F7, G1.
		{"Groups/Fetch/WhoLeavesHandsBackWhatHeWasGiven", []string{"G1", "E1"},
			"When the context of a fetch ends before the reply comes, another fetch gets at once what the store had leased, without the cost of a delivery.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
				e.publish("s", "a")
				h, faults := e.faulty()
				faults.spoil("Streams.Fetch", unheard)
				ctx, cancel := context.WithCancel(e.Context())
				leaving := start(func() ([]rpw.Delivery, error) {
					return h.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "leaving", Wait: rpw.Forever})
				})
				e.eventually(func() bool { return len(e.pending("s", "g")) == 1 }, "the store leases the event")
				staying := e.on(e.peer()).waitFetch("s", "g", "staying")
				e.idle()
				began := time.Now()
				cancel()
				_, err := await(e, leaving)
				require.ErrorIs(e, err, context.Canceled)
				got, err := await(e, staying)
				require.NoError(e, err)
				require.Equal(e, []string{"a"}, dataOf(got))
				assert.Equal(e, 1, got[0].Attempt)
				e.soon(began)
			}},
		{"Groups/Fetch/ClosingHubEndsWaits", []string{"E1", "E2"},
			"Closing a Hub ends its waiting fetches with ErrClosed, and takes nothing.",
			func(e *env) {
				e.group("s", "g")
				h := e.peer()
				fetch := e.on(h).waitFetch("s", "g", "gone")
				e.idle()
				require.NoError(e, h.Close())
				_, err := await(e, fetch)
				e.is(err, rpw.ErrClosed)
				e.publish("s", "a")
				assert.Equal(e, 1, e.fetchOne("s", "g", "c").Attempt)
			}},
		{"Groups/Fetch/LostReplyLeasesToNobodyElse", []string{"G1", "S3"},
			"A fetch whose reply was lost is repeated with the same answer: what the store leased is what the caller holds.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 10)...)
				h, faults := e.faulty()
				faults.spoil("Streams.Fetch", lost, refused, lost)
				ds := e.on(h).fetch("s", "g", "c", 4)
				assert.Zero(e, faults.left(), "the faults were met")
				assert.Equal(e, numbers(1, 4), dataOf(ds))
				for _, d := range ds {
					assert.Equal(e, 1, d.Attempt)
				}
				assert.Len(e, e.pending("s", "g"), 4)
				e.ack("s", "g", ds...)
				assert.Equal(e, numbers(5, 10), dataOf(e.fetch("s", "g", "c", 10)))
			}},
		{"Groups/Fetch/SameLaneLeavesOutWhatWasGivenBack", []string{"G1", "S3"},
			"A repeat of a call does not answer what was given back since: it is for others, or for the next call. So a repeat that holds nothing any more does not wait.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 2)...)
				req := rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 2, Lane: rpw.Lane{ID: [16]byte{8}, Seq: 1}}
				first, err := e.hub.Streams().Fetch(e.Context(), req)
				require.NoError(e, err)
				require.Len(e, first, 2)
				e.settle("s", "g", rpw.Settlement{Receipt: first[0].Receipt, Verdict: rpw.Release}, rpw.Settlement{Receipt: first[1].Receipt, Verdict: rpw.Release})
				for _, req.Wait = range []time.Duration{0, rpw.Forever} {
					again, err := await(e, start(func() ([]rpw.Delivery, error) { return e.on(e.peer()).hub.Streams().Fetch(e.Context(), req) }))
					require.NoError(e, err)
					assert.Empty(e, again)
				}
				assert.Equal(e, numbers(1, 2), dataOf(e.fetch("s", "g", "other", 10)))
			}},
		{"Groups/Fetch/SameLaneAnswersTheSame", []string{"G1", "S3"},
			"The same number on the same lane answers the same deliveries; the next one leases the next events.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 6)...)
				fetch := func(seq uint64) []rpw.Delivery {
					ds, err := e.on(e.peer()).hub.Streams().Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c",
						Max: 2, Lane: rpw.Lane{ID: [16]byte{9}, Seq: seq}})
					require.NoError(e, err)
					return ds
				}
				first := fetch(1)
				assert.Equal(e, numbers(1, 2), dataOf(first))
				again := fetch(1)
				require.Equal(e, dataOf(first), dataOf(again))
				for i := range first {
					assert.Equal(e, first[i].Receipt, again[i].Receipt)
					assert.Equal(e, first[i].Attempt, again[i].Attempt)
				}
				assert.Len(e, e.pending("s", "g"), 2)
				assert.Equal(e, numbers(3, 4), dataOf(fetch(2)))
			}},
	}
}
