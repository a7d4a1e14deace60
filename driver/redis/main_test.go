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

	"github.com/redis-process-worker/rpw"
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
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, ForceSingleClient: true, DisableRetry: true, AlwaysPipelining: true,
		RingScaleEachConn: 8, ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	})
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
	s := newStore(dial(t, server), keyspace{prefix: prefix}, options{timeout: 5 * time.Second, notify: func(rpw.Notice) {}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, s.close(ctx))
	})
	return s
}
