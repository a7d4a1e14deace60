package workers

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/internal/lease"
)

// TestAttemptHandedBackBeforeItBegan: its handler is not called.
func TestAttemptHandedBackBeforeItBegan(t *testing.T) {
	hub, err := rpw.New(memory.New(memory.Options{}).Parts())
	require.NoError(t, err)
	defer hub.Close()
	s, err := New(hub, Config{}).begin(t.Context())
	require.NoError(t, err)
	s.hard = t.Context()
	s.keeper = lease.New(s.renew, isLost, rpw.ErrLeaseLost, rpw.MaxBatch)
	defer s.keeper.Close()
	s.beater = newBeater(s)
	defer s.beater.stop()
	a := &attempt{s: s, claimed: new(rpw.Claimed), began: time.Now(), cancel: func(error) {}}
	a.ending.Store(true)
	a.handle = func(context.Context, json.RawMessage) (json.RawMessage, error) {
		assert.Fail(t, "it was called")
		return nil, nil
	}
	s.start([]*attempt{a})
	<-s.quiesce()
	assert.Zero(t, s.running(), "its slot")
	assert.Empty(t, s.attempts)
}
