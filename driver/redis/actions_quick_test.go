package redis

import (
	"encoding/binary"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// Fields of the record of a queue, and of the seat behind them.
const (
	queueNow  = 0
	queueNext = 10
	seatEnds  = 13
)

// never is a time that does not come.
const never = 1 << 52

// setQueue writes a field of the record of a queue.
func setQueue(t *testing.T, a *actionStore, field int, value uint64) {
	t.Helper()
	do(t, a.client, "SETRANGE", a.keys.queue("q").side("q"), strconv.Itoa(8*field), string(binary.BigEndian.AppendUint64(nil, value)))
}

// traces are what a running action that was plain has left in its queue, but for times, and who has the seat.
type traces struct {
	record, spec            string
	records, specs, indexed int64
	running, others         int64 // in RUN, and in READY, DUE and DONE
	counts                  [8]uint64
}

// tracesOf reads them. Their times must fit.
func tracesOf(t *testing.T, a *actionStore, id string) traces {
	t.Helper()
	q := a.keys.queue("q")
	size := func(command, part string) int64 {
		m := do(t, a.client, command, q.side(part))
		return number(&m)
	}
	found := traces{records: size("HLEN", "r"), specs: size("HLEN", "s"), indexed: size("ZCARD", "i"), running: size("ZCARD", "run")}
	for _, part := range []string{"ready", "due", "done"} {
		found.others += size("ZCARD", part)
	}
	m := do(t, a.client, "HGET", q.side("r"), id)
	u := unpacker{rest: textOf(&m)}
	created, lot, place := u.take(8), u.take(8), u.take(1)
	assert.Equal(t, created, lot)
	runAt := u.number(8)
	found.record = place + u.take(plainSize-8-lotSize-8)
	start := u.number(8)
	lease := u.take(5)
	token := u.number(8)
	found.record += lease + u.rest
	require.NoError(t, u.err)
	assert.LessOrEqual(t, runAt, start)
	ends := start + uint64(rpw.DefaultLease.Microseconds())
	m = do(t, a.client, "HGET", q.side("s"), created)
	found.spec = textOf(&m)
	stamp := binary.BigEndian.Uint64([]byte(created))
	for part, want := range map[string]uint64{"i": stamp, "run": ends} {
		m = do(t, a.client, "ZSCORE", q.side(part), created+id)
		score, err := m.AsFloat64()
		require.NoError(t, err, part)
		assert.Equal(t, want, uint64(score), part)
	}
	m = do(t, a.client, "GET", q.side("q"))
	var fields [13]uint64
	u = unpacker{rest: textOf(&m)}
	for i := range fields {
		fields[i] = u.number(8)
	}
	require.NoError(t, u.err)
	assert.Equal(t, start, fields[queueNow])
	assert.Equal(t, []uint64{stamp, token}, fields[1:3], "the last created, and the last token")
	assert.Equal(t, ends, fields[queueNext], "when something is due")
	copy(found.counts[:7], fields[3:10])
	found.counts[7] = fields[12]
	return found
}

// TestWhatIsGivenIsStoredAsClaimed: A1, A2: nothing tells later whether an action was given to a claim that waited, or claimed after it was enqueued. Other claims
// hear when its lease ends.
func TestWhatIsGivenIsStoredAsClaimed(t *testing.T) {
	spec := actionSpecs(1)
	spec[0].Arg, spec[0].Labels, spec[0].Timeout, spec[0].MaxAttempts, spec[0].CancelGrace = []byte(`{"n":1}`), []string{"l"}, time.Minute, 7, time.Second
	spec[0].Keep = rpw.KeepActions{Completed: time.Hour, Failed: rpw.NoTTL, Cancelled: time.Minute}
	for _, next := range []uint64{0, never} { // nothing is due; something is, later
		a := testStore(t).actions()
		s := sitDown(t, a)
		others, err := a.waker.watch(t.Context(), a.queueChannels([]string{"q"})...)
		require.NoError(t, err)
		defer others.close()
		setQueue(t, a, queueNext, next)
		setQueue(t, a, seatEnds, never)
		mustEnqueue(t, a, spec...)
		given := tracesOf(t, a, spec[0].Ref.ID)
		require.Len(t, s.answer(t), 1)
		assert.Equal(t, "0 "+strconv.FormatInt(rpw.DefaultLease.Microseconds(), 10), <-others.C)

		b := testStore(t).actions()
		first := actionSpecs(1)
		first[0].Ref.ID = "first"
		mustEnqueue(t, b, first...)
		require.Len(t, mustClaim(t, b, 1), 1)
		setQueue(t, b, queueNext, next)
		mustEnqueue(t, b, spec...)
		require.Len(t, mustClaim(t, b, 1), 1)
		assert.Equal(t, tracesOf(t, b, spec[0].Ref.ID), given)
	}
}

// TestOnlyTheUsualIsGiven: A1, A5, A6, A9: everything that is not one plain new action, in a queue where nothing else comes first, is enqueued as if nobody waited.
func TestOnlyTheUsualIsGiven(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *actionStore)
		change func(specs []rpw.ActionSpec) []rpw.ActionSpec
		want   rpw.State
	}{
		"usual":            {want: rpw.Running},
		"unique":           {change: func(s []rpw.ActionSpec) []rpw.ActionSpec { s[0].Unique = "k"; return s }, want: rpw.Pending},
		"later":            {change: func(s []rpw.ActionSpec) []rpw.ActionSpec { s[0].Delay = time.Hour; return s }, want: rpw.Pending},
		"two":              {change: func([]rpw.ActionSpec) []rpw.ActionSpec { return actionSpecs(2) }, want: rpw.Pending},
		"there":            {change: func(s []rpw.ActionSpec) []rpw.ActionSpec { s[0].Ref.ID = "later"; return s }, want: rpw.Pending},
		"others are ready": {before: func(t *testing.T, a *actionStore) { mustEnqueue(t, a, actionSpecs(3)[1:]...) }, want: rpw.Pending},
		"paused": {before: func(t *testing.T, a *actionStore) {
			answers, err := a.Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Pause, Ref: rpw.ActionRef{Queue: "q"}}}})
			require.NoError(t, err)
			require.NoError(t, answers[0].Err)
		}, want: rpw.Pending},
		"the clock fell back": {before: func(t *testing.T, a *actionStore) {
			setQueue(t, a, queueNow, uint64(time.Now().Add(time.Hour).UnixMicro()))
		}, want: rpw.Pending},
		"something is due": {before: func(t *testing.T, a *actionStore) { setQueue(t, a, queueNext, 1) }, want: rpw.Pending},
		"being restored": {before: func(t *testing.T, a *actionStore) {
			key := a.keys.queue("q").side("q")
			record := do(t, a.client, "GET", key)
			do(t, a.client, "SET", key, textOf(&record)[:queueSize]+"\xff0")
		}, want: rpw.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			a := testStore(t).actions()
			s := sitDown(t, a)
			s.leave()
			require.Empty(t, s.answer(t))
			a.sender.tasks.Wait()
			later := actionSpecs(1)
			later[0].Ref.ID, later[0].Delay = "later", time.Hour
			mustEnqueue(t, a, later...)
			s.req.Lane.Seq++
			require.Empty(t, a.claimFrom(t.Context(), s.req, s.req.Queues, []int{1}, a.waker.echo)[0].claimed)
			setQueue(t, a, seatEnds, never)
			if c.before != nil {
				c.before(t, a)
			}
			specs := actionSpecs(1)
			if c.change != nil {
				specs = c.change(specs)
			}
			mustEnqueue(t, a, specs...)
			got, err := a.Get(t.Context(), []rpw.ActionRef{specs[0].Ref})
			require.NoError(t, err)
			assert.Equal(t, c.want, got[0].State)
		})
	}
}
