package redis

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestAPartOfAGroupThatIsLostHoldsUpNothing: G1, S5, F24: a server that may drop keys drops one of a group. What can be found of the pending events is delivered again, what
// cannot is told as missing, and what is published after that is delivered as ever.
func TestAPartOfAGroupThatIsLostHoldsUpNothing(t *testing.T) {
	for _, part := range []string{"gl", "gd", "gr", "gw", "gk", "gc", "gs"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.group(func(cfg *rpw.GroupConfig) { cfg.Lease = 200 * time.Millisecond })
			b.add(1, 6)
			ds := b.fetch(6)
			b.settle(ds[:1], rpw.Settlement{Verdict: rpw.Ack})
			b.settle(ds[1:2], rpw.Settlement{Verdict: rpw.Nack, Delay: 100 * time.Millisecond})
			b.settle(ds[2:3], rpw.Settlement{Verdict: rpw.Nack})
			b.settle(ds[3:4], rpw.Settlement{Verdict: rpw.Nack})
			b.settle(b.fetch(1), rpw.Settlement{Verdict: rpw.Nack, Delay: time.Millisecond})
			time.Sleep(10 * time.Millisecond)
			b.bare("DEL", "{%s}:"+part+":g")
			b.add(7, 7)
			var got []string
			missed := uint64(0)
			for { // until nothing comes for longer than leases and delays take
				ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 10, Wait: time.Second})
				if gap, ok := errors.AsType[*rpw.GapError](err); ok {
					missed += gap.Missed
					continue
				}
				require.NoError(t, err)
				if len(ds) == 0 {
					break
				}
				got = append(got, dataOf(ds)...)
				b.settle(ds, rpw.Settlement{Verdict: rpw.Ack})
			}
			assert.Subset(t, texts(2, 7), got)
			assert.Contains(t, got, "7")
			assert.EqualValues(t, 6, len(slices.Compact(slices.Sorted(slices.Values(got))))+int(missed))
			if part != "gl" && part != "gw" { // which alone say what is pending
				assert.Zero(t, missed)
			}
			info := b.info()
			assert.Zero(t, info.Pending)
			for _, c := range info.Consumers {
				assert.Zero(t, c.Pending)
			}
			_, err := b.Pending(t.Context(), rpw.PendingRequest{Stream: "s", Group: "g", Max: 10})
			require.NoError(t, err)
		})
	}
}

// TestWhatIsLeftOfAGroupIsPending: G1, G5, F24: a server that may drop keys drops the one that says that there is a group. Who makes the group again, as Consume does, is given
// what was pending, each event once, and what follows.
func TestWhatIsLeftOfAGroupIsPending(t *testing.T) {
	b := newBus(t)
	b.group()
	at := b.add(1, 6)
	ds := b.fetch(5)
	b.settle(ds[:1], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(ds[1:2], rpw.Settlement{Verdict: rpw.Nack, Delay: time.Hour})
	b.settle(ds[2:3], rpw.Settlement{Verdict: rpw.Nack})
	again := b.fetch(1)
	require.Equal(t, texts(3, 3), dataOf(again))
	b.bare("DEL", "{%s}:g:g", "{%s}:groups")
	info := b.group(func(cfg *rpw.GroupConfig) { cfg.From = rpw.After(at[3]) })
	assert.EqualValues(t, 4, info.Pending)
	errs, err := b.Settle(t.Context(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: ds[4].Receipt, Verdict: rpw.Ack}}})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], rpw.ErrLeaseLost)
	_, err = b.Trim(t.Context(), "s", rpw.Retention{Events: 2})
	require.NoError(t, err)
	got := b.fetch(10)
	assert.Equal(t, texts(2, 6), dataOf(got))
	assert.Equal(t, 3, got[1].Attempt)
	assert.EqualValues(t, 5, b.info().Pending)
	b.settle(got, rpw.Settlement{Verdict: rpw.Ack})
	assert.Zero(t, b.info().Pending)
	assert.Empty(t, b.fetch(1))
}

// TestAGroupIsListedAgain: G4, G6, F24: a server that may drop keys drops the index of groups. It is made again by who works on it.
func TestAGroupIsListedAgain(t *testing.T) {
	b := newBus(t)
	b.group()
	b.bare("DEL", "{%s}:groups")
	b.group()
	b.info()
	b.bare("DEL", "{%s}:groups")
	b.fetch(1)
	b.info()
}

// TestALostLeaseEndsInABusyGroup: G1, F24: a server that may drop keys drops when the leases of a group end, and a verdict says of one of them again when it does. The
// others end as well.
func TestALostLeaseEndsInABusyGroup(t *testing.T) {
	b := newBus(t)
	b.group(func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MinLease })
	b.add(1, 3)
	require.Equal(t, texts(1, 1), dataOf(b.fetch(1))) // of a consumer that is lost
	ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 2, Lease: rpw.MaxLease})
	require.NoError(t, err)
	b.bare("DEL", "{%s}:gd:g")
	b.settle(ds[:1], rpw.Settlement{Verdict: rpw.Ack})
	ds, err = b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: 10 * time.Second})
	require.NoError(t, err)
	assert.Equal(t, texts(1, 1), dataOf(ds))
}

// TestVerdictsAreRememberedAfterALoss: G2, F24: a server that may drop keys drops the list of verdicts. Those that follow are remembered as long as ever.
func TestVerdictsAreRememberedAfterALoss(t *testing.T) {
	b := newBus(t)
	b.group()
	for n := range 20 {
		b.add(500*n, 500*n+499)
		b.settle(b.fetch(500), rpw.Settlement{Verdict: rpw.Ack})
	}
	b.bare("DEL", "{%s}:gs:g")
	b.add(1, 1)
	ds := b.fetch(1)
	b.settle(ds, rpw.Settlement{Verdict: rpw.Ack})
	b.settle(ds, rpw.Settlement{Verdict: rpw.Ack}) // a repeat
}
