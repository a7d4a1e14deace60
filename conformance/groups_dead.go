package conformance

import (
	"strconv"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func deadLetterCases() []testCase {
	return []testCase{
		{"Groups/DeadLetter/RejectMovesItWithTheReason", []string{"G4"},
			"A rejected event is at once in the dead-letter stream, with its own data and headers, and the reason, attempts, holder and id beside them.",
			func(e *env) {
				e.group("s", "g")
				e.publishEvents("s", rpw.NewEvent{Type: "x", Data: payload("a"), Header: map[string]string{"own": "1"}})
				d := e.fetchOne("s", "g", "c")
				e.verdict("s", "g", d, rpw.Settlement{Verdict: rpw.Reject, Reason: "bad — \x1b[31m"})
				dead := e.read(rpw.DeadLetter("s", "g"), rpw.Position{})
				require.Len(e, dead, 1)
				assert.Equal(e, "x", dead[0].Type)
				assert.Equal(e, "a", textOf(dead[0].Data))
				assert.Equal(e, map[string]string{"own": "1", rpw.HeaderDeadReason: "bad — \x1b[31m", rpw.HeaderDeadAttempts: "1",
					rpw.HeaderDeadConsumer: "c", rpw.HeaderDeadID: d.ID.String()}, dead[0].Header)
				assert.Empty(e, e.pending("s", "g"))
				assert.EqualValues(e, 1, e.groupInfo("s", "g").DeadLetters)
				e.pass(e.lease())
				assert.Empty(e, e.fetch("s", "g", "c", 10))
			}},
		// F13, G4.
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
				assert.Equal(e, "a", textOf(e.fetchOne(dead, "repair", "c").Data))
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
		{"Groups/DeadLetter/HasNoFurtherOne", []string{"G4", "E2"},
			"An event of a dead-letter stream cannot be rejected once more: that is ErrInvalid, and its holder keeps it.",
			func(e *env) {
				dead := rpw.DeadLetter("s", "g")
				e.group("s", "g")
				e.publish("s", "a")
				e.verdict("s", "g", e.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Reject})
				e.group(dead, "repair", func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = rpw.Unlimited })
				d := e.fetchOne(dead, "repair", "c")
				e.is(e.settle(dead, "repair", rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Reject})[0], rpw.ErrInvalid)
				e.ack(dead, "repair", d)
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
