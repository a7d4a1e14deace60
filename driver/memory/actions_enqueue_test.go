package memory

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func uniqueSpec(id string, policy rpw.UniquePolicy) rpw.ActionSpec {
	sp := spec(id)
	sp.Unique, sp.OnUnique = "key", policy
	return sp
}

func TestEnqueueSameIDTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		other := spec("a")
		other.Arg = json.RawMessage(`{"n":2}`)
		renamed := spec("a")
		renamed.Name = "other"
		s.put(spec("a"))
		assert.Equal(t, []rpw.Enqueued{{Ref: ref("a"), Existing: true}}, s.enqueue(spec("a")))
		assert.ErrorIs(t, s.enqueue(other)[0].Err, rpw.ErrConflict)
		assert.ErrorIs(t, s.enqueue(renamed)[0].Err, rpw.ErrConflict)

		// also within one call, and when it has finished
		assert.Equal(t, []rpw.Enqueued{{Ref: ref("b")}, {Ref: ref("b"), Existing: true}}, s.enqueue(spec("b"), spec("b")))
		require.NoError(t, s.move(rpw.Move{Lease: s.takeOne().Lease, Kind: rpw.Complete}).Err)
		assert.True(t, s.enqueue(spec("a"))[0].Existing)
		time.Sleep(day)
		assert.False(t, s.enqueue(spec("a"))[0].Existing, "it is forgotten")
		s.check()
	})
}

func TestEnqueueNilArgumentIsNull(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.Arg = nil
		s.put(sp)
		assert.Equal(t, "null", string(s.got("a").Arg))
		sp.Arg = json.RawMessage("null")
		assert.True(t, s.enqueue(sp)[0].Existing)
	})
}

func TestEnqueueIsAllOrNoneForEachQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(uniqueSpec("holder", 0))
		elsewhere := spec("c")
		elsewhere.Ref.Queue = "r"
		dependent := uniqueSpec("d", 0)
		dependent.Unique = "other"
		answers := s.enqueue(spec("a"), elsewhere, uniqueSpec("b", rpw.UniqueReject), dependent)
		assert.ErrorIs(t, answers[0].Err, rpw.ErrConflict)
		assert.NoError(t, answers[1].Err)
		assert.ErrorIs(t, answers[2].Err, rpw.ErrConflict)
		assert.ErrorIs(t, answers[3].Err, rpw.ErrConflict)
		for _, id := range []string{"a", "b", "d"} {
			assert.ErrorIs(t, s.got(id).Err, rpw.ErrNotFound)
		}
		assert.Len(t, s.take(rpw.ClaimRequest{Queues: []string{"r"}}), 1)
		s.put(dependent) // its key is free
		s.check()
	})
}

func TestEnqueueUnique(t *testing.T) {
	later := func(sp rpw.ActionSpec) rpw.ActionSpec {
		sp.Arg, sp.Delay, sp.Labels, sp.MaxAttempts = json.RawMessage(`{"n":2}`), time.Hour, []string{"new"}, 1
		return sp
	}
	for _, c := range []struct {
		policy   rpw.UniquePolicy
		pending  error // of an Enqueue when the other is pending
		running  error
		arg      string
		delay    time.Duration
		attempts int
	}{
		{rpw.UniqueJoin, nil, nil, `{"n":1}`, 0, rpw.DefaultMaxAttempts},
		{rpw.UniqueReject, rpw.ErrConflict, rpw.ErrConflict, `{"n":1}`, 0, rpw.DefaultMaxAttempts},
		{rpw.UniqueReplace, nil, rpw.ErrConflict, `{"n":2}`, time.Hour, 1},
		{rpw.UniqueReschedule, nil, rpw.ErrConflict, `{"n":1}`, time.Hour, rpw.DefaultMaxAttempts},
	} {
		t.Run(fmt.Sprint(c.policy), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s actionTest) {
				s.put(uniqueSpec("a", c.policy))
				answer := s.enqueue(later(uniqueSpec("b", c.policy)))[0]
				assert.ErrorIs(t, answer.Err, c.pending)
				if c.pending == nil {
					assert.Equal(t, rpw.Enqueued{Ref: ref("a"), Existing: true}, answer)
				}
				assert.ErrorIs(t, s.got("b").Err, rpw.ErrNotFound)
				a := s.got("a")
				assert.JSONEq(t, c.arg, string(a.Arg))
				assert.Equal(t, c.attempts, a.MaxAttempts)
				assert.True(t, a.RunAt.Equal(time.Now().Add(c.delay)))
				s.check()

				time.Sleep(c.delay)
				l := s.takeOne().Lease
				assert.ErrorIs(t, s.enqueue(uniqueSpec("b", c.policy))[0].Err, c.running)
				require.NoError(t, s.move(rpw.Move{Lease: l, Kind: rpw.Complete}).Err)
				assert.Equal(t, []rpw.Enqueued{{Ref: ref("b")}}, s.enqueue(uniqueSpec("b", c.policy)), "the key is free again")
				s.check()
			})
		})
	}
}

func TestEnqueueUniqueWithinOneCall(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		b := uniqueSpec("b", rpw.UniqueReplace)
		b.Arg = json.RawMessage(`{"n":22}`)
		answers := s.enqueue(uniqueSpec("a", 0), b, uniqueSpec("c", rpw.UniqueJoin))
		assert.Equal(t, []rpw.Enqueued{{Ref: ref("a")}, {Ref: ref("a"), Existing: true}, {Ref: ref("a"), Existing: true}}, answers)
		assert.JSONEq(t, `{"n":22}`, string(s.got("a").Arg))
		assert.Equal(t, int64(specSize(&b)), s.store.used.Load(), "counted once, as it is now")
		s.check()
	})
}

func TestRetryNeedsTheUniqueKey(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(uniqueSpec("a", 0))
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
		s.put(uniqueSpec("b", 0))
		assert.ErrorIs(t, s.command(rpw.Command{Kind: rpw.Retry, Ref: ref("a")}).Err, rpw.ErrConflict)
		s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("b")})
		assert.NoError(t, s.command(rpw.Command{Kind: rpw.Retry, Ref: ref("a")}).Err)
		assert.Equal(t, ref("a"), s.enqueue(uniqueSpec("c", 0))[0].Ref)
		s.check()
	})
}

func TestEnqueueCopiesWhatItKeeps(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.Arg = json.RawMessage(`{"n":1}`)
		sp.Labels = []string{"l"}
		s.put(sp)
		sp.Arg[5], sp.Labels[0] = '9', "x"
		a := s.got("a")
		assert.JSONEq(t, `{"n":1}`, string(a.Arg))
		assert.Equal(t, []string{"l"}, a.Labels)
	})
}

func TestEnqueueOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		past, soon := spec("past"), spec("soon")
		past.RunAt = time.Now().Add(-time.Hour)
		soon.RunAt = time.Now().Add(time.Second)
		s.put(spec("a"), past, soon)
		time.Sleep(2 * time.Second)
		s.put(spec("b"))
		var got []string
		for _, c := range s.take(rpw.ClaimRequest{Max: 10}) {
			got = append(got, c.Ref.ID)
		}
		assert.Equal(t, []string{"a", "past", "soon", "b"}, got)
	})
}

// What a store holds is counted right when one call replaces an action twice, and when it fails after it has.
func TestReplaceTwiceInOneCall(t *testing.T) {
	s := New(Options{})
	enqueue := func(specs ...rpw.ActionSpec) []rpw.Enqueued {
		answers, err := s.actions.Enqueue(t.Context(), specs)
		require.NoError(t, err)
		return answers
	}
	sized := func(id string, policy rpw.UniquePolicy, n int) rpw.ActionSpec {
		spec := uniqueSpec(id, policy)
		spec.Arg = []byte(strings.Repeat("1", n))
		return spec
	}
	enqueue(sized("a", rpw.UniqueReplace, 10))
	used := s.Used()
	enqueue(sized("b", rpw.UniqueReplace, 1000), sized("c", rpw.UniqueReplace, 100))
	assert.Equal(t, used+90, s.Used())
	answers := enqueue(sized("b", rpw.UniqueReplace, 1000), sized("c", rpw.UniqueReplace, 5000), sized("d", rpw.UniqueReject, 1))
	require.ErrorIs(t, answers[2].Err, rpw.ErrConflict)
	assert.Equal(t, used+90, s.Used())
	_, err := s.actions.Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.DeleteAction, Ref: ref("a")}}})
	require.NoError(t, err)
	assert.Zero(t, s.Used())
}
