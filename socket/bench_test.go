package socket

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// benchSize is a usual payload.
const benchSize = 128

// took reports the median of what was measured.
func took(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns")
}

// measure runs f b.N times.
func measure(b *testing.B, f func()) {
	times := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		f()
		times = append(times, time.Since(began))
	}
	took(b, times)
}

// BenchmarkEcho is what the WebSocket library takes for a message there and back: the floor for all below.
func BenchmarkEcho(b *testing.B) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			typ, message, err := c.Read(b.Context())
			if err != nil || c.Write(b.Context(), typ, message) != nil {
				return
			}
		}
	}))
	defer web.Close()
	c, _, err := websocket.Dial(b.Context(), web.URL, nil)
	require.NoError(b, err)
	defer c.CloseNow()
	message := make([]byte, benchSize)
	measure(b, func() {
		if c.Write(b.Context(), websocket.MessageBinary, message) != nil {
			b.Fatal()
		}
		if _, _, err := c.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
	})
}

func benchBatch() []rpw.Batch {
	return []rpw.Batch{{Stream: "bench", Events: []rpw.NewEvent{{Type: "t", Data: make([]byte, benchSize)}}, Keep: rpw.Retention{Events: 10_000}}}
}

// benchHubs opens a server over memory on a loopback port, and n clients.
func benchHubs(b *testing.B, n int) (clients []*rpw.Hub) {
	url := listen(b, memoryHub(b), everything(Config{Limits: Limits{Messages: 1e9}}))
	for range n {
		clients = append(clients, dialHub(b, url, Options{}))
	}
	return clients
}

// BenchmarkPublish is a publish and its answer.
func BenchmarkPublish(b *testing.B) {
	hub := benchHubs(b, 1)[0]
	batch := benchBatch()
	measure(b, func() {
		if _, err := hub.Streams().Publish(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkPublish64 is 64 publishes at a time, each to a stream of its own.
func BenchmarkPublish64(b *testing.B) {
	hub := benchHubs(b, 1)[0]
	var streams atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(max(1, 64/max(1, runtime.GOMAXPROCS(0))))
	b.RunParallel(func(pb *testing.PB) {
		batch := benchBatch()
		batch[0].Stream += strconv.FormatInt(streams.Add(1), 10)
		for pb.Next() {
			if _, err := hub.Streams().Publish(b.Context(), batch); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPublishToSubscriber is the way from a publisher's call to a subscriber's, over two connections.
func BenchmarkPublishToSubscriber(b *testing.B) {
	hubs := benchHubs(b, 2)
	bus := hubs[1].Streams()
	at, err := bus.Locate(b.Context(), "bench", rpw.Newest())
	require.NoError(b, err)
	arrived := make(chan time.Time, 1)
	go func() {
		for {
			events, err := bus.Read(b.Context(), rpw.ReadRequest{Stream: "bench", After: at, Wait: rpw.Forever})
			now := time.Now()
			if err != nil {
				return
			}
			if len(events) > 0 {
				at = events[len(events)-1].Position()
				arrived <- now
			}
		}
	}()
	batch := benchBatch()
	times := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		if _, err := hubs[0].Streams().Publish(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		times = append(times, (<-arrived).Sub(began))
	}
	took(b, times)
}

// BenchmarkFanOut is what the server publishes, until each of 100 clients has it; at most 4,096 events are under way.
func BenchmarkFanOut(b *testing.B) {
	hub := memoryHub(b)
	url := listen(b, hub, everything(Config{}))
	const clients = 100
	got := make(chan int, clients)
	for range clients {
		bus := dialHub(b, url, Options{}).Streams()
		at, err := bus.Locate(b.Context(), "bench", rpw.Newest())
		require.NoError(b, err)
		go func() {
			for {
				events, err := bus.Read(b.Context(), rpw.ReadRequest{Stream: "bench", After: at, Wait: rpw.Forever})
				if err != nil {
					return
				}
				if len(events) > 0 {
					at = events[len(events)-1].Position()
					got <- len(events)
				}
			}
		}()
	}
	batch := benchBatch()
	arrived := 0
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		_, err := hub.Streams().Publish(b.Context(), batch)
		require.NoError(b, err)
		for arrived < (n-4_096)*clients {
			arrived += <-got
		}
	}
	for arrived < b.N*clients {
		arrived += <-got
	}
	b.ReportMetric(float64(b.N*clients)/b.Elapsed().Seconds(), "deliveries/s")
}

// BenchmarkPackets is one-way: packets that many senders queue, until the peer has read them.
func BenchmarkPackets(b *testing.B) {
	total := make(chan int)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(maxAnswer)
		for {
			_, message, err := c.Read(b.Context())
			if err != nil {
				return
			}
			n := 0
			for len(message) > 0 {
				if _, message, err = nextPacket(message); err != nil {
					return
				}
				n++
			}
			total <- n
		}
	}))
	defer web.Close()
	c, _, err := websocket.Dial(b.Context(), web.URL, nil)
	require.NoError(b, err)
	w := newWriter(b.Context(), c, maxAnswer, clientQueue, 0)
	done := make(chan error, 1)
	go func() { done <- w.run() }()
	payload := make([]byte, benchSize)
	b.ReportAllocs()
	b.SetBytes(benchSize)
	b.ResetTimer()
	go func() {
		for range b.N {
			w.send(packetReply, 1, func(b []byte) []byte { return append(b, payload...) })
		}
	}()
	for n := 0; n < b.N; {
		n += <-total
	}
	b.StopTimer()
	c.CloseNow()
	w.urge(packetCancel, 0)
	<-done
}

// BenchmarkPage is a page of events on its way: written and read.
func BenchmarkPage(b *testing.B) {
	page := make([]rpw.Event, 256)
	for i := range page {
		page[i] = rpw.Event{ID: rpw.ID{MS: 1_800_000_000_000, Seq: uint64(i)}, Epoch: 1 << 63, Count: uint64(i), Type: "write", Data: make([]byte, benchSize)}
	}
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = opRead.answer.append(body[:0], &page)
		var got []rpw.Event
		if err := opRead.answer.parse(body, &got); err != nil || len(got) != len(page) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(page)), "ns/event")
}
