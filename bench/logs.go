package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/lmittmann/tint"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

// logsArea is what a log call costs its caller.
var logsArea = area{
	name:  "logs",
	title: "A log record with 5 attributes",
	notes: "One goroutine logs as fast as it can. rpw hands the record to a queue that another goroutine carries to the store, batch by batch; it is counted with all that this " +
		"does meanwhile in the process, and what the store does not keep up with is dropped. The other handlers write to nowhere.",
	contestants: []contestant{
		{name: "rpw, Redis", redis: true, run: logsRPW},
		{name: "rpw, memory", run: logsRPW},
		{name: "slog.JSONHandler", run: logsOf(slog.NewJSONHandler(io.Discard, nil))},
		{name: "slog.TextHandler", run: logsOf(slog.NewTextHandler(io.Discard, nil))},
		{name: "tint", run: logsOf(tint.NewTextHandler(io.Discard, nil))},
	},
	targets: []target{
		{id: "log-ns", what: "log handler, 5 attributes, to slog.JSONHandler discarding", metric: Nanos, of: "rpw, Redis", to: "slog.JSONHandler", want: 1, beyond: 0.6, atMost: true},
		{id: "log-allocs", what: "its allocations", metric: Allocs, of: "rpw, Redis", want: 2, beyond: 0, atMost: true},
	},
}

func logsRPW(ctx context.Context, t *trial) (Sample, error) {
	url := "memory://"
	if t.Addr != "" {
		url = "redis://" + t.Addr
	}
	hub, err := rpw.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	return logsOf(logs.NewHandler(hub, logs.WithFallback(slog.DiscardHandler)))(ctx, t)
}

func logsOf(h slog.Handler) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		log, failure := slog.New(h), errors.New("connection reset by peer")
		loop := func(length time.Duration) (n int) {
			for end := time.Now().Add(length); time.Now().Before(end); n += 1_000 {
				for range 1_000 {
					log.LogAttrs(ctx, slog.LevelInfo, "request served", slog.String("path", "/api/v1/items"), slog.Int("status", 200),
						slog.Duration("took", 1234*time.Microsecond), slog.Bool("cached", true), slog.Any("err", failure))
				}
			}
			return n
		}
		loop(warmUp)
		before := mallocs()
		s, err := t.measure(ctx, func() (tally, error) { return tally{items: loop(t.Length)}, nil })
		if err != nil {
			return nil, err
		}
		s[Allocs] = (mallocs() - before) / (s[Rate] * t.Length.Seconds())
		s[Nanos] = 1e9 / s[Rate]
		delete(s, Rate)
		return s, nil
	}
}

func mallocs() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}
