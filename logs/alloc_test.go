package logs

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestAllocations: logging five attributes in a worker allocates nothing, once the buffer has grown; one is for the race detector, with which a pool loses things.
func TestAllocations(t *testing.T) {
	sink := &fakeSink{behave: func(ctx context.Context, _ rpw.WriteLogs) error {
		<-ctx.Done()
		return rpw.ErrClosed
	}}
	hub := sinkHub(t, sink)
	h := NewHandler(hub)
	log := slog.New(h).With("app", "test").WithGroup("request")
	ctx := rpw.WithOrigin(t.Context(), rpw.Origin{Worker: "w", Action: rpw.ActionRef{Queue: "q", ID: "1"}, Attempt: 1})
	err := errors.New("reset")
	allocs := testing.AllocsPerRun(1000, func() {
		log.LogAttrs(ctx, slog.LevelInfo, "request served", slog.String("path", "/api/v1/items"), slog.Int("status", 200),
			slog.Duration("took", 1234*time.Microsecond), slog.Bool("cached", true), slog.Any("err", err))
	})
	assert.LessOrEqual(t, allocs, 1.0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, hub.Shutdown(ended))
}
