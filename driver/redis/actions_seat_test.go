package redis

import (
	"context"
	"encoding/binary"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// seated is a claim that waits in a seat, as the call of a lane.
type seated struct {
	store *actionStore
	req   rpw.ClaimRequest
	leave context.CancelFunc
	got   chan []rpw.Claimed
	err   error // of the claim, after got
}

// sitDown lets a claim wait. There is an action that runs, since a queue without any has no seat.
func sitDown(t *testing.T, a *actionStore) *seated {
	t.Helper()
	first := actionSpecs(1)
	first[0].Ref.ID = "first"
	mustEnqueue(t, a, first...)
	require.Len(t, mustClaim(t, a, 1), 1)
	s := &seated{store: a, got: make(chan []rpw.Claimed, 1)}
	s.req = rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Lease: rpw.DefaultLease, Lane: rpw.Lane{ID: [16]byte{1}, Seq: 7}, Wait: rpw.Forever}
	var ctx context.Context
	ctx, s.leave = context.WithCancel(t.Context())
	t.Cleanup(s.leave)
	go func() {
		var claimed []rpw.Claimed
		claimed, s.err = a.Claim(ctx, s.req)
		s.got <- claimed
	}()
	require.Eventually(t, func() bool {
		n, err := a.client.Do(t.Context(), a.client.B().Strlen().Key(a.keys.queue("q").side("q")).Build()).AsInt64()
		return err == nil && n > queueSize
	}, 10*time.Second, time.Millisecond, "it has the seat")
	return s
}

// queueSize is where the seat stands in the record of a queue.
const queueSize = 104

// cool lets the moment pass in which the seat of the queue is warm: it is as if its claim had looked so much earlier.
func cool(t *testing.T, a *actionStore) {
	t.Helper()
	key := a.keys.queue("q").side("q")
	record := do(t, a.client, "GET", key)
	ends := binary.BigEndian.Uint64([]byte(textOf(&record))[queueSize:])
	do(t, a.client, "SETRANGE", key, strconv.Itoa(queueSize), string(binary.BigEndian.AppendUint64(nil, ends-uint64(warm.Microseconds()))))
}

// deaf lets the claim hear nothing of what it is given.
func (s *seated) deaf() { s.store.waker.rise(laneText(s.req.Lane)) }

func (s *seated) answer(t *testing.T) []rpw.Claimed {
	t.Helper()
	select {
	case claimed := <-s.got:
		return claimed
	case <-time.After(time.Minute):
		t.Fatal("no answer")
		return nil
	}
}

// TestAClaimIsGivenWhatIsEnqueued: A6, A2: without a claim of its own, as if it had claimed it.
func TestAClaimIsGivenWhatIsEnqueued(t *testing.T) {
	a := testStore(t).actions()
	s := sitDown(t, a)
	mustEnqueue(t, a, actionSpecs(1)...)
	given := s.answer(t)
	require.Len(t, given, 1)
	got, err := a.Get(t.Context(), []rpw.ActionRef{given[0].Ref})
	require.NoError(t, err)
	events := got[0].Events
	got[0].Events = nil
	assert.Equal(t, got[0].Action, given[0].Action)
	assert.Len(t, events, 2)
	assert.Equal(t, rpw.Running, got[0].State)
	s.req.Lane.Seq, s.req.Wait = s.req.Lane.Seq+1, 0
	more, err := a.Claim(t.Context(), s.req)
	require.NoError(t, err)
	assert.Empty(t, more)
	advanced, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: given[0].Lease, Kind: rpw.Complete}}})
	require.NoError(t, err)
	assert.NoError(t, advanced[0].Err)
}

// TestWhatAClaimWasGivenIsItsAnswer: F12, G1, A1: when it is not told, it finds out like from a lost answer.
func TestWhatAClaimWasGivenIsItsAnswer(t *testing.T) {
	a := testStore(t).actions()
	s := sitDown(t, a)
	s.deaf()
	spec := actionSpecs(1)
	mustEnqueue(t, a, spec...)
	require.Empty(t, mustClaim(t, a, 1), "it is given away")
	publish(t, a.store, a.keys.channel(queueChannel, "q"), "1 -1")
	given := s.answer(t)
	require.Len(t, given, 1)
	assert.Equal(t, spec[0].Ref, given[0].Ref)
	s.req.Wait = 0
	again, err := a.Claim(t.Context(), s.req)
	require.NoError(t, err)
	require.Len(t, again, 1)
	assert.Equal(t, given[0].Lease, again[0].Lease)
}

// TestWhoLeavesHisSeatGivesBack: A6, A5: what a claim was given after its caller had left costs no attempt, and others get it at once.
func TestWhoLeavesHisSeatGivesBack(t *testing.T) {
	a := testStore(t).actions()
	s := sitDown(t, a)
	s.deaf()
	spec := actionSpecs(1)
	mustEnqueue(t, a, spec...)
	s.leave()
	require.Empty(t, s.answer(t))
	claimed, err := a.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "other", Wait: 5 * time.Second})
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	assert.Equal(t, spec[0].Ref, claimed[0].Ref)
	assert.Equal(t, 1, claimed[0].Attempt)
}

// TestWhatMayHaveBeenGivenIsUncertain: F12, A1: a claim with a seat that can no longer look says that it may have been given something: then it is made again.
func TestWhatMayHaveBeenGivenIsUncertain(t *testing.T) {
	server := redistest.Start(t)
	a := storeOn(t, server, "p").actions()
	s := sitDown(t, a)
	s.deaf()
	spec := actionSpecs(1)
	mustEnqueue(t, a, spec...)
	server.CLI(t, "CONFIG", "SET", "min-replicas-to-write", "1")
	publish(t, a.store, a.keys.channel(queueChannel, "q"), "1 -1")
	require.Empty(t, s.answer(t))
	require.ErrorIs(t, s.err, rpw.ErrUncertain)
	server.CLI(t, "CONFIG", "SET", "min-replicas-to-write", "0")
	s.req.Wait = 0
	again, err := a.Claim(t.Context(), s.req)
	require.NoError(t, err)
	require.Len(t, again, 1)
	assert.Equal(t, spec[0].Ref, again[0].Ref)
}

// TestAClaimThatIsMadeAgainIsNotWithdrawn: A6, F2: one whose outcome is unknown, as the server was silent, goes on waiting when it is made again.
func TestAClaimThatIsMadeAgainIsNotWithdrawn(t *testing.T) {
	server := redistest.Start(t)
	st := storeOn(t, server, "p")
	st.opt.Timeout = 300 * time.Millisecond
	a := st.actions()
	s := sitDown(t, a)
	server.Freeze()
	a.waker.deliver(rueidis.PubSubMessage{Channel: a.keys.channel(queueChannel, "q"), Message: "1 -1"})
	require.Empty(t, s.answer(t))
	require.ErrorIs(t, s.err, rpw.ErrUncertain)
	server.Thaw()
	a.sender.tasks.Wait()
	go func() {
		claimed, _ := a.Claim(t.Context(), s.req)
		s.got <- claimed
	}()
	spec := actionSpecs(1)
	mustEnqueue(t, a, spec...)
	claimed := s.answer(t)
	require.Len(t, claimed, 1)
	assert.Equal(t, spec[0].Ref, claimed[0].Ref)
}

// TestNobodyIsGivenWhatHeDoesNotHear: A6: a seat whose process has ended, or that is not warm any more, is given nothing.
func TestNobodyIsGivenWhatHeDoesNotHear(t *testing.T) {
	a := testStore(t).actions()
	s := sitDown(t, a)
	s.leave()
	require.Empty(t, s.answer(t))
	a.sender.tasks.Wait()
	specs := actionSpecs(2)
	for i, channel := range []string{"nobody", a.waker.echo} {
		s.req.Lane.Seq++
		require.Empty(t, a.claimFrom(t.Context(), s.req, s.req.Queues, []int{1}, channel)[0].claimed)
		if i == 1 {
			cool(t, a)
		}
		mustEnqueue(t, a, specs[i])
		claimed := mustClaim(t, a, 1)
		require.Len(t, claimed, 1)
		assert.Equal(t, specs[i].Ref, claimed[0].Ref)
		assert.Equal(t, 1, claimed[0].Attempt)
	}
}

// TestWhatIsDueGoesBeforeWhatComes: A6: an action that time has made ready is not overtaken by one that comes after, also if no script has looked meanwhile.
func TestWhatIsDueGoesBeforeWhatComes(t *testing.T) {
	a := testStore(t).actions()
	s := sitDown(t, a)
	s.leave()
	require.Empty(t, s.answer(t))
	a.sender.tasks.Wait()
	due := actionSpecs(1)
	due[0].Ref.ID, due[0].Delay = "due", 300*time.Millisecond
	mustEnqueue(t, a, due...)
	s.req.Lane.Seq++
	s.req.Lease, s.req.Wait = time.Minute, 0
	require.Empty(t, a.claimFrom(t.Context(), s.req, s.req.Queues, []int{1}, a.waker.echo)[0].claimed)
	time.Sleep(due[0].Delay)
	mustEnqueue(t, a, actionSpecs(1)...)
	claimed, err := a.Claim(t.Context(), s.req)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	assert.Equal(t, due[0].Ref, claimed[0].Ref)
}

// TestNewsLeaveWhatWasGiven: A6: both come at once, in the order of the script, and a claim that does not listen yet hears of both.
func TestNewsLeaveWhatWasGiven(t *testing.T) {
	news := &watch{c: make(chan string, 1)}
	w := &waker{echo: "e", topics: map[string]*topic{"q": {channel: "q", watches: []*watch{news}}}, seats: make(map[string]chan<- string)}
	lane := laneText(rpw.Lane{ID: [16]byte{1}, Seq: 7})
	given := w.sit(lane)
	w.deliver(rueidis.PubSubMessage{Channel: "e", Message: lane + "given"})
	w.deliver(rueidis.PubSubMessage{Channel: "q", Message: "0 5"})
	assert.Equal(t, lane+"given", <-given)
	assert.Equal(t, "0 5", <-news.c)
	w.rise(lane)
	w.deliver(rueidis.PubSubMessage{Channel: "e", Message: lane + "late"})
	assert.Empty(t, given)
}
