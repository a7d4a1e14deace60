package memory

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// follows are the changes that may follow each change; one after an end needs a Retry.
var follows = map[rpw.ChangeKind][]rpw.ChangeKind{
	rpw.ChangeRequest:     {"claimed", "rescheduled", "cancelled", "failed"},
	rpw.ChangeClaimed:     {"data", "event", "cancel", "retry", "released", "completed", "failed"},
	rpw.ChangeData:        {"data", "event", "cancel", "retry", "released", "completed", "failed", "cancelled"},
	rpw.ChangeEvent:       {"data", "event", "cancel", "retry", "released", "completed", "failed", "cancelled"},
	rpw.ChangeCancel:      {"data", "event", "cancelled"},
	rpw.ChangeRetry:       {"claimed", "rescheduled", "cancelled"},
	rpw.ChangeReleased:    {"claimed", "rescheduled", "cancelled", "failed"},
	rpw.ChangeRescheduled: {"claimed", "rescheduled", "cancelled", "failed"},
	rpw.ChangeCompleted:   {},
	rpw.ChangeFailed:      {"rescheduled"},
	rpw.ChangeCancelled:   {"rescheduled"},
}

// TestActionsAtRandom calls random verbs with time between them; whatever they do, the books agree, histories are
// possible ones, and a lease works exactly as long as it is the newest and has not ended.
func TestActionsAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inBubble := struct{ *testing.T }{t} // keeps rapid from asking for the deadline, which a bubble refuses
		rapid.Check(inBubble, func(t *rapid.T) {
			s := newActionTest(t)
			var leases []rpw.Claimed
			ids := rapid.SampledFrom([]string{"a", "b", "c"})
			short := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute})
			t.Repeat(map[string]func(*rapid.T){
				"enqueue": func(t *rapid.T) {
					sp := spec(ids.Draw(t, "id"))
					sp.Delay = short.Draw(t, "delay")
					sp.StartWithin = short.Draw(t, "within")
					sp.MaxAttempts = rapid.IntRange(0, 2).Draw(t, "attempts")
					sp.Unique = rapid.SampledFrom([]string{"", "k"}).Draw(t, "key")
					sp.OnUnique = rpw.UniquePolicy(rapid.IntRange(0, 3).Draw(t, "policy"))
					sp.Keep.Completed = short.Draw(t, "keep")
					s.enqueue(sp)
				},
				"claim": func(t *rapid.T) {
					claimed := s.take(rpw.ClaimRequest{Max: rapid.IntRange(1, 3).Draw(t, "max")})
					for _, c := range claimed {
						for _, older := range leases {
							assert.Greater(t, c.Lease.Token, older.Lease.Token)
						}
						leases = append(leases, c)
					}
				},
				"advance": func(t *rapid.T) {
					if len(leases) == 0 {
						return
					}
					m := rpw.Move{
						Lease:   rapid.SampledFrom(leases).Draw(t, "lease").Lease,
						Kind:    rpw.MoveKind(rapid.IntRange(1, 7).Draw(t, "kind")),
						RetryIn: short.Draw(t, "retry in"),
						Failure: rpw.ActionFailure{Permanent: rapid.Bool().Draw(t, "permanent")},
					}
					before := s.got(m.Lease.Ref.ID)
					q := s.open("q", false)
					holds := q != nil && before.State == rpw.Running && q.byID[m.Lease.Ref.ID].token == m.Lease.Token
					if q != nil {
						q.close()
					}
					adv := s.move(m)
					if holds {
						assert.NotErrorIs(t, adv.Err, rpw.ErrLeaseLost)
						assert.NotErrorIs(t, adv.Err, rpw.ErrFinished)
						return
					}
					assert.Equal(t, before, s.got(m.Lease.Ref.ID), "only a holder changes something")
				},
				"command": func(t *rapid.T) {
					s.command(rpw.Command{
						Kind:  rpw.CommandKind(rapid.IntRange(1, 6).Draw(t, "kind")),
						Ref:   ref(ids.Draw(t, "id")),
						Delay: short.Draw(t, "delay"),
					})
				},
				"time": func(t *rapid.T) {
					time.Sleep(rapid.SampledFrom([]time.Duration{1, time.Second, 5 * time.Second, 10 * time.Second, time.Minute}).Draw(t, "sleep"))
				},
				"": func(t *rapid.T) {
					s.check()
					for _, id := range []string{"a", "b", "c"} {
						events := s.got(id).Events
						for i := 1; i < len(events); i++ {
							assert.Contains(t, follows[events[i-1].Kind], events[i].Kind, "%v", kinds(events))
							assert.Equal(t, events[i-1].Seq+1, events[i].Seq)
						}
						assert.True(t, slices.IsSortedFunc(events, func(a, b rpw.Change) int { return a.Time.Compare(b.Time) }), "%v", events)
					}
				},
			})
		})
	})
}
