package redis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestWhoIsGoneIsOfflineWhenTheClockFallsBack: F15, W2: the clock of the server falls back by an hour. A worker that says nothing any more is not shown as alive for
// that long.
func TestWhoIsGoneIsOfflineWhenTheClockFallsBack(t *testing.T) {
	server, clock := redistest.StartClocked(t)
	a := storeOn(t, server, "p").actions()
	beat := func(id string) {
		_, err := a.Heartbeat(t.Context(), rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: id, Name: id, Status: rpw.WorkerIdle}, TTL: time.Minute})
		require.NoError(t, err)
	}
	statuses := func() (all []rpw.WorkerStatus) {
		page, err := a.Workers(t.Context(), rpw.WorkersRequest{})
		require.NoError(t, err)
		for _, w := range page.Workers {
			all = append(all, w.Status)
		}
		return all
	}
	beat("gone")
	beat("works")
	clock.Set(t, -30*time.Second)
	assert.Equal(t, []rpw.WorkerStatus{rpw.WorkerIdle, rpw.WorkerIdle}, statuses(), "each may be about to say something")
	clock.Set(t, -time.Hour)
	beat("works")
	assert.Equal(t, []rpw.WorkerStatus{rpw.WorkerOffline, rpw.WorkerIdle}, statuses())
}
