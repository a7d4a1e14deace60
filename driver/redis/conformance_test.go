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
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestConformance runs the suite on one server. Each case has a prefix of its own there, and each hub of it a client of its own.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: standalone, Unit: 30 * time.Millisecond, Parallel: true})
}

// TestConformanceOnCluster runs it on a cluster of three nodes, where everything that belongs together must be in one slot.
func TestConformanceOnCluster(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: clustered, Unit: 30 * time.Millisecond, Parallel: true})
}

// TestModel replays random verbs on one server, each sequence under a prefix of its own.
func TestModel(t *testing.T) {
	t.Parallel()
	conformance.RunModel(t, conformance.Harness{Open: standalone, Unit: 30 * time.Millisecond})
}

// TestModelOnCluster replays them on three nodes.
func TestModelOnCluster(t *testing.T) {
	t.Parallel()
	conformance.RunModel(t, conformance.Harness{Open: clustered, Unit: 30 * time.Millisecond})
}

// core are cases for another way to a server, where the whole suite runs: what the verbs of the four contracts promise, what repeats and fences
// guard, and how calls wait, since that is what a way can break. Left out is what takes long for its leases and delays, not for the way.
var core = []string{
	"Streams/Publish", "Streams/Producer", "Streams/Read", "Streams/Wait", "Streams/Locate", "Groups/Ensure", "Groups/Fetch", "Groups/Settle",
	"Cache/Set", "Cache/Get", "Cache/Increment", "Cache/Near", "Logs/Write", "Logs/Stored", "Logs/Query/TailIsLive",
	"Actions/Enqueue", "Actions/Claim", "Actions/Advance/Progress", "Actions/Changes", "Actions/Fence", "Actions/Repeat", "Actions/Wake/OneActionOneClaimer", "Workers",
}

// TestConformanceOnSentinel runs the core over the master that three Sentinels name, each write acknowledged by its replica too.
func TestConformanceOnSentinel(t *testing.T) {
	servers := redistest.StartReplicated(t, 1, 3)
	conformance.Run(t, conformance.Harness{Unit: 30 * time.Millisecond, Parallel: true, Only: core, Open: func(t testing.TB) conformance.Backend {
		return backend(t, Options{Replicas: 1}, dial(t, servers.Master), func() rueidis.Client {
			return dialAll(t, &config{mode: sentinel, addrs: servers.SentinelAddrs(), master: "mymaster"})
		})
	}})
}

// TestConformanceOfTheOriginalsLayout runs it on keys that programs of the original share, which is why some cases cannot hold there.
func TestConformanceOfTheOriginalsLayout(t *testing.T) {
	const onlyJSON = "payloads and values are JSON, as the original reads nothing else"
	skip := map[string]string{
		"Streams/Publish/AnyBytesSurvive":     onlyJSON,
		"Original/Streams/NoEventEndsAReader": onlyJSON + "; an event that is not would end its readers",
		"Logs/Stored/ReadsTheOriginal":        onlyJSON + "; one of the entries is not",
		"Cache/Get/SameBytesBack":             onlyJSON,
		"Cache/Set/IfEqual":                   onlyJSON + "; this compares any bytes",
		"Names/Good/OneNameManyKinds":         "a stream and a cache value have the same key, so a name is of one kind",
		"Streams/Retention/HasADefaultBound":  "the original keeps everything, so a stream has no bound unless a publisher gives it one",
	}
	conformance.Run(t, conformance.Harness{Unit: 30 * time.Millisecond, Parallel: true, Skip: skip, Open: func(t testing.TB) conformance.Backend {
		server := shared.Server(t)
		return backend(t, Options{Original: true}, dial(t, server), func() rueidis.Client { return dial(t, server) })
	}})
}

func standalone(t testing.TB) conformance.Backend {
	server := shared.Server(t)
	return backend(t, Options{}, dial(t, server), func() rueidis.Client { return dial(t, server) })
}

func clustered(t testing.TB) conformance.Backend {
	nodes := shared.Cluster(t)
	return backend(t, Options{}, dialCluster(t, nodes), func() rueidis.Client { return dialCluster(t, nodes) })
}

// backend is a store under a prefix of its own. The admin is of all nodes that take writes.
func backend(t testing.TB, opts Options, admin rueidis.Client, connect func() rueidis.Client) conformance.Backend {
	opts.Timeout = 30 * time.Second // also on a machine that has much else to do; tests of their own are about the time of calls
	opts.Prefix = "c" + strconv.FormatInt(prefixes.Add(1), 10)
	t.Cleanup(func() { flush(t, admin, opts.Prefix) })
	return conformance.Backend{
		Connect: func() (rpw.Parts, error) { return New(t.Context(), connect(), opts) },
		Flush:   func() { flush(t, admin, opts.Prefix) },
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
