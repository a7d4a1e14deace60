package redis

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestCarriedEventsAreForWhoIsThere: a message carries what follows one place, and nothing to a reader who is at another.
func TestCarriedEventsAreForWhoIsThere(t *testing.T) {
	behind := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 4}, Count: 2}
	here := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 5}, Count: 3}
	end := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 6, Seq: 1}, Count: 5}
	message := wire(end) + "\n" + wire(here) + "\n" + carry([]rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{
		{Type: "t", Data: []byte("a")}, {Type: "t", Data: []byte("b"), Header: map[string]string{"h": "v"}},
	}}})
	events := carried(message, wire(here), 10)
	require.Len(t, events, 2)
	assert.Equal(t, rpw.Position{Epoch: 7, ID: rpw.ID{MS: 6}, Count: 4}, events[0].Position())
	assert.Equal(t, end, events[1].Position())
	assert.Equal(t, "b", string(events[1].Data))
	assert.Equal(t, map[string]string{"h": "v"}, events[1].Header)
	for _, elsewhere := range []string{wire(behind), wire(end), wire(rpw.Position{}), ""} {
		assert.Empty(t, carried(message, elsewhere, 10))
	}
}
