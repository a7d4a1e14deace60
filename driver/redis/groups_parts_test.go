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
