package logs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
)

// BenchmarkHandler and BenchmarkJSONHandlerDiscard log the same record with five attributes: a Handler is to cost its caller no
// more than JSON into nothing, and to allocate nothing. The store takes a millisecond for a batch, so most records of this flood are dropped.

func benchmark(b *testing.B, h slog.Handler) {
	log := slog.New(h)
	ctx := context.Background()
	err := errors.New("connection reset by peer")
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(ctx, slog.LevelInfo, "request served", slog.String("path", "/api/v1/items"), slog.Int("status", 200),
			slog.Duration("took", 1234*time.Microsecond), slog.Bool("cached", true), slog.Any("err", err))
	}
}

func BenchmarkHandler(b *testing.B) {
	hub := sinkHub(b, slowSink{})
	defer hub.Close()
	benchmark(b, NewHandler(hub))
}

func BenchmarkJSONHandlerDiscard(b *testing.B) { benchmark(b, slog.NewJSONHandler(io.Discard, nil)) }

func BenchmarkHandlerParallel(b *testing.B) {
	hub := sinkHub(b, slowSink{})
	defer hub.Close()
	log := slog.New(NewHandler(hub))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			log.LogAttrs(context.Background(), slog.LevelInfo, "request served", slog.String("path", "/api/v1/items"), slog.Int("status", 200))
		}
	})
}

func BenchmarkConsole(b *testing.B) { benchmark(b, Console(io.Discard)) }

type slowSink struct{}

func (slowSink) Write(context.Context, rpw.WriteLogs) error {
	time.Sleep(time.Millisecond)
	return nil
}

func (slowSink) Query(context.Context, rpw.LogQuery) (rpw.LogPage, error) {
	return rpw.LogPage{}, nil
}
