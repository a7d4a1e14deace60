package redis

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestASlowServerGetsAWriteOnce: while the server is busy, the client neither sends a write again nor makes another connection for it.
func TestASlowServerGetsAWriteOnce(t *testing.T) {
	const keys = 20
	server := redistest.Start(t)
	c := cache{storeOn(t, server, "p")}
	increment := func(key string) error {
		_, err := c.Increment(t.Context(), []rpw.CacheIncrement{{Key: key, By: 1, TTL: rpw.NoTTL}})
		return err
	}
	require.NoError(t, increment("first"))
	server.Freeze()
	thaw := time.AfterFunc(1500*time.Millisecond, server.Thaw)
	defer thaw.Stop()
	errs := make([]error, keys)
	var calls sync.WaitGroup
	for i := range keys {
		calls.Go(func() { errs[i] = increment(strconv.Itoa(i)) })
	}
	calls.Wait()
	for i, err := range errs {
		stored, missed := c.Get(t.Context(), rpw.GetRequest{Keys: []string{strconv.Itoa(i)}})
		require.NoError(t, missed)
		want := []string{"1"}
		if err != nil {
			assert.ErrorIs(t, err, rpw.ErrUncertain)
			want = append(want, "")
		}
		assert.Contains(t, want, string(stored[0].Data), "%v", err)
	}
}

// TestAReadWithoutServerEndsAtOnce: the client repeats nothing by itself; what is safe to repeat, the Hub repeats.
func TestAReadWithoutServerEndsAtOnce(t *testing.T) {
	server := redistest.Start(t)
	c := cache{storeOn(t, server, "p")}
	get := func() error {
		_, err := c.Get(t.Context(), rpw.GetRequest{Keys: []string{"k"}})
		return err
	}
	require.NoError(t, get())
	server.Kill()
	for range 3 {
		began := time.Now()
		assert.ErrorIs(t, get(), rpw.ErrUnavailable)
		assert.Less(t, time.Since(began), DefaultTimeout/2)
	}
}

// TestTriesToLinkDiffer: many processes that lose a server at the same moment come back spread over time.
func TestTriesToLinkDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const processes = 1000
		for failed, most := range []time.Duration{2 * backoffBase, 3 * backoffBase, 5 * backoffBase, 9 * backoffBase} {
			var mu sync.Mutex
			tries := make(map[int64]int) // by tenth of the longest
			var all sync.WaitGroup
			began := time.Now()
			for range processes {
				all.Go(func() {
					w := &waker{ctx: t.Context()}
					assert.True(t, w.retry(failed))
					mu.Lock()
					defer mu.Unlock()
					tries[int64(10*time.Since(began)/most)]++
				})
			}
			all.Wait()
			assert.LessOrEqual(t, time.Since(began), most)
			for tenth, n := range tries {
				assert.Less(t, n, processes/3, "in tenth %d of %v", tenth, most)
			}
		}
	})
}
