package conformance

import (
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
				e.pass(e.lease())
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
		{"Groups/Settle/AnotherVerdictIsLeaseLost", []string{"G2"},
			"Who has settled an event holds it no more: another verdict by the same receipt is ErrLeaseLost and changes nothing.",
			func(e *env) {
				e.group("s", "g")
				e.publish("s", "a", "b")
				for _, verdict := range []rpw.Verdict{rpw.Ack, rpw.Reject} {
					d := e.fetchOne("s", "g", "c")
					e.verdict("s", "g", d, rpw.Settlement{Verdict: verdict})
					e.is(e.settle("s", "g", rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Nack})[0], rpw.ErrLeaseLost)
				}
				assert.Empty(e, e.pending("s", "g"))
				assert.Equal(e, int64(1), e.groupInfo("s", "g").DeadLetters)
			}},
		{"Groups/Settle/OldReceiptsDoNotFitANewGroup", []string{"G2", "G5"},
			"A receipt of an earlier incarnation is ErrLeaseLost in the group that was made again; tokens go on growing.",
			func(e *env) {
				info := e.group("s", "g")
				e.publish("s", "a")
				for range 10 {
					e.verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Release})
				}
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
