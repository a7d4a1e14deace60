package redis

import (
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw/internal/redistest"
)

// shared is the server of the tests that do no harm to it.
var shared redistest.Shared

// TestMain checks E3 for all tests of the package: nothing is left running.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		shared.Stop()
		os.Exit(code)
	}))
}

// dial opens a client of a server, closed with the test.
func dial(t testing.TB, s *redistest.Server) rueidis.Client {
	t.Helper()
	return dialAll(t, &config{addrs: []string{s.Addr}})
}

// dialCluster opens a client of a cluster, closed with the test.
func dialCluster(t testing.TB, c *redistest.Cluster) rueidis.Client {
	t.Helper()
	return dialAll(t, &config{mode: cluster, addrs: c.Addrs()})
}

func dialAll(t testing.TB, c *config) rueidis.Client {
	t.Helper()
	c.dialTimeout, c.pool = 2*time.Second, 8
	opt, err := c.clientOption(new(links))
	require.NoError(t, err)
	opt.RingScaleEachConn = 8
	client, err := c.connect(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

var prefixes atomic.Int64

// testStore is a store on the shared server, with a prefix of its own.
func testStore(t testing.TB) *store {
	t.Helper()
	return storeOn(t, shared.Server(t), "t"+strconv.FormatInt(prefixes.Add(1), 10))
}

// storeOn is a store on a server, closed with the test.
func storeOn(t testing.TB, server *redistest.Server, prefix string) *store {
	t.Helper()
	return storeWith(t, dial(t, server), prefix)
}

// storeWith is a store over a client, closed with the test.
func storeWith(t testing.TB, client rueidis.Client, prefix string) *store {
	t.Helper()
	opts := Options{Prefix: prefix}
	require.NoError(t, opts.check())
	s := newStore(client, keyspace{prefix: prefix}, opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, s.close(ctx))
	})
	return s
}
