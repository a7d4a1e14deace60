package rpw_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestRawPayloads: json.RawMessage takes every payload as it is; another type that could hold one decodes it all the same.
func TestRawPayloads(t *testing.T) {
	hub := memoryHub(t)
	_, err := rpw.StreamOf[json.RawMessage]("s").PublishBatch(t.Context(), hub, rpw.NewEvent{Type: "t", Data: []byte("no JSON")})
	require.NoError(t, err)
	raw, err := rpw.StreamOf[json.RawMessage]("s").Read(t.Context(), hub, rpw.Oldest(), 0)
	require.NoError(t, err)
	assert.Equal(t, "no JSON", string(raw[0].Data))
	_, err = rpw.StreamOf[any]("s").Read(t.Context(), hub, rpw.Oldest(), 0)
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = rpw.StreamOf[json.RawMessage]("s").Publish(t.Context(), hub, "t", json.RawMessage("no JSON"))
	assert.ErrorIs(t, err, rpw.ErrInvalid, "what is published is checked")
}
