package rpw_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// The benchmarks go through the Hub with the memory driver: what a user pays.

var payload = make([]byte, 256)

func benchHub(b *testing.B) *rpw.Hub {
	hub, err := rpw.New(memory.New(memory.Options{}).Parts())
	check(b, err)
	b.Cleanup(func() { hub.Close() })
	return hub
}

func check(b *testing.B, errs ...error) {
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
}

// oneBatch is a batch of n events for the stream "s", which keeps 10,000.
func oneBatch(n int) []rpw.Batch {
	events := make([]rpw.NewEvent, n)
	for i := range events {
		events[i] = rpw.NewEvent{Type: "t", Data: payload}
	}
	return []rpw.Batch{{Stream: "s", Events: events, Keep: rpw.Retention{Events: 10_000}}}
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run("batch="+strconv.Itoa(n), func(b *testing.B) {
			bus, batch := benchHub(b).Streams(), oneBatch(n)
			b.ReportAllocs()
			for b.Loop() {
				_, err := bus.Publish(b.Context(), batch)
				check(b, err)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("parallel", func(b *testing.B) {
		bus := benchHub(b).Streams()
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			batch := oneBatch(1)
			for pb.Next() {
				if _, err := bus.Publish(context.Background(), batch); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkSubscribe measures deliveries: one publisher, each subscriber gets every event.
func BenchmarkSubscribe(b *testing.B) {
	stream := rpw.StreamOf[json.RawMessage]("s", rpw.Keep(rpw.Retention{Events: rpw.Unlimited, Age: 0}))
	for _, subscribers := range []int{1, 10} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			hub := benchHub(b)
			batch := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Data: []byte(`{"n":1}`)}}, Keep: rpw.Retention{Events: rpw.Unlimited}}}
			n := max(b.N, 1)
			var readers sync.WaitGroup
			for range subscribers {
				sub, err := stream.Subscribe(b.Context(), hub, rpw.Newest())
				check(b, err)
				readers.Go(func() {
					for range n {
						if _, err := sub.Next(context.Background()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range n {
				_, err := hub.Streams().Publish(b.Context(), batch)
				check(b, err)
			}
			readers.Wait()
			b.ReportMetric(float64(n*subscribers)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

func BenchmarkFetchSettle(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run("batch="+strconv.Itoa(n), func(b *testing.B) {
			bus, batch := benchHub(b).Streams(), oneBatch(n)
			_, err := bus.EnsureGroup(b.Context(), rpw.GroupConfig{Stream: "s", Group: "g"})
			check(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_, err := bus.Publish(b.Context(), batch)
				check(b, err)
				deliveries, err := bus.Fetch(b.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: n})
				check(b, err)
				settle := rpw.SettleRequest{Stream: "s", Group: "g", Settlements: make([]rpw.Settlement, len(deliveries))}
				for i, d := range deliveries {
					settle.Settlements[i] = rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Ack}
				}
				errs, err := bus.Settle(b.Context(), settle)
				check(b, append(errs, err)...)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkAction(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run("batch="+strconv.Itoa(n), func(b *testing.B) {
			store := benchHub(b).Actions()
			id := 0
			b.ReportAllocs()
			for b.Loop() {
				specs := make([]rpw.ActionSpec, n)
				for i := range specs {
					id++
					specs[i] = rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: strconv.Itoa(id)}, Name: "noop", Arg: json.RawMessage(`{"n":1}`),
						Keep: rpw.KeepActions{Completed: 1}}
				}
				_, err := store.Enqueue(b.Context(), specs)
				check(b, err)
				claimed, err := store.Claim(b.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Max: n})
				check(b, err)
				moves := make([]rpw.Move, len(claimed))
				for i, c := range claimed {
					moves[i] = rpw.Move{Lease: c.Lease, Kind: rpw.Complete, Output: json.RawMessage(`{"ok":true}`)}
				}
				answers, err := store.Advance(b.Context(), rpw.AdvanceRequest{Moves: moves})
				check(b, err, answers[len(answers)-1].Err)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "actions/s")
		})
	}
}

func BenchmarkCacheGet(b *testing.B) {
	cache := benchHub(b).Cache()
	_, err := cache.Set(b.Context(), []rpw.CacheSet{{Key: "k", Data: payload, TTL: rpw.NoTTL}})
	check(b, err)
	keys := []string{"k"}
	b.ReportAllocs()
	for b.Loop() {
		_, err := cache.Get(b.Context(), rpw.GetRequest{Keys: keys})
		check(b, err)
	}
}

func BenchmarkCacheSet(b *testing.B) {
	cache := benchHub(b).Cache()
	items := []rpw.CacheSet{{Key: "k", Data: payload, TTL: rpw.NoTTL}}
	b.ReportAllocs()
	for b.Loop() {
		_, err := cache.Set(b.Context(), items)
		check(b, err)
	}
}

// BenchmarkWriteLogs writes batches as the log handler does.
func BenchmarkWriteLogs(b *testing.B) {
	log := benchHub(b).Logs()
	records := make([]rpw.LogRecord, 256)
	for i := range records {
		records[i] = rpw.LogRecord{ID: "0199c2f0-0000-7000-8000-000000000000", Time: time.Now(), Message: "request served", Source: "bench",
			Attrs: json.RawMessage(`{"path":"/api/v1/items","status":200,"took":1234000,"cached":true,"err":"connection reset by peer"}`)}
	}
	b.ReportAllocs()
	for b.Loop() {
		check(b, log.Write(b.Context(), rpw.WriteLogs{Records: records, Keep: rpw.Retention{Events: 10_000}}))
	}
	b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
}
