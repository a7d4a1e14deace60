package logs_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/logs"
	"github.com/redis-process-worker/rpw/workers"
)

// TestRecordsOfAHandler protects L3: what a handler of an action logs with its ctx says where it ran.
func TestRecordsOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := rpw.New(memory.New(memory.Options{}).Parts())
		require.NoError(t, err)
		defer hub.Close()
		handler := logs.NewHandler(hub)
		log := slog.New(handler)

		work := actions.Define[int, int]("work")
		w := workers.New(hub, workers.Config{Name: "digger", Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, workers.Handle(w, work, func(ctx context.Context, in int) (int, error) {
			log.InfoContext(ctx, "digging")
			if run, _ := actions.Current(ctx); run.Attempt == 1 {
				return 0, rpw.RetryIn(assert.AnError, 0)
			}
			return in, nil
		}))
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- w.Run(ctx) }()
		h, err := work.Start(ctx, hub, 1)
		require.NoError(t, err)
		_, err = h.Wait(ctx)
		require.NoError(t, err)
		stop()
		require.NoError(t, <-stopped)
		require.NoError(t, handler.Flush(t.Context()))

		var attempts []int
		for r, err := range logs.Query(t.Context(), hub, rpw.LogQuery{LogFilter: rpw.LogFilter{Worker: "digger", Action: h.Ref.String()}}) {
			require.NoError(t, err)
			assert.Equal(t, "digging", r.Message)
			attempts = append(attempts, r.Attempt)
		}
		assert.Equal(t, []int{1, 2}, attempts)
	})
}
