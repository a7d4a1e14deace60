package conformance

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func verdictCases() []testCase {
	return []testCase{
		{"Groups/Settle/AckIsForGood", []string{"G2"},
			"An acknowledged event is never delivered to the group again; to other groups it is.",
			func(e *env) {
				e.group("s", "g")
				e.group("s", "other")
				e.publish("s", "a", "b")
				e.ack("s", "g", e.fetchOne("s", "g", "c"))
				e.pass(e.lease())
				assert.Equal(e, []string{"b"}, dataOf(e.fetch("s", "g", "c", 10)))
				assert.Equal(e, []string{"a", "b"}, dataOf(e.fetch("s", "other", "c", 10)))
			}},
		{"Groups/Settle/SupersededHolderGetsLeaseLost", []string{"G1", "G2"},
			"Who held an event before its present holder gets ErrLeaseLost for every verdict, and changes nothing.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = rpw.Unlimited })
				e.publish("s", "a")
				zombie := e.fetchOne("s", "g", "zombie")
				e.pass(e.lease())
				holder := e.fetchOne("s", "g", "holder")
				for _, v := range []rpw.Verdict{rpw.Ack, rpw.Nack, rpw.Extend, rpw.Reject, rpw.Release} {
					e.is(e.settle("s", "g", rpw.Settlement{Receipt: zombie.Receipt, Verdict: v})[0], rpw.ErrLeaseLost, "verdict %d", v)
				}
				pending := e.pending("s", "g")
				require.Len(e, pending, 1)
				assert.Equal(e, "holder", pending[0].Consumer)
				assert.True(e, pending[0].Leased)
				assert.Empty(e, e.read(rpw.DeadLetter("s", "g"), rpw.Position{}))
				e.ack("s", "g", holder)
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: zombie.Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost, "after the holder's ack")
			}},
		{"Groups/Settle/SameConsumerIsSupersededToo", []string{"G2"},
			"A consumer that got the event again under a newer token cannot settle with the older receipt.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				older := e.fetchOne("s", "g", "c")
				e.pass(e.lease())
				newer := e.fetchOne("s", "g", "c")
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: older.Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
				e.ack("s", "g", newer)
			}},
		{"Groups/Settle/LateAckOfTheLastHolderCounts", []string{"G2"},
			"A holder whose lease lapsed while nobody else took the event may still acknowledge it.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				d := e.fetchOne("s", "g", "c")
				e.pass(e.lease())
				e.ack("s", "g", d)
				assert.Empty(e, e.fetch("s", "g", "c", 10))
			}},
		{"Groups/Settle/RepeatedVerdictIsNil", []string{"G2", "S3"},
			"Repeating a verdict that was applied is nil and does nothing more, from any process.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = rpw.Unlimited })
				e.publish("s", numbers(1, 4)...)
				ds := e.fetch("s", "g", "c", 4)
				require.Len(e, ds, 4)
				verdicts := []rpw.Settlement{
					{Receipt: ds[0].Receipt, Verdict: rpw.Ack},
					{Receipt: ds[1].Receipt, Verdict: rpw.Reject, Reason: "no"},
					{Receipt: ds[2].Receipt, Verdict: rpw.Nack, Reason: "later"},
					{Receipt: ds[3].Receipt, Verdict: rpw.Release},
				}
				for range 3 {
					for i, err := range e.on(e.peer()).settle("s", "g", verdicts...) {
						assert.NoError(e, err, "verdict %d", i)
					}
				}
				again := e.fetch("s", "g", "c", 10)
				assert.Equal(e, numbers(3, 4), dataOf(again))
				assert.Equal(e, []int{2, 1}, []int{again[0].Attempt, again[1].Attempt})
				for i, err := range e.settle("s", "g", verdicts...) {
					assert.NoError(e, err, "verdict %d, after the next delivery", i)
				}
				assert.Len(e, e.pending("s", "g"), 2, "the repeat took nothing from the new holder")
				e.ack("s", "g", again...)
				assert.Len(e, e.read(rpw.DeadLetter("s", "g"), rpw.Position{}), 1)
			}},
		{"Groups/Settle/LostReplyIsNoError", []string{"G2", "S3"},
			"A settle whose reply was lost is repeated, and every verdict of it is nil.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 5)...)
				h, faults := e.faulty()
				ds := e.on(h).fetch("s", "g", "c", 5)
				var verdicts []rpw.Settlement
				for _, d := range ds {
					verdicts = append(verdicts, rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Ack})
				}
				faults.spoil("Streams.Settle", refused, lost, lost)
				for _, err := range e.on(h).settle("s", "g", verdicts...) {
					assert.NoError(e, err)
				}
				assert.Zero(e, faults.left(), "the faults were met")
				assert.Empty(e, e.pending("s", "g"))
			}},
		{"Groups/Settle/SameLaneAnswersTheSame", []string{"G2", "S3"},
			"The same number on the same lane answers what it answered before, errors too.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				older := e.fetchOne("s", "g", "c")
				e.pass(e.lease())
				newer := e.fetchOne("s", "g", "c")
				req := rpw.SettleRequest{Stream: "s", Group: "g", Lane: rpw.Lane{ID: [16]byte{3}, Seq: 1}, Settlements: []rpw.Settlement{
					{Receipt: older.Receipt, Verdict: rpw.Ack}, {Receipt: newer.Receipt, Verdict: rpw.Nack},
				}}
				for range 3 {
					errs, err := e.hub.Streams().Settle(e.Context(), req)
					require.NoError(e, err)
					require.Len(e, errs, 2)
					e.is(errs[0], rpw.ErrLeaseLost)
					require.NoError(e, errs[1])
				}
				assert.Equal(e, 3, e.fetchOne("s", "g", "c").Attempt, "the Nack was applied once")
			}},
		{"Groups/Settle/AnswersAreByItem", []string{"G2", "E2"},
			"Each verdict has its own answer, in order; one that is refused takes no other with it.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 3)...)
				ds := e.fetch("s", "g", "c", 3)
				require.Len(e, ds, 3)
				forged := ds[1].Receipt
				forged.Token--
				errs := e.settle("s", "g", rpw.Settlement{Receipt: ds[0].Receipt, Verdict: rpw.Ack}, rpw.Settlement{Receipt: forged, Verdict: rpw.Ack},
					rpw.Settlement{Receipt: ds[2].Receipt, Verdict: rpw.Ack})
				require.NoError(e, errs[0])
				e.is(errs[1], rpw.ErrLeaseLost)
				require.NoError(e, errs[2])
				assert.Equal(e, ds[1].ID, e.pending("s", "g")[0].ID)
			}},
		{"Groups/Settle/ForgedReceiptsAreRefused", []string{"G2"},
			"A receipt that was never given is ErrLeaseLost: another token, another incarnation, an id not delivered, one that does not exist.",
			func(e *env) {
				e.group("s", "g")
				at := e.publish("s", "a", "b")
				good := e.fetchOne("s", "g", "c").Receipt
				for what, r := range map[string]rpw.Receipt{
					"token":          {ID: good.ID, Incarnation: good.Incarnation, Token: good.Token + 1},
					"zero token":     {ID: good.ID, Incarnation: good.Incarnation},
					"incarnation":    {ID: good.ID, Incarnation: good.Incarnation + 1, Token: good.Token},
					"not delivered":  {ID: at[1].ID, Incarnation: good.Incarnation, Token: good.Token},
					"does not exist": {ID: rpw.ID{MS: 1, Seq: 1}, Incarnation: good.Incarnation, Token: good.Token},
				} {
					e.is(e.settle("s", "g", rpw.Settlement{Receipt: r, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost, what)
				}
				assert.Len(e, e.pending("s", "g"), 1)
			}},
		{"Groups/Settle/NackDelaysTheNextAttempt", []string{"G2", "G6"},
			"After a Nack the event comes again when its delay has passed and not before, as the next attempt; the reason can be seen.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				delay := max(200*time.Millisecond, e.units(20))
				d := e.fetchOne("s", "g", "c")
				e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Nack, Delay: delay, Reason: "not yet"})
				assert.Empty(e, e.fetch("s", "g", "c", 10))
				pending := e.pending("s", "g")
				require.Len(e, pending, 1)
				assert.False(e, pending[0].Leased)
				assert.Equal(e, "not yet", pending[0].Reason)
				assert.Equal(e, 1, pending[0].Attempt)
				e.pass(delay)
				again := e.fetchOne("s", "g", "c")
				assert.Equal(e, 2, again.Attempt)
				assert.Greater(e, again.Receipt.Token, d.Receipt.Token)
				assert.False(e, again.Until.Before(pending[0].Until), "not before its time")
			}},
		{"Groups/Settle/ExtendHoldsOn", []string{"G2", "G3"},
			"An extended lease keeps others away beyond its first end; without Delay it is extended by the group's lease.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				d := e.fetchOne("s", "g", "c")
				for _, delay := range []time.Duration{0, e.lease()} {
					time.Sleep(e.lease() / 2)
					e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Extend, Delay: delay})
					pending := e.pending("s", "g")
					require.Len(e, pending, 1)
					assert.True(e, pending[0].Until.After(d.Until), "the lease ends later")
				}
				e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Extend, Delay: 10 * e.lease()})
				e.pass(2 * e.lease())
				assert.Empty(e, e.fetch("s", "g", "other", 10))
				e.ack("s", "g", d)
			}},
		{"Groups/Settle/ReleaseCostsNoAttempt", []string{"G2"},
			"A released event is deliverable at once, its delivery does not count, and the releaser is fenced off.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = 1 })
				e.publish("s", "a")
				for range 5 {
					d := e.fetchOne("s", "g", "c")
					assert.Equal(e, 1, d.Attempt)
					e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Release})
					next := e.fetchOne("s", "g", "c")
					assert.Greater(e, next.Receipt.Token, d.Receipt.Token)
					e.is(e.settle("s", "g", rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
					e.verdict("s", "g", next, rpw.Settlement{Verdict: rpw.Release})
				}
			}},
		{"Groups/Settle/OldReceiptsDoNotFitANewGroup", []string{"G2", "G5"},
			"A receipt of an earlier incarnation is ErrLeaseLost in the group that was made again; tokens go on growing.",
			func(e *env) {
				info := e.group("s", "g")
				e.publish("s", "a")
				old := e.fetchOne("s", "g", "c")
				e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.DeleteGroup})
				again := e.group("s", "g")
				assert.Greater(e, again.Incarnation, info.Incarnation)
				d := e.fetchOne("s", "g", "c")
				assert.Greater(e, d.Receipt.Token, old.Receipt.Token)
				e.is(e.settle("s", "g", rpw.Settlement{Receipt: old.Receipt, Verdict: rpw.Ack})[0], rpw.ErrLeaseLost)
				assert.Len(e, e.pending("s", "g"), 1)
			}},
	}
}

func deadLetterCases() []testCase {
	return []testCase{
		{"Groups/DeadLetter/RejectMovesItWithTheReason", []string{"G4"},
			"A rejected event is at once in the dead-letter stream, with its own data and headers, and the reason, attempts, holder and id beside them.",
			func(e *env) {
				e.group("s", "g")
				e.publishEvents("s", rpw.NewEvent{Type: "x", Data: []byte("a"), Header: map[string]string{"own": "1"}})
				d := e.fetchOne("s", "g", "c")
				e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Reject, Reason: "bad — \x1b[31m"})
				dead := e.read(rpw.DeadLetter("s", "g"), rpw.Position{})
				require.Len(e, dead, 1)
				assert.Equal(e, "x", dead[0].Type)
				assert.Equal(e, "a", string(dead[0].Data))
				assert.Equal(e, map[string]string{"own": "1", rpw.HeaderDeadReason: "bad — \x1b[31m", rpw.HeaderDeadAttempts: "1",
					rpw.HeaderDeadConsumer: "c", rpw.HeaderDeadID: d.ID.String()}, dead[0].Header)
				assert.Empty(e, e.pending("s", "g"))
				assert.EqualValues(e, 1, e.groupInfo("s", "g").DeadLetters)
				e.pass(e.lease())
				assert.Empty(e, e.fetch("s", "g", "c", 10))
			}},
		{"Groups/DeadLetter/PastMaxDeliveries", []string{"G4"},
			"An event that was delivered MaxDeliveries times without a verdict is not delivered again but moved, also when its consumers just die.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = 2 })
				e.publish("s", "poison", "good")
				for attempt := range 2 {
					assert.Equal(e, attempt+1, e.fetchOne("s", "g", "dead").Attempt)
					e.pass(e.lease())
				}
				assert.Equal(e, []string{"good"}, dataOf(e.fetch("s", "g", "alive", 10)))
				dead := e.read(rpw.DeadLetter("s", "g"), rpw.Position{})
				assert.Equal(e, []string{"poison"}, texts(dead))
				assert.Equal(e, "max deliveries", dead[0].Header[rpw.HeaderDeadReason])
				assert.Equal(e, "2", dead[0].Header[rpw.HeaderDeadAttempts])
				assert.Equal(e, "dead", dead[0].Header[rpw.HeaderDeadConsumer])
			}},
		{"Groups/DeadLetter/LastNackGivesTheReason", []string{"G4"},
			"After a Nack of the last attempt the dead letter carries that Nack's reason.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = 2 })
				e.publish("s", "a")
				for n := range 2 {
					e.verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Nack, Reason: "error " + strconv.Itoa(n+1)})
				}
				assert.Empty(e, e.fetch("s", "g", "c", 10))
				dead := e.read(rpw.DeadLetter("s", "g"), rpw.Position{})
				require.Len(e, dead, 1)
				assert.Equal(e, "error 2", dead[0].Header[rpw.HeaderDeadReason])
			}},
		{"Groups/DeadLetter/UnlimitedNeverMoves", []string{"G4"},
			"With Unlimited an event is delivered as often as it takes.",
			func(e *env) {
				e.group("s", "g", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = rpw.Unlimited })
				e.publish("s", "a")
				for n := range 20 {
					d := e.fetchOne("s", "g", "c")
					require.Equal(e, n+1, d.Attempt)
					e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Nack})
				}
			}},
		{"Groups/DeadLetter/IsAStreamLikeAnyOther", []string{"G4", "S4"},
			"A dead-letter stream can be read, waited on and consumed by a group, and is listed only when asked for.",
			func(e *env) {
				dead := rpw.DeadLetter("s", "g")
				e.group("s", "g")
				e.publish("s", "a")
				read := e.waitRead(rpw.ReadRequest{Stream: dead})
				e.idle()
				e.verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Reject})
				events, err := await(e, read)
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(events))
				_, err = e.ensure(dead, "repair")
				e.is(err, rpw.ErrInvalid, "it has no dead letters of its own")
				e.group(dead, "repair", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = rpw.Unlimited })
				assert.Equal(e, "a", string(e.fetchOne(dead, "repair", "c").Data))
				for _, deadLetters := range []bool{false, true} {
					page, err := e.hub.Streams().Streams(e.Context(), rpw.StreamsRequest{DeadLetters: deadLetters})
					require.NoError(e, err)
					want := []string{"s"}
					if deadLetters {
						want = append(want, dead)
					}
					assert.Equal(e, want, page.Names)
				}
			}},
		{"Groups/DeadLetter/LostReplyMovesOnce", []string{"G4", "S3"},
			"A Reject whose reply was lost leaves one dead letter.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a")
				h, faults := e.faulty()
				faults.spoil("Streams.Settle", lost, lost)
				e.on(h).verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Reject})
				assert.Len(e, e.read(rpw.DeadLetter("s", "g"), rpw.Position{}), 1)
			}},
		{"Groups/Redrive/HandsThemBack", []string{"G4"},
			"Redriven dead letters go to their group again, as attempt 1 with the same ids, and to no other group or reader.",
			func(e *env) {
				e.group("s", "g")
				e.group("s", "other")
				ids := e.publish("s", numbers(1, 3)...)
				e.ack("s", "other", e.fetch("s", "other", "c", 10)...)
				for _, d := range e.fetch("s", "g", "c", 3) {
					e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Reject, Reason: "no"})
				}
				end := e.locate("s", rpw.Newest())
				assert.EqualValues(e, 3, e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.Redrive}))
				again := e.fetch("s", "g", "c", 10)
				assert.Equal(e, numbers(1, 3), dataOf(again))
				for i, d := range again {
					assert.Equal(e, ids[i].ID, d.ID)
					assert.Equal(e, 1, d.Attempt)
					assert.NotContains(e, d.Header, rpw.HeaderDeadReason)
				}
				assert.Empty(e, e.fetch("s", "other", "c", 10))
				assert.Empty(e, e.read("s", end))
				assert.Empty(e, e.read(rpw.DeadLetter("s", "g"), rpw.Position{}))
				assert.Zero(e, e.groupInfo("s", "g").DeadLetters)
				e.ack("s", "g", again...)
				assert.Zero(e, e.administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.Redrive}), "nothing is left")
			}},
		{"Groups/Redrive/ChoosesByIDAndNumber", []string{"G4"},
			"Redrive takes the named dead letters, or the oldest Max.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", numbers(1, 5)...)
				for _, d := range e.fetch("s", "g", "c", 5) {
					e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Reject})
				}
				dead := e.read(rpw.DeadLetter("s", "g"), rpw.Position{})
				require.Len(e, dead, 5)
				cmd := rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.Redrive}
				byID := cmd
				byID.IDs = []rpw.ID{dead[3].ID, {MS: 1, Seq: 1}}
				assert.EqualValues(e, 1, e.administer(byID))
				assert.Equal(e, numbers(4, 4), dataOf(e.fetch("s", "g", "c", 10)))
				cmd.Max = 2
				assert.EqualValues(e, 2, e.administer(cmd))
				assert.Equal(e, numbers(1, 2), dataOf(e.fetch("s", "g", "c", 10)))
				assert.Equal(e, []string{"3", "5"}, texts(e.read(rpw.DeadLetter("s", "g"), rpw.Position{})))
			}},
		{"Groups/Redrive/LostReplyHandsBackOnce", []string{"G4", "S3"},
			"A redrive whose reply was lost is repeated with the same answer.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a", "b")
				for _, d := range e.fetch("s", "g", "c", 2) {
					e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Reject})
				}
				h, faults := e.faulty()
				faults.spoil("Streams.Administer", lost, refused, lost)
				assert.EqualValues(e, 1, e.on(h).administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.Redrive, Max: 1}))
				assert.Equal(e, []string{"a"}, dataOf(e.fetch("s", "g", "c", 10)))
			}},
	}
}

func consumeCases() []testCase {
	notes := rpw.StreamOf[note]("notes")
	oldest := func(name string) rpw.Consumer { return rpw.Consumer{Group: "g", Name: name, From: rpw.Oldest()} }
	consume := func(e *env, h *rpw.Hub, c rpw.Consumer, handle func(context.Context, rpw.Message[note]) error) (stop func() error) {
		ctx, cancel := context.WithCancel(e.Context())
		if c.Lease == 0 {
			c.Lease = e.lease()
		}
		done := start(func() (struct{}, error) { return struct{}{}, notes.Consume(ctx, h, c, handle) })
		return func() error {
			e.Helper()
			cancel()
			_, err := await(e, done)
			return err
		}
	}
	publish := func(e *env, n int64) {
		e.Helper()
		_, err := notes.Publish(e.Context(), e.hub, "wrote", note{N: n})
		require.NoError(e, err)
	}
	settled := func(e *env) func() bool {
		return func() bool {
			groups, err := e.hub.Streams().Groups(e.Context(), "notes")
			require.NoError(e, err)
			return len(groups) == 1 && groups[0].Lag == 0 && groups[0].Pending == 0
		}
	}
	return []testCase{
		{"Groups/Consume/HandlesEachEventOnce", []string{"G1", "C7"},
			"Members in several processes handle every event among them, each once while nothing fails.",
			func(e *env) {
				var mu sync.Mutex
				seen := make(map[int64]int)
				handle := func(_ context.Context, m rpw.Message[note]) error {
					mu.Lock()
					defer mu.Unlock()
					seen[m.Data.N]++
					return nil
				}
				for n := range int64(40) {
					publish(e, n)
				}
				c := oldest("a")
				c.Concurrency = 4
				stopA := consume(e, e.hub, c, handle)
				stopB := consume(e, e.peer(), oldest("b"), handle)
				e.eventually(settled(e), "everything is settled")
				require.NoError(e, stopA())
				require.NoError(e, stopB())
				require.Len(e, seen, 40)
				for n, times := range seen {
					assert.Equal(e, 1, times, "event %d", n)
				}
			}},
		{"Groups/Consume/LiveHandlerKeepsItsLease", []string{"G3"},
			"A handler that runs much longer than the lease keeps it: nobody else gets the event.",
			func(e *env) {
				publish(e, 1)
				var mu sync.Mutex
				var attempts []int
				handle := func(ctx context.Context, _ rpw.Message[note]) error {
					d, ok := rpw.DeliveryOf(ctx)
					mu.Lock()
					attempts = append(attempts, d.Attempt)
					mu.Unlock()
					if !ok {
						return errors.New("no delivery in the context")
					}
					select {
					case <-time.After(5 * e.lease()):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				stopA, stopB := consume(e, e.hub, oldest("a"), handle), consume(e, e.peer(), oldest("b"), handle)
				e.pass(4 * e.lease())
				e.eventually(settled(e), "it is handled")
				require.NoError(e, stopA())
				require.NoError(e, stopB())
				assert.Equal(e, []int{1}, attempts)
			}},
		{"Groups/Consume/SupersededHandlerIsTold", []string{"G2", "G3"},
			"The context of a handler whose event was taken over ends with cause ErrLeaseLost, and its verdict is not sent.",
			func(e *env) {
				publish(e, 1)
				told := make(chan error, 10)
				stop := consume(e, e.hub, oldest("a"), func(ctx context.Context, _ rpw.Message[note]) error {
					if d, _ := rpw.DeliveryOf(ctx); d.Attempt > 1 {
						return nil
					}
					<-ctx.Done()
					told <- context.Cause(ctx)
					return nil
				})
				e.eventually(func() bool { return len(e.pendingOrNone("notes", "g")) == 1 }, "the handler runs")
				e.administer(rpw.GroupCommand{Stream: "notes", Group: "g", Verb: rpw.RemoveConsumer, Consumer: "a"})
				e.ack("notes", "g", e.fetchOne("notes", "g", "thief"))
				select {
				case err := <-told:
					assert.ErrorIs(e, err, rpw.ErrLeaseLost)
				case <-time.After(e.patience()):
					e.Fatal("the handler was not told")
				}
				require.NoError(e, stop())
			}},
		{"Groups/Consume/ErrorsAreTriedAgainThenDead", []string{"G2", "G4"},
			"An event whose handler fails or panics comes again; a permanent error, or one that is no T, goes to the dead letters at once.",
			func(e *env) {
				publish(e, 1) // fails twice
				publish(e, 2) // is permanent
				publish(e, 3) // panics once
				e.publish("notes", "{broken")
				var mu sync.Mutex
				attempts := make(map[int64]int)
				stop := consume(e, e.hub, oldest("a"), func(ctx context.Context, m rpw.Message[note]) error {
					d, _ := rpw.DeliveryOf(ctx)
					mu.Lock()
					attempts[m.Data.N] = d.Attempt
					mu.Unlock()
					switch {
					case m.Data.N == 1 && d.Attempt < 3:
						return rpw.RetryIn(errors.New("not yet"), e.unit)
					case m.Data.N == 2:
						return rpw.Permanent(errors.New("never"))
					case m.Data.N == 3 && d.Attempt == 1:
						panic("oh")
					}
					return nil
				})
				e.eventually(settled(e), "everything is settled")
				require.NoError(e, stop())
				assert.Equal(e, map[int64]int{1: 3, 2: 1, 3: 2}, attempts)
				dead := e.read(rpw.DeadLetter("notes", "g"), rpw.Position{})
				require.Len(e, dead, 2)
				for _, d := range dead {
					assert.Equal(e, "1", d.Header[rpw.HeaderDeadAttempts])
				}
			}},
		{"Groups/Consume/FlushedGroupIsRebuilt", []string{"G5"},
			"After the store lost everything a member reports one gap, makes the group again and handles what comes.",
			func(e *env) {
				handled, gaps := make(chan int64, 10), make(chan *rpw.GapError, 10)
				c := oldest("a")
				c.OnGap = func(gap *rpw.GapError) (rpw.Position, error) {
					gaps <- gap
					return rpw.GapContinue(gap)
				}
				stop := consume(e, e.hub, c, func(_ context.Context, m rpw.Message[note]) error {
					handled <- m.Data.N
					return nil
				})
				publish(e, 1)
				assert.EqualValues(e, 1, <-handled)
				e.eventually(settled(e), "it is settled")
				e.flush()
				publish(e, 2)
				assert.EqualValues(e, 2, <-handled)
				require.NoError(e, stop())
				require.Len(e, gaps, 1)
				assert.Equal(e, rpw.GapReset, (<-gaps).Kind)
			}},
		{"Groups/Consume/StopHandsBack", []string{"G1", "G2"},
			"A member that stops gives its handlers the grace, then hands back what is not done, which costs no attempt.",
			func(e *env) {
				publish(e, 1)
				began := make(chan struct{}, 1)
				c := oldest("a")
				c.Grace, c.Lease = e.units(5), rpw.MaxLease
				stop := consume(e, e.hub, c, func(ctx context.Context, _ rpw.Message[note]) error {
					began <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				})
				<-began
				require.NoError(e, stop())
				assert.Equal(e, 1, e.fetchOne("notes", "g", "b").Attempt)
			}},
	}
}

// pendingOrNone is pending for a group that may not exist yet.
func (e *env) pendingOrNone(stream, group string) []rpw.PendingEntry {
	page, _ := e.hub.Streams().Pending(e.Context(), rpw.PendingRequest{Stream: stream, Group: group})
	return page.Entries
}
