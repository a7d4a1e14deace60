package memory

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/redis-process-worker/rpw"
)

func BenchmarkPublish(b *testing.B) {
	payload := make([]byte, 128)
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			bus := New(Options{}).streams
			events := make([]rpw.NewEvent, n)
			for i := range events {
				events[i] = rpw.NewEvent{Type: "write", Data: payload}
			}
			batches := []rpw.Batch{{Stream: "s", Events: events, Keep: rpw.Retention{Events: 10_000}}}
			batches[0].Producer.ID = [16]byte{1}
			b.ReportAllocs()
			for b.Loop() {
				batches[0].Producer.Seq++
				if _, err := bus.Publish(b.Context(), batches); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}

func BenchmarkPublishParallel(b *testing.B) {
	bus := New(Options{}).streams
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		batches := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "write", Data: payload}}, Keep: rpw.Retention{Events: 10_000}}}
		for pb.Next() {
			if _, err := bus.Publish(b.Context(), batches); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReadTail publishes while readers follow: the time is that of an event that all of them got.
func BenchmarkReadTail(b *testing.B) {
	for _, readers := range []int{1, 10} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			bus := New(Options{}).Parts().Streams
			start, err := bus.Locate(b.Context(), "s", rpw.Newest())
			if err != nil {
				b.Fatal(err)
			}
			batches := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "write", Data: make([]byte, 128)}}}}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() {
					at := start
					for got := 0; got < b.N; {
						events, err := bus.Read(b.Context(), rpw.ReadRequest{Stream: "s", After: at, Wait: rpw.Forever})
						if err != nil {
							b.Error(err)
							return
						}
						got += len(events)
						at = events[len(events)-1].Position()
					}
				})
			}
			for range b.N {
				if _, err := bus.Publish(b.Context(), batches); err != nil {
					b.Fatal(err)
				}
			}
			wg.Wait()
		})
	}
}

func BenchmarkReadPage(b *testing.B) {
	bus := New(Options{}).streams
	for range 1000 {
		if _, err := bus.Publish(b.Context(), []rpw.Batch{{Stream: "s", Events: make([]rpw.NewEvent, 100)}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.Read(b.Context(), rpw.ReadRequest{Stream: "s"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFetchSettle(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("page=%d", n), func(b *testing.B) {
			bus := New(Options{}).streams
			if _, err := bus.EnsureGroup(b.Context(), rpw.GroupConfig{Stream: "s", Group: "g"}); err != nil {
				b.Fatal(err)
			}
			events := make([]rpw.NewEvent, n)
			for i := range events {
				events[i] = rpw.NewEvent{Type: "write", Data: make([]byte, 128)}
			}
			batches := []rpw.Batch{{Stream: "s", Events: events, Keep: rpw.Retention{Events: 10_000}}}
			settlements := make([]rpw.Settlement, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bus.Publish(b.Context(), batches); err != nil {
					b.Fatal(err)
				}
				deliveries, err := bus.Fetch(b.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: n})
				if err != nil || len(deliveries) != n {
					b.Fatal(len(deliveries), err)
				}
				for i, d := range deliveries {
					settlements[i] = rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Ack}
				}
				if _, err := bus.Settle(b.Context(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: settlements}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}

func benchmarkKeys() []string {
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = "key:" + strconv.Itoa(i)
	}
	return keys
}

func BenchmarkCacheGet(b *testing.B) {
	cache := New(Options{}).cache
	keys := benchmarkKeys()
	for _, key := range keys {
		if _, err := cache.Set(b.Context(), []rpw.CacheSet{{Key: key, Data: make([]byte, 128), TTL: rpw.MaxTTL}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			values, err := cache.Get(b.Context(), rpw.GetRequest{Keys: keys[i%len(keys) : i%len(keys)+1]})
			if err != nil || !values[0].Found {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCacheSet(b *testing.B) {
	cache := New(Options{}).cache
	keys := benchmarkKeys()
	data := make([]byte, 128)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		items := make([]rpw.CacheSet, 1)
		for i := 0; pb.Next(); i++ {
			items[0] = rpw.CacheSet{Key: keys[i%len(keys)], Data: data, TTL: rpw.MaxTTL}
			if _, err := cache.Set(b.Context(), items); err != nil {
				b.Fatal(err)
			}
		}
	})
}
