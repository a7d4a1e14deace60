package memory

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestActionLeaseLapses(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		first := s.takeOne()
		time.Sleep(rpw.DefaultLease - 1)
		adv := s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Renew})
		require.NoError(t, adv.Err)
		time.Sleep(rpw.DefaultLease - 1)
		adv = s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Renew, For: time.Minute})
		assert.True(t, adv.Until.Equal(time.Now().Add(time.Minute)))
		adv = s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Renew, For: time.Second})
		assert.True(t, adv.Until.Equal(time.Now().Add(time.Second)), "also shorter")
		time.Sleep(time.Second)

		second := s.take(rpw.ClaimRequest{Worker: "w2"})
		require.Len(t, second, 1)
		assert.Greater(t, second[0].Lease.Token, first.Lease.Token)
		assert.Equal(t, 2, second[0].Attempt)
		assert.ErrorIs(t, s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Complete}).Err, rpw.ErrLeaseLost)
		require.NoError(t, s.move(rpw.Move{Lease: second[0].Lease, Kind: rpw.Complete}).Err)
		assert.ErrorIs(t, s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Complete}).Err, rpw.ErrLeaseLost)
		assert.Equal(t, []rpw.ChangeKind{"request", "claimed", "retry", "claimed", "completed"}, kinds(s.got("a").Events))
	})
}

func TestActionTokensGrow(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		var last uint64
		claim := func() rpw.Lease {
			c := s.takeOne()
			assert.Greater(t, c.Lease.Token, last)
			last = c.Lease.Token
			return c.Lease
		}
		s.put(spec("a"))
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Giveback}).Err)
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Fail}).Err)
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}}).Err)
		s.command(rpw.Command{Kind: rpw.Retry, Ref: ref("a")})
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Complete}).Err)
		s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("a")})
		s.put(spec("a"))
		claim() // also for another action of the same name
	})
}

func TestActionGiveback(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.MaxAttempts = 1
		sp.StartWithin = time.Minute
		s.put(sp)
		for range 3 {
			c := s.takeOne()
			assert.Equal(t, 1, c.Attempt)
			require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Giveback, RetryIn: time.Second}).Err)
			assert.Equal(t, 0, s.got("a").Attempt)
			assert.Zero(t, s.got("a").Started)
			time.Sleep(time.Second)
		}
		c := s.takeOne()
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Renew, For: time.Hour}).Err)
		time.Sleep(10 * time.Minute) // it has begun: no expiry
		assert.Equal(t, rpw.Running, s.got("a").State)
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Giveback}).Err)
		a := s.got("a") // nothing has begun any more
		assert.Equal(t, rpw.Failed, a.State)
		assert.True(t, a.Finished.Equal(time.Now()))
		assert.True(t, slices.IsSortedFunc(a.Events, func(a, b rpw.Change) int { return a.Time.Compare(b.Time) }))
	})
}

func TestActionCancelWaitsForTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		c := s.takeOne()
		require.Equal(t, rpw.Controlled{State: rpw.Running}, s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a"), Reason: "stop"}))
		assert.True(t, s.got("a").CancelAt.Equal(time.Now()))
		time.Sleep(5 * time.Second)
		adv := s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Renew})
		require.NoError(t, adv.Err)
		assert.True(t, adv.Cancel)
		time.Sleep(rpw.DefaultCancelGrace - 5*time.Second)
		assert.Equal(t, rpw.Cancelled, s.got("a").State, "the grace ends before the lease")
		assert.Empty(t, s.take(rpw.ClaimRequest{}))
	})
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.CancelGrace = time.Hour
		s.put(sp)
		s.takeOne()
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
		time.Sleep(rpw.DefaultLease)
		a := s.got("a")
		assert.Equal(t, rpw.Cancelled, a.State, "the lease ends before the grace")
		assert.Equal(t, "cancelled", a.Failure.Message)
		assert.Empty(t, a.Failures)
	})
}

// TestActionClockFallsBack: F15, A2: the clock falls back.
func TestActionClockFallsBack(t *testing.T) {
	s := newActionTest(t)
	s.put(spec("a"))
	s.takeOne()
	q := s.open("q", false)
	defer q.close()
	r := q.byID["a"]
	before := q.now.Add(-time.Hour)
	q.advance(before)
	assert.True(t, r.Until.Equal(before.Add(rpw.DefaultLease)))
	q.advance(before.Add(rpw.DefaultLease))
	assert.Equal(t, rpw.Pending, r.State)
}

func TestActionLanes(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"), spec("b"))
		lane := rpw.Lane{ID: [16]byte{1}, Seq: 1}
		first := s.take(rpw.ClaimRequest{Lane: lane})
		assert.Equal(t, first, s.take(rpw.ClaimRequest{Lane: lane}), "a repeat claims nothing more")
		req := rpw.AdvanceRequest{Lane: lane, Moves: []rpw.Move{{Lease: first[0].Lease, Kind: rpw.AddEvent, Event: "e"}}}
		for range 2 {
			_, err := s.Advance(t.Context(), req)
			require.NoError(t, err)
		}
		assert.Equal(t, uint64(3), s.got("a").Seq, "one event")
		lane.Seq = 2
		assert.Len(t, s.take(rpw.ClaimRequest{Lane: lane}), 1)
		lane.Seq = 1
		_, err := s.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Lane: lane})
		assert.ErrorIs(t, err, rpw.ErrConflict, "a late execution")
		control := rpw.ControlRequest{Lane: lane, Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref("a")}}}
		for range 2 {
			answers, err := s.Control(t.Context(), control)
			require.NoError(t, err)
			assert.Equal(t, []rpw.Controlled{{State: rpw.Running}}, answers)
		}
	})
}
