package redis

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// These benchmarks stand each verb beside the same work by bare commands of the client, on one server and in one run: only the
// ratio says something.

var eventPayload = bytes.Repeat([]byte("x"), 256)

// streamHub is a hub on a server of the benchmark's own.
func streamHub(b *testing.B) (*rpw.Hub, rueidis.Client) {
	server := redistest.Start(b)
	s := storeOn(b, server, "p")
	h, err := rpw.New(s.parts())
	require.NoError(b, err)
	return h, s.client
}

// callers runs do n times from this many goroutines.
func callers(b *testing.B, n int, do func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkPublish64(b *testing.B) {
	raw := func(b *testing.B, client rueidis.Client) {
		callers(b, 64, func() error {
			return client.Do(b.Context(), client.B().Xadd().Key("p:s:s").Id("*").FieldValue().FieldValue("t", stringOf(eventPayload)).Build()).Error()
		})
	}
	b.Run("raw/client=ours", func(b *testing.B) {
		_, client := streamHub(b)
		raw(b, client)
	})
	b.Run("raw/client=default", func(b *testing.B) {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redistest.Start(b).Addr}})
		require.NoError(b, err)
		defer client.Close()
		raw(b, client)
	})
	for _, subscribers := range []int{0, 1} {
		b.Run("rpw/subscribers="+strconv.Itoa(subscribers), func(b *testing.B) {
			h, _ := streamHub(b)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for range subscribers {
				at, err := h.Streams().Locate(ctx, "s", rpw.Newest())
				require.NoError(b, err)
				go tail(ctx, h, at, func([]rpw.Event) {})
			}
			callers(b, 64, func() error {
				return publishOne(ctx, h)
			})
		})
	}
}

func publishOne(ctx context.Context, h *rpw.Hub) error {
	answers, err := h.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Data: eventPayload}}}})
	if err != nil {
		return err
	}
	return answers[0].Err
}

// tail follows the stream until ctx ends.
func tail(ctx context.Context, h *rpw.Hub, at rpw.Position, got func([]rpw.Event)) {
	for {
		events, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: "s", After: at, Wait: rpw.Forever})
		if err != nil {
			return
		}
		if len(events) > 0 {
			got(events)
			at = events[len(events)-1].Position()
		}
	}
}

func BenchmarkPublishBatch100(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		_, client := streamHub(b)
		for range b.N {
			cmds := make(rueidis.Commands, 100)
			for i := range cmds {
				cmds[i] = client.B().Xadd().Key("p:s:s").Id("*").FieldValue().FieldValue("t", stringOf(eventPayload)).Build()
			}
			for _, r := range client.DoMulti(b.Context(), cmds...) {
				require.NoError(b, r.Error())
			}
		}
		b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("rpw", func(b *testing.B) {
		h, _ := streamHub(b)
		batch := rpw.Batch{Stream: "s", Events: slices.Repeat([]rpw.NewEvent{{Type: "t", Data: eventPayload}}, 100)}
		for range b.N {
			answers, err := h.Streams().Publish(b.Context(), []rpw.Batch{batch})
			require.NoError(b, err)
			require.NoError(b, answers[0].Err)
		}
		b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkGroup100 fetches and settles in batches of 100.
func BenchmarkGroup100(b *testing.B) {
	fill := func(b *testing.B, h *rpw.Hub) {
		batch := rpw.Batch{Stream: "s", Events: slices.Repeat([]rpw.NewEvent{{Type: "t", Data: eventPayload}}, 100)}
		for range b.N {
			answers, err := h.Streams().Publish(b.Context(), []rpw.Batch{batch})
			require.NoError(b, err)
			require.NoError(b, answers[0].Err)
		}
	}
	b.Run("raw", func(b *testing.B) {
		h, client := streamHub(b)
		fill(b, h)
		require.NoError(b, client.Do(b.Context(), client.B().XgroupCreate().Key("p:s:s").Group("g").Id("0").Build()).Error())
		b.ResetTimer()
		for range b.N {
			got, err := client.Do(b.Context(), client.B().Xreadgroup().Group("g", "c").Count(100).Streams().Key("p:s:s").Id(">").Build()).AsXRead()
			require.NoError(b, err)
			ids := make([]string, len(got["p:s:s"]))
			for i, e := range got["p:s:s"] {
				ids[i] = e.ID
			}
			require.NoError(b, client.Do(b.Context(), client.B().Xack().Key("p:s:s").Group("g").Id(ids...).Build()).Error())
		}
		b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("rpw", func(b *testing.B) {
		h, _ := streamHub(b)
		fill(b, h)
		_, err := h.Streams().EnsureGroup(b.Context(), rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest()})
		require.NoError(b, err)
		b.ResetTimer()
		for range b.N {
			ds, err := h.Streams().Fetch(b.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 100})
			require.NoError(b, err)
			require.Len(b, ds, 100)
			acks := make([]rpw.Settlement, len(ds))
			for i := range ds {
				acks[i] = rpw.Settlement{Receipt: ds[i].Receipt, Verdict: rpw.Ack}
			}
			_, err = h.Streams().Settle(b.Context(), rpw.SettleRequest{Stream: "s", Group: "g", Settlements: acks})
			require.NoError(b, err)
		}
		b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkWake is the time from before a publish until a waiting reader has the event, one at a time.
func BenchmarkWake(b *testing.B) {
	measure := func(b *testing.B, publish func(), arrived <-chan struct{}) {
		took := make([]time.Duration, 0, b.N)
		for range b.N {
			time.Sleep(200 * time.Microsecond) // the reader waits again
			began := time.Now()
			publish()
			<-arrived
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	}
	add := func(b *testing.B, client rueidis.Client) rueidis.Completed {
		return client.B().Xadd().Key("p:s:s").Id("*").FieldValue().FieldValue("t", stringOf(eventPayload)).Build()
	}
	for _, streams := range []int{1, 10_000} { // one connection waits for all of them, and has to name them each time
		b.Run("xread/streams="+strconv.Itoa(streams), func(b *testing.B) {
			_, client := streamHub(b)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			keys, ids := []string{"p:s:s"}, []string{"0"}
			for i := range streams - 1 {
				keys, ids = append(keys, "p:s:silent"+strconv.Itoa(i)), append(ids, "0")
			}
			arrived := make(chan struct{}, 1)
			go func() {
				for {
					got, err := client.Do(ctx, client.B().Xread().Count(10).Block(2000).Streams().Key(keys...).Id(ids...).Build()).AsXRead()
					if ctx.Err() != nil {
						return
					}
					if err == nil {
						entries := got["p:s:s"]
						ids[0] = entries[len(entries)-1].ID
						arrived <- struct{}{}
					}
				}
			}()
			measure(b, func() { require.NoError(b, client.Do(ctx, add(b, client)).Error()) }, arrived)
		})
	}
	for _, way := range []string{"hint", "payload"} { // what a message of pub/sub carries
		b.Run("pubsub/"+way, func(b *testing.B) {
			_, client := streamHub(b)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			subscribed, arrived := make(chan struct{}), make(chan struct{}, 1)
			var listening sync.WaitGroup
			defer listening.Wait()
			defer cancel()
			listening.Go(func() {
				last := "0"
				hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { close(subscribed) })
				client.Receive(hooked, client.B().Subscribe().Channel("wake").Build(), func(m rueidis.PubSubMessage) {
					if way == "payload" {
						arrived <- struct{}{}
						return
					}
					go func() { // which may not be done in this callback
						got, err := client.Do(ctx, client.B().Xread().Count(10).Streams().Key("p:s:s").Id(last).Build()).AsXRead()
						if err == nil {
							entries := got["p:s:s"]
							last = entries[len(entries)-1].ID
							arrived <- struct{}{}
						}
					}()
				})
			})
			<-subscribed
			carried := ""
			if way == "payload" {
				carried = stringOf(eventPayload)
			}
			measure(b, func() {
				for _, result := range client.DoMulti(ctx, add(b, client), client.B().Publish().Channel("wake").Message(carried).Build()) {
					require.NoError(b, result.Error())
				}
			}, arrived)
		})
	}
	for _, subscriptions := range []int{1, 10_000} {
		b.Run("rpw/subscriptions="+strconv.Itoa(subscriptions), func(b *testing.B) {
			h, _ := streamHub(b)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var silent sync.WaitGroup
			defer silent.Wait()
			defer cancel()
			for i := range subscriptions - 1 {
				silent.Go(func() {
					_, _ = h.Streams().Read(ctx, rpw.ReadRequest{Stream: "silent" + strconv.Itoa(i), Wait: rpw.Forever})
				})
			}
			at, err := h.Streams().Locate(ctx, "s", rpw.Newest())
			require.NoError(b, err)
			arrived := make(chan struct{}, 1)
			silent.Go(func() { tail(ctx, h, at, func([]rpw.Event) { arrived <- struct{}{} }) })
			for range 20 { // all are subscribed, and what they cost at first is over
				require.NoError(b, publishOne(ctx, h))
				<-arrived
			}
			b.ResetTimer()
			measure(b, func() { require.NoError(b, publishOne(ctx, h)) }, arrived)
		})
	}
}
