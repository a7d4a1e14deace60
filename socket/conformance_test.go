package socket

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/driver/redis"
)

// TestConformance is K1 in virtual time: the suite through both ends of the protocol, over memory.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: overMemory, Unit: time.Millisecond, Bubble: true})
}

// TestConformanceTwoHops is K1 two hops deep: a socket over a socket over memory.
func TestConformanceTwoHops(t *testing.T) {
	conformance.Run(t, conformance.Harness{Bubble: true, Unit: time.Millisecond, Open: func(t testing.TB) conformance.Backend {
		store := memory.New(memory.Options{})
		first, err := Pipe(hubOver(t, store.Parts()))
		require.NoError(t, err)
		second := hubOver(t, first)
		return conformance.Backend{
			Connect: func() (rpw.Parts, error) { return Pipe(second) },
			Flush:   store.Flush,
		}
	}})
}

// TestConformanceOnLoopback is K1 over WebSocket connections, over memory.
func TestConformanceOnLoopback(t *testing.T) {
	conformance.Run(t, conformance.Harness{Unit: 20 * time.Millisecond, Parallel: true, Open: func(t testing.TB) conformance.Backend {
		store := memory.New(memory.Options{})
		return remoteBackend(t, hubOver(t, store.Parts()), store.Flush)
	}})
}

// TestConformanceOverRedis is K1 over WebSocket connections, over Redis. Each case has a prefix of its own there.
func TestConformanceOverRedis(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: overRedis, Unit: 30 * time.Millisecond, Parallel: true})
}

// TestModel replays random verbs through both ends of the protocol, over memory in virtual time.
func TestModel(t *testing.T) {
	conformance.RunModel(t, conformance.Harness{Open: overMemory, Unit: time.Millisecond, Bubble: true})
}

// TestModelOverRedis replays them over WebSocket connections, over Redis.
func TestModelOverRedis(t *testing.T) {
	t.Parallel()
	conformance.RunModel(t, conformance.Harness{Open: overRedis, Unit: 30 * time.Millisecond})
}

// overMemory is a hub over memory behind the protocol, without a port.
func overMemory(t testing.TB) conformance.Backend {
	store := memory.New(memory.Options{})
	hub := hubOver(t, store.Parts())
	return conformance.Backend{
		Connect: func() (rpw.Parts, error) { return Pipe(hub) },
		Flush:   store.Flush,
	}
}

// overRedis is a hub over Redis, with a prefix of its own there, behind a server on a loopback port.
func overRedis(t testing.TB) conformance.Backend {
	hub, flush := redisHub(t)
	return remoteBackend(t, hub, flush)
}

// redisHub is a hub over Redis, with a prefix of its own there, whose keys flush drops.
func redisHub(t testing.TB) (hub *rpw.Hub, flush func()) {
	server := shared.Server(t)
	dial := func() rueidis.Client {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, DisableCache: true, RingScaleEachConn: 8})
		require.NoError(t, err)
		t.Cleanup(client.Close)
		return client
	}
	prefix := "s" + strconv.FormatInt(prefixes.Add(1), 10)
	admin := dial()
	parts, err := redis.New(t.Context(), dial(), redis.Options{Prefix: prefix, Timeout: callTime})
	require.NoError(t, err)
	return hubOver(t, parts), func() { dropAll(t, admin, prefix) }
}

var prefixes atomic.Int64

// callTime is how long a call may take in the suite: promises hold on a machine that has much else to do, too. Tests of their own are about the time of calls.
const callTime = 30 * time.Second

// remoteBackend is a hub behind a server on a loopback port.
func remoteBackend(t testing.TB, hub *rpw.Hub, flush func()) conformance.Backend {
	url := listen(t, hub, everything(Config{Limits: Limits{ConnectsPerIP: 1e6}}))
	return conformance.Backend{
		Connect: func() (rpw.Parts, error) {
			return New(t.Context(), url, Options{DialTimeout: callTime, Timeout: callTime})
		},
		Flush: flush,
	}
}

// dropAll drops all keys of a prefix in one step, so that the cases see a FLUSHALL of their own.
func dropAll(t testing.TB, client rueidis.Client, prefix string) {
	t.Helper()
	cmd := client.B().Eval().Script(dropScript).Numkeys(0).Arg(prefix).Build()
	require.NoError(t, client.Do(context.Background(), cmd).Error())
}

const dropScript = `
for _, pattern in ipairs({ARGV[1] .. ':*', '{' .. ARGV[1] .. ':*'}) do
  local cursor = '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do redis.call('UNLINK', key) end
  until cursor == '0'
end
return 1`
