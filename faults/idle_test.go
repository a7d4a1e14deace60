//go:build faults

package faults

import (
	"context"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/workers"
)

// TestIdleWorker: a worker that waits for actions asks the server for little, without polling.
func TestIdleWorker(t *testing.T) {
	const watched = 20 * time.Second
	server := redistest.StartDurable(t)
	hub := open(t, "redis://"+server.Addr)
	w := workers.New(hub, workers.Config{Name: "idle"})
	workers.Handle(w, actions.Define[int, int]("n"), func(_ context.Context, n int) (int, error) { return n, nil })
	ctx, end := context.WithCancel(t.Context())
	defer end()
	stopped := make(chan error, 1)
	go func() { stopped <- w.Run(ctx) }()
	within(t, time.Now(), "the worker waits", func() bool { return len(server.CLI(t, "PUBSUB", "CHANNELS")) > 0 })
	time.Sleep(5 * time.Second) // what is done once
	server.CLI(t, "CONFIG", "RESETSTAT")
	time.Sleep(watched)
	sent, all := 0, 0
	for _, stat := range regexp.MustCompile(`cmdstat_(\w+)[^:]*:calls=(\d+)`).FindAllStringSubmatch(server.CLI(t, "INFO", "commandstats"), -1) {
		calls, err := strconv.Atoi(stat[2])
		require.NoError(t, err)
		switch stat[1] {
		case "evalsha", "evalsha_ro", "ping", "publish", "subscribe", "unsubscribe":
			sent += calls
		case "info", "config":
			continue
		}
		all += calls
	}
	atMost(t, "commands a second of an idle worker", float64(sent)/watched.Seconds(), 1)
	atMost(t, "with those that its scripts make", float64(all)/watched.Seconds(), 2)
	end()
	assert.NoError(t, <-stopped)
}
