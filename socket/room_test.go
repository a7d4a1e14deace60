package socket

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestRoom: what is there is given in the order of asking, and who leaves takes nothing along.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &room{limit: 10}
		require.NoError(t, r.take(t.Context(), 8))
		assert.False(t, r.change(8, 11), "there is no more than 10")
		assert.True(t, r.change(8, 10))
		var order []int
		var mu sync.Mutex
		var asking sync.WaitGroup
		leaving, leave := context.WithCancelCause(t.Context())
		for i, n := range []int{6, 10, 3, 1} {
			ctx := t.Context()
			if n == 10 {
				ctx = leaving
			}
			asking.Go(func() {
				if r.take(ctx, n) == nil {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, i)
				}
			})
			synctest.Wait()
		}
		assert.False(t, r.change(0, 1), "others were first")
		assert.True(t, r.change(5, 5))
		r.leave(6)
		synctest.Wait()
		assert.Equal(t, []int{0}, order)
		leave(errGone)
		synctest.Wait()
		assert.Equal(t, []int{0}, order, "all is taken")
		r.leave(3)
		synctest.Wait()
		assert.Equal(t, []int{0, 2}, order)
		r.leave(1)
		asking.Wait()
		assert.Equal(t, []int{0, 2, 3}, order)
		assert.Equal(t, 10, r.of(11))
		for _, n := range []int{6, 3, 1} {
			r.leave(n)
		}
		assert.Zero(t, r.taken)
		assert.Equal(t, errGone, context.Cause(leaving))
	})
}

// slowCache is a cache whose calls take until they are let through. It counts those under way.
type slowCache struct {
	rpw.Cache
	through chan struct{}
	value   []byte
	mu      sync.Mutex
	keys    []int // of the gets so far
	sets    int
}

func (c *slowCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	c.mu.Lock()
	c.keys = append(c.keys, len(req.Keys))
	c.mu.Unlock()
	values := make([]rpw.Value, len(req.Keys))
	for i := range values {
		values[i] = rpw.Value{Data: c.value, Found: true, TTL: rpw.NoTTL}
	}
	return values, c.wait(ctx)
}

func (c *slowCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	c.mu.Lock()
	c.sets++
	c.mu.Unlock()
	return make([]error, len(items)), c.wait(ctx)
}

func (c *slowCache) wait(ctx context.Context) error {
	if c.through == nil {
		return nil
	}
	select {
	case <-c.through:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestRequestsWaitForRoom: while requests of so many bytes are under way, nothing more is read of their connection; what comes then is done, and lost is nothing (K4).
func TestRequestsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &slowCache{through: make(chan struct{})}
		d := directTo(t, &peer{hub: hubOver(t, rpw.Parts{Name: "slow", Cache: cache}), limits: Limits{Bytes: 1 << 20}})
		const n = 10
		for id := range uint64(n) { // of 400 KiB each, of which two fit
			d.ask(id+1, opSet, &[]rpw.CacheSet{{Key: "k", Data: make([]byte, 400<<10), TTL: rpw.NoTTL}})
		}
		synctest.Wait()
		assert.Equal(t, 2, cache.sets)
		for done := range n {
			cache.through <- struct{}{}
			assert.Equal(t, packetReply, d.next().kind)
			synctest.Wait()
			assert.Equal(t, min(n, done+3), cache.sets)
		}
	})
}

// TestARequestOfAnySizeIsDone: one that is larger than all the room there is, is done alone.
func TestARequestOfAnySizeIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &slowCache{value: make([]byte, 2000)}
		d := directTo(t, &peer{hub: hubOver(t, rpw.Parts{Name: "quick", Cache: cache}), limits: Limits{Bytes: 1000}})
		for id := uint64(1); id < 5; id += 2 {
			d.ask(id, opSet, &[]rpw.CacheSet{{Key: "k", Data: make([]byte, 2000), TTL: rpw.NoTTL}})
			assert.Equal(t, packetReply, d.next().kind)
			d.ask(id+1, opGet, &rpw.GetRequest{Keys: []string{"k"}})
			assert.Equal(t, packetReply, d.next().kind)
		}
	})
}

// TestCallsWaitForRoom: a call whose answer may be large begins when there is room for it, whether or not its client reads (K4).
func TestCallsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &slowCache{through: make(chan struct{})}
		p := &peer{hub: hubOver(t, rpw.Parts{Name: "slow", Cache: cache}), limits: Limits{Bytes: 4 << 20, Requests: 100}}
		d := directTo(t, p)
		ids := uint64(0)
		get := func(keys int) {
			ids++
			q := rpw.GetRequest{}
			for i := range keys {
				q.Keys = append(q.Keys, strconv.Itoa(i))
			}
			d.ask(ids, opGet, &q)
			synctest.Wait()
		}
		for range 6 {
			get(1)
		}
		assert.Equal(t, []int{1, 1, 1, 1}, cache.keys, "four of a MiB")
		get(3)
		cache.through <- struct{}{}
		assert.Equal(t, packetReply, d.next().kind)
		synctest.Wait()
		assert.Equal(t, []int{1, 1, 1, 1, 1}, cache.keys)
		d.send(packetCancel, 6, nil) // who leaves takes no place any more
		f := d.next()
		assert.Equal(t, packetFailure, f.kind)
		assert.EqualValues(t, 6, f.id)
		for range 3 {
			cache.through <- struct{}{}
			assert.Equal(t, packetReply, d.next().kind)
		}
		synctest.Wait()
		assert.Equal(t, []int{1, 1, 1, 1, 1, 3}, cache.keys)
		d.ask(99, opSet, &[]rpw.CacheSet{{Key: "k", TTL: rpw.NoTTL}})
		synctest.Wait()
		assert.Equal(t, 1, cache.sets, "what is answered in a few bytes does not wait")
	})
}

// TestLargeGetsAreMadeInParts: a get of a thousand large values, or of one a thousand times, holds no more than a connection could carry (K4).
func TestLargeGetsAreMadeInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &slowCache{value: make([]byte, rpw.MaxPayload)}
		d := directTo(t, &peer{hub: hubOver(t, rpw.Parts{Name: "large", Cache: cache})})
		same := make([]string, rpw.MaxBatch)
		for i := range same {
			same[i] = "k"
		}
		d.ask(1, opGet, &rpw.GetRequest{Keys: same})
		assert.Equal(t, "too_large", d.failure(1))
		assert.Equal(t, []int{64, 64}, cache.keys)

		cache.value, cache.keys = []byte("small"), nil
		d.ask(2, opGet, &rpw.GetRequest{Keys: same[:200]})
		var values []rpw.Value
		require.NoError(t, opGet.answer.parse(d.next().body, &values))
		assert.Len(t, values, 200)
		assert.Equal(t, []int{64, 64, 64, 8}, cache.keys)

		d.ask(3, opGet, &rpw.GetRequest{Keys: append(same, "k")})
		assert.Equal(t, "too_large", d.failure(3), "the Hub's own bound")
	})
}

// copies is a StreamBus that answers with memory of its own, as one over a network does.
type copies struct {
	rpw.StreamBus
	reads atomic.Int64
}

func (c *copies) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	events, err := c.StreamBus.Read(ctx, req)
	for i := range events {
		events[i].Data = append([]byte(nil), events[i].Data...)
	}
	c.reads.Add(1)
	return events, err
}

// TestWhatWaitedIsLetGo: a thousand waits that end together hold no more than the room there is, and each gets its answer when its client reads (K4).
func TestWhatWaitedIsLetGo(t *testing.T) { // not parallel: it measures
	memory := &copies{StreamBus: memoryHub(t).Streams()}
	hub := hubOver(t, rpw.Parts{Name: "copies", Streams: memory})
	s := serveSite(t, hub, Config{AllowAnonymous: true, Limits: Limits{Bytes: 1 << 20, WriteTime: time.Minute}})
	c := s.connect(nil)
	const waits, size = 1000, 100 << 10 // less than a frame may hold
	ctx := within(t)
	from, err := memory.Locate(ctx, "s", rpw.Newest())
	require.NoError(t, err)
	for id := range uint64(waits) {
		c.Write(rawFrame(fin|opBinary, rawRequest(id+1, opRead, rpw.ReadRequest{Stream: "s", After: from, Wait: rpw.Forever})))
	}
	s.eventually(func(now Stats) bool { return now.Waits == waits })
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	_, err = memory.Publish(ctx, []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "x", Data: make([]byte, size)}}}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return memory.reads.Load() >= waits && int64(held()-before) < 30<<20 }, soon, 10*time.Millisecond)
	answered := map[uint64]bool{}
	for len(answered) < waits {
		for _, p := range c.packets(t) {
			if p.kind == packetReply {
				answered[p.id] = true
			}
		}
	}
	s.eventually(func(now Stats) bool { return now.Waits == 0 })
}

// fetches asks for the events of groups of a stream, for a client that reads nothing yet; lane says how.
func fetches(t *testing.T, hub *rpw.Hub, near conn, groups int, lane func(i int) rpw.Lane) {
	for i := range groups {
		group := fmt.Sprint("g", i)
		_, err := hub.Streams().EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: group})
		require.NoError(t, err)
		message := appendPacket(nil, packetRequest, uint64(i+1), func(b []byte) []byte {
			return opFetch.request.append(append(b, byte(opFetch.number)),
				&rpw.FetchRequest{Stream: "s", Group: group, Consumer: "gone", Wait: rpw.Forever, Lease: time.Hour, Lane: lane(i)})
		})
		require.NoError(t, near.Write(t.Context(), websocket.MessageBinary, message))
		synctest.Wait()
	}
}

// TestFetchesWaitForRoom: what fetches lease for whom there is no room comes to him later, at no cost, or is handed back when he goes (K4, G1).
func TestFetchesWaitForRoom(t *testing.T) {
	const groups = 20
	for what, lane := range map[string]func(int) rpw.Lane{
		"remembered": func(i int) rpw.Lane { return rpw.Lane{ID: [16]byte{byte(i + 1)}, Seq: 1} },
		"forgotten":  func(int) rpw.Lane { return rpw.Lane{} },
	} {
		for _, stays := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/stays=%t", what, stays), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hub := memoryHub(t)
					near, far := newPipe()
					open := make(chan struct{})
					done := make(chan error, 1)
					go func() {
						done <- serveNative(t.Context(), shut{far, open}, &peer{hub: hub, limits: Limits{Bytes: 3 << 20, Queue: 1}})
					}()
					fetches(t, hub, near, groups, lane)
					_, err := hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "x", Data: make([]byte, rpw.MaxPayload-1)}}}})
					require.NoError(t, err)
					synctest.Wait()
					if stays {
						close(open)
						for got := 0; got < groups; {
							_, message, err := near.Read(t.Context())
							require.NoError(t, err)
							for len(message) > 0 {
								var p packet
								p, message, err = nextPacket(message)
								require.NoError(t, err)
								if p.kind == packetReply {
									var deliveries []rpw.Delivery
									require.NoError(t, opFetch.answer.parse(p.body, &deliveries))
									require.Equal(t, 1, len(deliveries))
									assert.Equal(t, 1, deliveries[0].Attempt)
									got++
								}
							}
						}
					}
					synctest.Wait()
					near.CloseNow()
					require.Error(t, <-done)
					for i := range groups {
						fetched, err := hub.Streams().Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: fmt.Sprint("g", i), Consumer: "other"})
						require.NoError(t, err)
						if stays {
							assert.Zero(t, len(fetched), "the client has it")
						} else if assert.Equal(t, 1, len(fetched), "group %d", i) {
							assert.Equal(t, 1, fetched[0].Attempt)
						}
					}
				})
			})
		}
	}
}

// shut is a connection that takes nothing until it is open.
type shut struct {
	conn
	open chan struct{}
}

func (c shut) Write(ctx context.Context, typ websocket.MessageType, b []byte) error {
	select {
	case <-c.open:
		return c.conn.Write(ctx, typ, b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestASmallRequestKeepsNoLargeMessage: what came beside a large request, and lasts longer, keeps its own bytes alone (K4).
func TestASmallRequestKeepsNoLargeMessage(t *testing.T) { // not parallel: it measures
	cache := &slowCache{through: make(chan struct{})}
	s := serveSite(t, hubOver(t, rpw.Parts{Name: "slow", Cache: cache}), Config{AllowAnonymous: true})
	c := s.connect(nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 30
	for id := range uint64(n) { // a message with a packet of 1 MiB that is done at once, and one that takes its time
		message := appendPacket(nil, packetCancel, 999, func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) })
		message = append(message, rawRequest(id+1, opSet, []rpw.CacheSet{{Key: "k", Data: []byte("small"), TTL: rpw.NoTTL}})...)
		c.Write(rawFrame(fin|opBinary, message))
	}
	s.eventually(func(now Stats) bool { return now.Requests == n })
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc-before.HeapAlloc)>>20, int64(n/3), "MiB")
	close(cache.through)
	s.eventually(func(now Stats) bool { return now.Requests == 0 })
}
