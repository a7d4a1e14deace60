package redis

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// BenchmarkCache64 is a get and a set by 64 callers at a time, beside the bare commands.
func BenchmarkCache64(b *testing.B) {
	s := testStore(b)
	cache := benchHub(b, s).Cache()
	set := []rpw.CacheSet{{Key: "k", Data: benchPayload, TTL: time.Hour}}
	setRaw := func() error {
		return s.client.Do(b.Context(), s.client.B().Set().Key("k").Value(stringOf(benchPayload)).Ex(time.Hour).Build()).Error()
	}
	setOurs := func() error {
		_, err := cache.Set(b.Context(), set)
		return err
	}
	require.NoError(b, errors.Join(setRaw(), setOurs()))
	for _, each := range []struct {
		name string
		do   func() error
	}{
		{"get/raw", func() error { return s.client.Do(b.Context(), s.client.B().Get().Key("k").Build()).Error() }},
		{"get/rpw", func() error {
			_, err := cache.Get(b.Context(), rpw.GetRequest{Keys: []string{"k"}})
			return err
		}},
		{"set/raw", setRaw},
		{"set/rpw", setOurs},
	} {
		b.Run(each.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := each.do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkWriteLogs100 writes records in batches of 100, as a handler does.
func BenchmarkWriteLogs100(b *testing.B) {
	sink := benchHub(b, testStore(b)).Logs()
	records := slices.Repeat([]rpw.LogRecord{{Time: time.Now(), Message: "request served", Source: "bench", Attrs: json.RawMessage(`{"path":"/api/v1/items","status":200}`)}}, 100)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, sink.Write(b.Context(), rpw.WriteLogs{Records: records}))
	}
	b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "records/s")
}
