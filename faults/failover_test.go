//go:build faults

package faults

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestFailover: F20, F5, S2, S5: the master that Sentinels watch is killed, or frozen and later continued, under publishers and subscribers, with
// each write acknowledged by a replica. All goes on with the new master, and nothing that was acknowledged is lost: who has
// read more than that learns of another history. The Sentinels need their own time to agree; from then on it is short, also for what is on its way to
// a master that says nothing.
func TestFailover(t *testing.T) {
	for name, leave := range map[string]func(*redistest.Server){"killed": (*redistest.Server).Kill, "frozen": (*redistest.Server).Freeze} {
		t.Run(name, func(t *testing.T) {
			const subscribers = 5
			servers := redistest.StartReplicated(t, 2, 3)
			hub := open(t, "redis+sentinel://"+strings.Join(servers.SentinelAddrs(), ",")+"/mymaster?durability=replicated")
			stream := rpw.StreamOf[int]("numbers")
			p := &publisher{hub: hub, stream: stream}
			ctx, end := context.WithCancel(t.Context())
			defer end()
			stop := make(chan struct{})
			var load, following sync.WaitGroup
			var followers []*follower
			var resets atomic.Int64
			for range subscribers {
				var f *follower
				f = follow(t, hub, stream, rpw.OnGap(func(gap *rpw.GapError) (rpw.Position, error) {
					if gap.Kind != rpw.GapReset {
						return rpw.GapStop(gap)
					}
					resets.Add(1) // it had read what was not acknowledged yet, and the new master does not have
					f.next.Store(0)
					return gap.Oldest, nil
				}))
				followers = append(followers, f)
				following.Go(func() { f.run(ctx) })
			}
			load.Go(func() { p.run(ctx, t, stop, 5*time.Millisecond) })
			have := func(n int64) func() bool {
				return func() bool {
					for _, f := range followers {
						if f.next.Load() < n {
							return false
						}
					}
					return true
				}
			}
			within(t, time.Now(), "the load runs", have(50))
			masterAt := servers.Sentinels[0].CLI(t, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
			leave(servers.Master)
			left := time.Now()
			before := p.stored.Load()
			named := within(t, left, "the Sentinels name another master", func() bool {
				for _, s := range servers.Sentinels {
					if s.CLI(t, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == masterAt {
						return false
					}
				}
				return true
			})
			note(t, "the Sentinels name another master after", named)
			took := within(t, left, "all goes on", have(before+20))
			atMost(t, "all goes on with another master after", took, max(redistest.DownAfter+recovery, named+2*time.Second)) // a pause between tries takes up to a second
			servers.Master.Thaw()                                                                                            // as far as it knows it is the master still
			time.Sleep(2 * time.Second)                                                                                      // until it is told
			close(stop)
			load.Wait()
			within(t, time.Now(), "all have everything", have(p.stored.Load()))
			end()
			following.Wait()
			for _, f := range followers {
				assert.Empty(t, f.wrong)
			}
			assert.Len(t, all(t, hub, stream), int(p.stored.Load()), "nothing acknowledged is lost, nothing is there twice")
			note(t, "events; calls that failed and were repeated", [2]int64{p.stored.Load(), p.failed.Load()})
			note(t, "subscribers that were ahead of the new master, and told so", resets.Load())
		})
	}
}

// TestReplicaIsBehind: F20, F18, S5: with writes that are acknowledged by the master alone, a replica that is behind becomes the master. Those who have
// read what it does not have learn of it before the next event.
func TestReplicaIsBehind(t *testing.T) {
	master, replica := redistest.Start(t), redistest.Start(t)
	link := redistest.NewProxy(t, master.Addr) // between them
	way := redistest.NewProxy(t, master.Addr)  // the address that clients know
	host, port, _ := strings.Cut(link.Addr, ":")
	replica.CLI(t, "REPLICAOF", host, port)
	hub := open(t, "redis://"+way.Addr)
	stream := rpw.StreamOf[int]("numbers")
	publishNumbers(t, hub, stream, 0, 10)
	within(t, time.Now(), "the replica has all", func() bool {
		info := replica.CLI(t, "INFO", "replication")
		return strings.Contains(info, "master_link_status:up") && replica.CLI(t, "EXISTS", streamKey(t, master, "numbers")) == "1"
	})
	within(t, time.Now(), "the replica has all of the stream", func() bool {
		return replica.CLI(t, "XLEN", streamKey(t, master, "numbers")) == master.CLI(t, "XLEN", streamKey(t, master, "numbers"))
	})
	var gaps []*rpw.GapError
	sub, err := stream.Subscribe(t.Context(), hub, rpw.Oldest(), rpw.OnGap(func(gap *rpw.GapError) (rpw.Position, error) {
		gaps = append(gaps, gap)
		return gap.Resume, nil
	}))
	require.NoError(t, err)
	next := func() int {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		m, err := sub.Next(ctx)
		require.NoError(t, err)
		return m.Data
	}
	link.Blackhole(true)
	publishNumbers(t, hub, stream, 10, 20)
	for n := range 20 {
		require.Equal(t, n, next())
	}
	master.Kill()
	replica.CLI(t, "REPLICAOF", "NO", "ONE")
	way.Lead(replica.Addr)
	publishNumbers(t, hub, stream, 20, 21)
	first := next()
	require.Len(t, gaps, 1, "before the next event")
	assert.Equal(t, rpw.GapReset, gaps[0].Kind)
	events := []int{first}
	for len(events) < 11 {
		events = append(events, next())
	}
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20}, events, "the history of the new master")
}
