package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestReplicatedWaits: what is acknowledged is on a replica; with too few of them the outcome is unknown.
// F20, S2: a replica is frozen.
func TestReplicatedWaits(t *testing.T) {
	servers := redistest.StartReplicated(t, 1, 0)
	h, err := rpw.Open(t.Context(), "redis://"+servers.Master.Addr+"?durability=replicated&replicas=1&timeout=1s")
	require.NoError(t, err)
	defer h.Close()
	set := func() error {
		errs, err := h.Cache().Set(t.Context(), []rpw.CacheSet{{Key: "k", Data: []byte("v"), TTL: rpw.NoTTL}, {Key: "l", Data: []byte("v"), TTL: rpw.NoTTL}})
		if err != nil {
			return err
		}
		return errs[1]
	}
	stored := func() bool { return set() == nil }
	require.Eventually(t, stored, 30*time.Second, 50*time.Millisecond, "a replica that has just come may be late")
	assert.Equal(t, "v", servers.Replicas[0].CLI(t, "GET", "rpw:c:l"))

	servers.Replicas[0].Freeze()
	began := time.Now()
	assert.ErrorIs(t, set(), rpw.ErrUncertain)
	assert.Less(t, time.Since(began), 2*time.Second)
	v, err := h.Cache().Get(t.Context(), rpw.GetRequest{Keys: []string{"k"}})
	require.NoError(t, err, "reads do not wait")
	assert.True(t, v[0].Found)
	servers.Replicas[0].Thaw()
	assert.Eventually(t, stored, 30*time.Second, 50*time.Millisecond)
}

// TestSentinelFailover is F20: after the master died, calls and wake-ups go on with the new one.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	servers := redistest.StartReplicated(t, 1, 3)
	h, err := rpw.Open(t.Context(), "redis+sentinel://"+strings.Join(servers.SentinelAddrs(), ",")+"/mymaster?durability=replicated")
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, rpw.Set(t.Context(), h, "k", 1, rpw.TTL(rpw.NoTTL)))
	servers.Master.Freeze()
	began := time.Now()
	for {
		v, ok, err := rpw.Get[int](t.Context(), h, "k")
		if err == nil {
			assert.True(t, ok)
			assert.Equal(t, 1, v)
			break
		}
		require.Less(t, time.Since(began), 30*time.Second, "%v", err)
	}
	t.Log("read after", time.Since(began))
	assert.Less(t, time.Since(began), redistest.DownAfter+6*time.Second)
}
