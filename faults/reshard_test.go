//go:build faults

package faults

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/workers"
)

// TestReshard moves slots between the nodes of a cluster, key by key, while their streams and queues are in use.
// F22, F5, E4.
func TestReshard(t *testing.T) {
	const objects, rounds = 3, 3 // streams, and queues
	nodes := redistest.StartCluster(t, 3)
	hub := open(t, "redis+cluster://"+nodes.Nodes[0].Addr)
	ctx, end := context.WithCancel(t.Context())
	stop := make(chan struct{})
	var load, all sync.WaitGroup
	defer func() { end(); load.Wait(); all.Wait() }()
	var publishers []*publisher
	var followers []*follower
	var members []*member
	var ran []*worker
	var tags []string // one of the keys in each slot that moves
	for i := range objects {
		p := &publisher{hub: hub, stream: stream(i)}
		f, m := follow(t, hub, p.stream), new(member)
		w := &worker{queue: "queue" + strconv.Itoa(i), long: make(chan struct{})}
		w.def = actions.Define[int, int]("work", actions.Queue(w.queue))
		run := workers.New(hub, workers.Config{Name: w.queue, Concurrency: 2, Grace: time.Second})
		require.NoError(t, workers.Handle(run, w.def, w.handle))
		publishers, followers, members, ran = append(publishers, p), append(followers, f), append(members, m), append(ran, w)
		tags = append(tags, "rpw:s:"+p.stream.Name(), "{rpw:a:"+w.queue+"}:x")
		load.Go(func() { p.run(ctx, t, stop, 5*time.Millisecond) })
		load.Go(func() { w.enqueue(ctx, t, hub, stop) })
		all.Go(func() { f.run(ctx) })
		all.Go(func() { w.err = run.Run(ctx) })
		all.Go(func() {
			m.err = p.stream.Consume(ctx, hub, rpw.Consumer{Group: "group", From: rpw.Oldest(), Concurrency: 4, Grace: time.Second}, m.handle)
		})
	}
	tags = append(tags, "{rpw:a}:x", "{rpw:w}:x") // the registries
	// goesOn tells when everybody has got more than there was at the call.
	goesOn := func() func() bool {
		var events, started [objects]int64
		for i := range objects {
			events[i], started[i] = publishers[i].stored.Load()+5, ran[i].started.Load()+5
		}
		return func() bool {
			for i := range objects {
				if followers[i].next.Load() < events[i] || members[i].lost(events[i]) > 0 || ran[i].lost(started[i]) > 0 {
					return false
				}
			}
			return true
		}
	}
	within(t, time.Now(), "the load runs", goesOn())

	var slowest time.Duration
	for range rounds {
		for _, tag := range tags {
			began := time.Now()
			owner := nodes.Owner(t, tag)
			for i, node := range nodes.Nodes {
				if node == owner {
					looks := 0
					nodes.Move(t, tag, nodes.Nodes[(i+1)%len(nodes.Nodes)], func() {
						if looks++; looks <= 20 { // later there are only more keys of the same kind
							time.Sleep(20 * time.Millisecond)
						}
					})
					break
				}
			}
			slowest = max(slowest, time.Since(began))
		}
	}
	moved := time.Now()
	note(t, "slots moved", rounds*len(tags))
	note(t, "the slowest move of a slot", slowest)
	atMost(t, "everybody works again after", within(t, moved, "the load goes on", goesOn()), recovery)

	close(stop)
	load.Wait()
	stored, started, wrong, lost, again, failed := int64(0), int64(0), 0, 0, 0, int64(0)
	var stall time.Duration
	for i, p := range publishers {
		within(t, time.Now(), "everybody has everything", func() bool {
			return followers[i].next.Load() >= p.stored.Load() && members[i].lost(p.stored.Load()) == 0 && ran[i].lost(ran[i].started.Load()) == 0
		})
		stall = max(stall, time.Duration(p.stall.Load()))
		stored, started, failed = stored+p.stored.Load(), started+ran[i].started.Load(), failed+p.failed.Load()
	}
	end()
	all.Wait()
	for i := range objects {
		if len(followers[i].wrong) > 0 {
			t.Errorf("a subscriber: %v", followers[i].wrong)
		}
		wrong += len(followers[i].wrong)
		lost += members[i].lost(publishers[i].stored.Load()) + ran[i].lost(ran[i].started.Load())
		again += members[i].again() + ran[i].again()
		assert.NoError(t, members[i].err)
		assert.NoError(t, ran[i].err)
	}
	note(t, "events published, actions run", strconv.FormatInt(stored, 10)+", "+strconv.FormatInt(started, 10))
	atMost(t, "the longest time to publish an event", stall, slowest+recovery)
	note(t, "publishes that failed and were repeated", failed)
	atMost(t, "subscribers: events lost, doubled or out of order", wrong, 0)
	atMost(t, "group members and workers: lost", lost, 0)
	note(t, "group members and workers: again", again)
}
