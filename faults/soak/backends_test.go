package soak

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
	"github.com/redis-process-worker/rpw/internal/history/load"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/socket"
)

// backend is a store with what can go wrong with it, for the length of a segment.
type backend struct {
	url     string
	faults  []load.Fault
	adapt   func(*load.Config)
	stop    func()              // ends what is not of the load; nil: nothing is
	servers []*redistest.Server // to which no connection may be left
}

// kinds are the backends, by name. Each is started with how long a fault lasts at most.
var kinds = map[string]func(t testing.TB, most time.Duration) *backend{
	"standalone": standalone,
	"flushed":    flushed,
	"restored":   restored,
	"sentinel":   sentinel,
	"cluster":    cluster,
	"socket":     webSocket,
}

// durable are the arguments of the servers. What a script of others holds up is told after 50 ms.
func durable(more ...string) []string {
	return append(append(redistest.Durable(), "--busy-reply-threshold", "50"), more...)
}

// the returns always the same server.
func the(s *redistest.Server) func(*rand.Rand) *redistest.Server {
	return func(*rand.Rand) *redistest.Server { return s }
}

// standalone is a server that keeps what it acknowledged, behind a proxy.
func standalone(t testing.TB, most time.Duration) *backend {
	s := redistest.Start(t, durable(append([]string{"--user"}, soakUser...)...)...)
	p := redistest.NewProxy(t, s.Addr)
	b := &backend{url: "redis://soak:secret@" + p.Addr, servers: []*redistest.Server{s}}
	b.add(serverFaults(t, most, the(s), func() {}), linkFaults(t, most, the(s)), proxyFaults(p, "link", most),
		[]load.Fault{userRemoved(t, most, s), demoted(t, most, s), crowded(t, most, s)})
	return b
}

// flushed is the same, and it loses all its data now and then.
func flushed(t testing.TB, most time.Duration) *backend {
	b := standalone(t, most)
	s := b.servers[0]
	flush := load.Fault{Kind: "all data dropped", Loses: history.OpReset, Do: func(*rand.Rand) { s.CLI(t, "FLUSHALL") }}
	b.add([]load.Fault{flush, flush, flush, flush})
	b.adapt = func(c *load.Config) { c.Resets = true }
	return b
}

// restored is the same, and an older copy of all its data is put in place now and then. A cache value that comes back then is no value of its
// history, so the cache is left out.
func restored(t testing.TB, most time.Duration) *backend {
	b := standalone(t, most)
	s := b.servers[0]
	data, copied := filepath.Join(s.Dir, "appendonlydir"), filepath.Join(t.TempDir(), "copy")
	restore := load.Fault{Kind: history.Restored, Loses: history.OpReset, Do: func(r *rand.Rand) {
		s.Kill()
		require.NoError(t, os.RemoveAll(copied))
		require.NoError(t, os.CopyFS(copied, os.DirFS(data)))
		s.Restart(t)
		s.AwaitLoaded(t)
		away(r, most)
		s.Kill()
		require.NoError(t, os.RemoveAll(data))
		require.NoError(t, os.CopyFS(data, os.DirFS(copied)))
		s.Restart(t)
		s.AwaitLoaded(t)
	}}
	b.add([]load.Fault{restore, restore, restore})
	b.adapt = func(c *load.Config) { c.Resets, c.NoCache = true, true }
	return b
}

// sentinel is a master with two replicas and three Sentinels. A write is acknowledged when both replicas have it, so that whichever is
// made master has it. Reads are not: what somebody reads may be gone after a failover. Nothing is promised of the order in which cache values
// are read then, so the cache is left out.
func sentinel(t testing.TB, most time.Duration) *backend {
	r := redistest.StartReplicated(t, 2, 3)
	for _, s := range r.Sentinels {
		s.CLI(t, "SENTINEL", "SET", "mymaster", "failover-timeout", "3000") // how long until another is tried
	}
	for _, s := range r.Servers() {
		s.CLI(t, "CONFIG", "SET", "busy-reply-threshold", "50")
	}
	b := &backend{url: "redis+sentinel://" + strings.Join(r.SentinelAddrs(), ",") + "/mymaster?durability=replicated&replicas=2", servers: r.Servers()}
	b.adapt = func(c *load.Config) { c.NoCache, c.Between = true, c.Between/6 } // a failover takes longer than other faults
	master := func(*rand.Rand) *redistest.Server { return r.AwaitNamed(t) }
	replica := func(random *rand.Rand) *redistest.Server {
		for {
			if s := b.servers[random.IntN(len(b.servers))]; s != master(random) {
				return s
			}
		}
	}
	settled := func() { r.AwaitReplicas(t) }
	leave := func(kind string, leave func(*redistest.Server), back func(*redistest.Server)) load.Fault {
		return load.Fault{Kind: kind, Loses: history.OpFailover, Do: func(random *rand.Rand) {
			old := master(random)
			leave(old)
			r.AwaitMaster(t, old)
			away(random, most/3)
			back(old)
			settled()
		}}
	}
	b.add([]load.Fault{
		leave("master killed", (*redistest.Server).Kill, func(s *redistest.Server) { s.Restart(t) }),
		leave("master frozen", (*redistest.Server).Freeze, (*redistest.Server).Thaw),
		leave("failover asked for", func(*redistest.Server) { r.Failover(t) }, func(*redistest.Server) {}),
		{Kind: "replica killed", Do: func(random *rand.Rand) {
			s := replica(random)
			s.Kill()
			away(random, most)
			s.Restart(t)
			settled()
		}},
		{Kind: "replica frozen", Do: func(random *rand.Rand) {
			s := replica(random)
			s.Freeze()
			away(random, most)
			s.Thaw()
			settled()
		}},
		{Kind: "Sentinel killed", Do: func(random *rand.Rand) {
			s := r.Sentinels[random.IntN(len(r.Sentinels))]
			s.Kill()
			away(random, most)
			s.Restart(t)
			settled()
		}},
	}, linkFaults(t, most, master), linkFaults(t, most, master), linkFaults(t, most, master))
	return b
}

// cluster is a cluster of three that keep what they acknowledged, whose slots move.
func cluster(t testing.TB, most time.Duration) *backend {
	c := redistest.StartCluster(t, 3, durable()...)
	b := &backend{url: "redis+cluster://" + strings.Join(c.Addrs(), ","), servers: c.Nodes}
	node := func(r *rand.Rand) *redistest.Server { return c.Nodes[r.IntN(len(c.Nodes))] }
	tags := []string{"rpw:s:bulk", "rpw:s:s1", "rpw:s:s2", "{rpw:a:q1}:x", "{rpw:a:q2}:x", "{rpw:a}:x", "{rpw:w}:x"}
	move := load.Fault{Kind: "slot moved", Do: func(r *rand.Rand) {
		tag := tags[r.IntN(len(tags))]
		owner := c.Owner(t, tag)
		to := owner
		for to == owner {
			to = node(r)
		}
		slow := time.Now().Add(upTo(r, most/2))
		c.Move(t, tag, to, func() {
			if time.Now().Before(slow) {
				time.Sleep(10 * time.Millisecond)
			}
		})
	}}
	b.add(serverFaults(t, most, node, func() { c.Await(t) }), linkFaults(t, most, node), []load.Fault{move, move, move, move})
	return b
}

// webSocket is two socket servers behind a load balancer, over one server that keeps what it acknowledged.
func webSocket(t testing.TB, most time.Duration) *backend {
	s := redistest.Start(t, durable()...)
	link := redistest.NewProxy(t, s.Addr)
	fronts := [2]*front{startFront(t, "redis://"+link.Addr), startFront(t, "redis://"+link.Addr)}
	balancer := redistest.NewProxy(t, fronts[0].addr())
	b := &backend{url: "ws://" + balancer.Addr, servers: []*redistest.Server{s}}
	b.adapt = func(c *load.Config) { c.Bounds.HandsBack = pingEvery + pongTime + time.Second }
	b.stop = func() {
		for _, f := range fronts {
			f.stop(t, false)
		}
	}
	restart := func(kind string, graceful bool) load.Fault {
		return load.Fault{Kind: kind, Do: func(r *rand.Rand) {
			i := r.IntN(len(fronts))
			balancer.Lead(fronts[1-i].addr())
			fronts[i].stop(t, graceful)
			away(r, most)
			fronts[i] = startFront(t, "redis://"+link.Addr)
			balancer.Lead(fronts[i].addr())
		}}
	}
	b.add(serverFaults(t, most, the(s), func() {}), linkFaults(t, most, the(s)), proxyFaults(link, "link to Redis", most),
		proxyFaults(balancer, "socket", most), []load.Fault{restart("socket server shut down", true), restart("socket server closed", false),
			restart("socket server shut down", true), restart("socket server closed", false)})
	return b
}

// How soon a socket server notices that a client has left without a word.
const pingEvery, pongTime = time.Second, 2 * time.Second

// front is a socket server with a Hub of its own.
type front struct {
	hub    *rpw.Hub
	server *socket.Server
	web    *httptest.Server
	over   sync.Once
}

func startFront(t testing.TB, url string) *front {
	hub, err := rpw.Open(context.Background(), url)
	require.NoError(t, err)
	all := func(context.Context, socket.Identity, socket.Access) error { return nil }
	server, err := socket.NewServer(hub, socket.Config{AllowAnonymous: true, Authorize: all, Logger: slog.New(slog.DiscardHandler),
		Limits: socket.Limits{PingEvery: pingEvery, PongTime: pongTime}})
	require.NoError(t, err)
	return &front{hub: hub, server: server, web: httptest.NewServer(server)}
}

func (f *front) addr() string { return f.web.Listener.Addr().String() }

func (f *front) stop(t testing.TB, graceful bool) {
	f.over.Do(func() {
		if graceful {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			_ = f.server.Shutdown(ctx) // what has not left by then is dropped
		}
		assert.NoError(t, f.server.Close())
		f.web.Close()
		_ = f.hub.Close() // which may have something to say that the server does not take
	})
}

func (b *backend) add(faults ...[]load.Fault) {
	for _, some := range faults {
		b.faults = append(b.faults, some...)
	}
}
