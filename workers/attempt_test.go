package workers

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

// TestAttemptHandedBackBeforeItBegan: its handler is not called.
func TestAttemptHandedBackBeforeItBegan(t *testing.T) {
	a := &attempt{s: &session{taken: 1}, claimed: new(rpw.Claimed)}
	a.ending.Store(true)
	a.run(t.Context(), func(context.Context, json.RawMessage) (json.RawMessage, error) {
		assert.Fail(t, "it was called")
		return nil, nil
	})
	assert.Zero(t, a.s.running(), "its slot")
}
