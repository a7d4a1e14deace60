package redis

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// actionSpecs are n plain actions of the queue "q".
func actionSpecs(n int) []rpw.ActionSpec {
	specs := make([]rpw.ActionSpec, n)
	for i := range specs {
		specs[i] = rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: fmt.Sprintf("%04d", i)}, Name: "job"}
	}
	return specs
}

func mustEnqueue(t testing.TB, a *actionStore, specs ...rpw.ActionSpec) {
	t.Helper()
	answers, err := a.Enqueue(t.Context(), specs)
	require.NoError(t, err)
	for _, answer := range answers {
		require.NoError(t, answer.Err)
	}
}

func mustClaim(t testing.TB, a *actionStore, most int) []rpw.Claimed {
	t.Helper()
	claimed, err := a.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Max: most})
	require.NoError(t, err)
	return claimed
}

func do(t testing.TB, client rueidis.Client, words ...string) rueidis.RedisMessage {
	t.Helper()
	m, err := client.Do(context.Background(), client.B().Arbitrary(words...).Build()).ToMessage()
	require.NoError(t, err)
	return m
}

// TestActionsInAFullServer: new work is refused whole; what is there is brought to its end, which needs memory, too.
// F23, A1, A2: the memory of the server is full.
func TestActionsInAFullServer(t *testing.T) {
	s := storeOn(t, redistest.Start(t, "--maxmemory-policy", "noeviction"), "p")
	a := s.actions()
	beat := rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: "w", Name: "w", Status: rpw.WorkerIdle}}
	mustEnqueue(t, a, actionSpecs(4)...)
	_, err := a.Heartbeat(t.Context(), beat)
	require.NoError(t, err)

	do(t, s.client, "CONFIG", "SET", "maxmemory", "1")
	fresh := actionSpecs(6)[4:]
	answers, err := a.Enqueue(t.Context(), fresh)
	require.NoError(t, err)
	for _, answer := range answers {
		require.ErrorIs(t, answer.Err, rpw.ErrFull)
	}
	held := mustClaim(t, a, 3)
	require.Len(t, held, 3)
	moves := []rpw.Move{
		{Lease: held[0].Lease, Kind: rpw.Complete, Output: json.RawMessage(`1`)},
		{Lease: held[1].Lease, Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no"}},
		{Lease: held[2].Lease, Kind: rpw.SetProgress, Progress: 0.5, Data: json.RawMessage(`{}`)},
	}
	advanced, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: moves})
	require.NoError(t, err)
	for _, answer := range advanced {
		require.NoError(t, answer.Err)
	}
	controlled, err := a.Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: held[2].Ref}}})
	require.NoError(t, err)
	require.NoError(t, controlled[0].Err)
	signals, err := a.Heartbeat(t.Context(), beat)
	require.NoError(t, err)
	require.Len(t, signals, 1)
	count, err := a.Count(t.Context(), rpw.ActionFilter{Queues: []string{"q"}})
	require.NoError(t, err)
	assert.Equal(t, map[rpw.State]int64{rpw.Pending: 2, rpw.Running: 1, rpw.Completed: 1}, count)

	do(t, s.client, "CONFIG", "SET", "maxmemory", "0")
	mustEnqueue(t, a, fresh...)
}

// TestActionsCatchUpInSlices: however much time has brought about, no script does all of it, and the verb that asks sees it done.
func TestActionsCatchUpInSlices(t *testing.T) {
	t.Parallel()
	s := testStore(t)
	a := s.actions()
	const n = 1200 // more than two slices
	specs := actionSpecs(n)
	for i := range specs {
		specs[i].Delay = 3 * time.Second // longer than enqueueing takes on a busy machine
		specs[i].Keep.Completed = 50 * time.Millisecond
	}
	mustEnqueue(t, a, specs[:n/2]...)
	mustEnqueue(t, a, specs[n/2:]...)
	require.Empty(t, mustClaim(t, a, 1))
	time.Sleep(3*time.Second + 10*time.Millisecond)
	for taken := 0; taken < n; taken += rpw.MaxPage {
		held := mustClaim(t, a, rpw.MaxPage)
		require.Len(t, held, min(rpw.MaxPage, n-taken))
		moves := make([]rpw.Move, len(held))
		for i := range held {
			require.Equal(t, specs[taken+i].Ref, held[i].Ref)
			moves[i] = rpw.Move{Lease: held[i].Lease, Kind: rpw.Complete}
		}
		_, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: moves})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		count, err := a.Count(t.Context(), rpw.ActionFilter{Queues: []string{"q"}})
		return err == nil && len(count) == 0
	}, 30*time.Second, 20*time.Millisecond)
	keys, err := s.client.Do(t.Context(), s.client.B().Keys().Pattern("{"+s.keys.prefix+":a:q}*").Build()).AsStrSlice()
	require.NoError(t, err)
	require.Empty(t, keys, "an empty queue leaves nothing behind")
}

// TestClockThatFellBack: no lease ends later than a new one would, by the clock as it is.
// F15, A2: the clock of the server fell back by an hour.
func TestClockThatFellBack(t *testing.T) {
	s := testStore(t)
	a := s.actions()
	mustEnqueue(t, a, actionSpecs(1)...)
	held := mustClaim(t, a, 1)[0]
	// What is stored is from an hour ahead, as it is when the clock was an hour ahead.
	const hour = int64(time.Hour / time.Microsecond)
	of := s.keys.queue("q")
	put := func(text string, at int) string {
		b := []byte(text)
		binary.BigEndian.PutUint64(b[at:], binary.BigEndian.Uint64(b[at:])+uint64(hour))
		return string(b)
	}
	read := func(words ...string) string { m := do(t, s.client, words...); return textOf(&m) }
	record := read("HGET", of.side("r"), "0000")
	do(t, s.client, "HSET", of.side("r"), "0000", put(record, plainSize))
	members := do(t, s.client, "ZRANGE", of.side("run"), "0", "0")
	do(t, s.client, "ZINCRBY", of.side("run"), strconv.FormatInt(hour, 10), textOf(&valuesOf(&members)[0]))
	do(t, s.client, "SET", of.side("q"), put(read("GET", of.side("q")), 0))

	require.Empty(t, mustClaim(t, a, 1))
	got, err := a.Get(t.Context(), []rpw.ActionRef{held.Ref})
	require.NoError(t, err)
	require.Equal(t, rpw.Running, got[0].State)
	assert.WithinDuration(t, time.Now().Add(rpw.DefaultLease), got[0].Until, 2*time.Second)
	answers, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: held.Lease, Kind: rpw.Complete}}})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err, "the lease holds")
}

// F15, A7: the clock falls back while a cancel is under way: its grace ends, though the holder renews.
func TestGraceWhenTheClockFallsBack(t *testing.T) {
	t.Parallel()
	server, clock := redistest.StartClocked(t)
	a := storeOn(t, server, "p").actions()
	specs := actionSpecs(1)
	specs[0].CancelGrace = time.Second
	mustEnqueue(t, a, specs...)
	held := mustClaim(t, a, 1)[0]
	_, err := a.Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: held.Ref}}})
	require.NoError(t, err)
	clock.Set(t, -time.Hour)
	require.Eventually(t, func() bool {
		_, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Kind: rpw.Renew, Lease: held.Lease}}})
		require.NoError(t, err)
		got, err := a.Get(t.Context(), []rpw.ActionRef{held.Ref})
		require.NoError(t, err)
		return got[0].State == rpw.Cancelled
	}, 30*time.Second, 100*time.Millisecond)
}

// TestIdleClaimersAreQuiet: waiting costs nothing, and a new action makes no claimer look that will not get it.
func TestIdleClaimersAreQuiet(t *testing.T) {
	s := storeOn(t, redistest.Start(t), "p")
	a := s.actions()
	const claimers = 20
	got := make(chan []rpw.Claimed, claimers)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range claimers {
		wg.Go(func() {
			claimed, _ := a.Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: strconv.Itoa(i), Wait: rpw.Forever})
			got <- claimed
		})
	}
	scripts := func() (n int) {
		for line := range strings.Lines(stringOfInfo(t, s.client)) {
			if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls="); ok {
				n, _ = strconv.Atoi(rest[:strings.IndexByte(rest, ',')])
			}
		}
		return n
	}
	settled := func() int { // the number of scripts once there are no more
		n := scripts()
		for {
			time.Sleep(100 * time.Millisecond)
			if next := scripts(); next != n {
				n = next
				continue
			}
			return n
		}
	}
	require.Eventually(t, func() bool { return scripts() >= claimers }, 5*time.Second, 10*time.Millisecond)
	before := settled()
	mustEnqueue(t, a, actionSpecs(1)...)
	require.Len(t, <-got, 1)
	assert.LessOrEqual(t, settled()-before, 5, "register and enqueue, the claim, and who has the turn after it")
	cancel()
	wg.Wait()
}

func stringOfInfo(t testing.TB, client rueidis.Client) string {
	m := do(t, client, "INFO", "commandstats")
	return textOf(&m)
}

// TestTheNameOfAQueueIsRefused: who stored actions, and not the name of their queue, is not told that nothing was done, and a repeat stores the name.
// A1, A14: all data was lost, and the server is full, or away, between the two.
func TestTheNameOfAQueueIsRefused(t *testing.T) {
	s := storeOn(t, redistest.Start(t), "p")
	a := s.actions()
	mustEnqueue(t, a, actionSpecs(1)...)
	do(t, s.client, "FLUSHALL")
	do(t, s.client, "SET", a.keys.queues("i"), "the name cannot be stored")
	_, err := a.Enqueue(t.Context(), actionSpecs(1))
	require.ErrorIs(t, err, rpw.ErrUncertain)
	require.NotErrorIs(t, err, rpw.ErrConflict)
	require.Len(t, mustClaim(t, a, 1), 1, "it is stored")

	do(t, s.client, "DEL", a.keys.queues("i"))
	answers, err := a.Enqueue(t.Context(), actionSpecs(1))
	require.NoError(t, err)
	require.True(t, answers[0].Existing)
	names, err := a.allQueues(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, []string{"q"}, names)
}

// TestPagesOfLargeActions: a page is bounded in bytes, too.
func TestPagesOfLargeActions(t *testing.T) {
	a := testStore(t).actions()
	const n = 2 * readAtOnce
	specs := actionSpecs(n)
	for i := range specs {
		specs[i].Arg = json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)
	}
	for i := 0; i < n; i += 20 {
		mustEnqueue(t, a, specs[i:i+20]...)
	}
	var got []string
	pages := 0
	for req := (rpw.ListActions{}); ; pages++ {
		page, err := a.List(t.Context(), req)
		require.NoError(t, err)
		for _, action := range page.Actions {
			got = append(got, action.Ref.ID)
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			break
		}
	}
	require.Len(t, got, n)
	require.Positive(t, pages, "all came in one page")
}

// TestPacked holds the packer and the unpacker against the server's own.
func TestPacked(t *testing.T) {
	client := testStore(t).client
	long := strings.Repeat("é\x00", 40_000)
	var p packed
	p = p.array(14).int(0).int(127).int(128).int(-1).int(1<<31 - 1).int(1 << 40).int(-1 << 40).uint(1 << 50).float(0.25).bool(true)
	p = p.text("").text(long[:31]).text(long[:300]).text(long)
	m := do(t, client, "EVAL", "return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))", "0", string(p))
	u := unpacker{rest: textOf(&m)}
	require.Equal(t, 14, u.array())
	for _, n := range []int64{0, 127, 128, -1, 1<<31 - 1, 1 << 40, -1 << 40, 1 << 50} {
		assert.Equal(t, n, u.int())
	}
	assert.InDelta(t, 0.25, u.float(), 0)
	assert.Equal(t, int64(1), u.int())
	for _, s := range []string{"", long[:31], long[:300], long} {
		assert.True(t, u.isText())
		assert.Equal(t, s, u.text())
	}
	require.NoError(t, u.err)
	require.Empty(t, u.rest)
	for _, broken := range []string{"", "\xc1", "\xd9\x05ab", "\x92"} { // whatever is stored, nothing panics
		u := unpacker{rest: broken}
		u.array()
		u.int()
		u.text()
		require.Error(t, u.err)
	}
}

func TestLuaConstants(t *testing.T) {
	const source = "local A <const> = 7 -- a number\nlocal B <const> = KEYS[1]\nlocal x = 'A' .. \"B \\\" A\" -- A\nreturn r[A] + AB, B\n"
	assert.Equal(t, "\n\nlocal x = 'A' .. \"B \\\" A\" \nreturn r[7] + AB, KEYS[1]\n", inlineConstants(source))
}
