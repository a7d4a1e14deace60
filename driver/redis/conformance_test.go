package redis

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
)

// TestConformance runs the suite on one server. Each case has a prefix of its own there, and each hub of it a client of its own.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: standalone, Unit: 30 * time.Millisecond, Parallel: true})
}

// TestConformanceOnCluster runs it on a cluster of three nodes, where everything that belongs together must be in one slot.
func TestConformanceOnCluster(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: clustered, Unit: 30 * time.Millisecond, Parallel: true})
}

func standalone(t testing.TB) conformance.Backend {
	server := shared.Server(t)
	return backend(t, func() rueidis.Client { return dial(t, server) })
}

func clustered(t testing.TB) conformance.Backend {
	nodes := shared.Cluster(t)
	return backend(t, func() rueidis.Client { return dialCluster(t, nodes) })
}

// backend is a store under a prefix of its own.
func backend(t testing.TB, connect func() rueidis.Client) conformance.Backend {
	prefix := "c" + strconv.FormatInt(prefixes.Add(1), 10)
	admin := connect()
	t.Cleanup(func() { flush(t, admin, prefix) })
	return conformance.Backend{
		Connect: func() (rpw.Parts, error) { return New(t.Context(), connect(), Options{Prefix: prefix}) },
		Flush:   func() { flush(t, admin, prefix) },
	}
}

// flush drops all keys of a prefix in one step, so that the cases see a FLUSHALL of their own.
func flush(t testing.TB, client rueidis.Client, prefix string) {
	t.Helper()
	for _, node := range client.Nodes() {
		require.NoError(t, node.Do(context.Background(), node.B().Eval().Script(flushScript).Numkeys(0).Arg(prefix).Build()).Error())
	}
}

const flushScript = `
for _, pattern in ipairs({ARGV[1] .. ':*', '{' .. ARGV[1] .. ':*', ARGV[1] .. '^*', '{' .. ARGV[1] .. '^*'}) do
  local cursor = '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do redis.call('UNLINK', key) end
  until cursor == '0'
end
return 1`
