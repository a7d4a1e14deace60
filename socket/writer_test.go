package socket

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAClientWritesWithinTheCallOnlyWhatCannotWait: E1. What the peer is not known to have read is little, so that the buffers below take it even if the
// peer reads nothing any more; everything else is for the writer's own goroutine.
func TestAClientWritesWithinTheCallOnlyWhatCannotWait(t *testing.T) {
	near, _ := newPipe() // whose other end reads nothing
	w := newWriter(t.Context(), near, maxAnswer, clientQueue, 0)
	send := func(size int) (message uint64, ready bool) {
		message, ready, err := w.enqueue(t.Context(), packetRequest, 1, func(b []byte) []byte { return append(b, make([]byte, size)...) })
		require.NoError(t, err)
		require.NoError(t, w.write(w.take()))
		return message, ready
	}
	message, ready := send(1)
	assert.False(t, ready, "nothing says that the peer reads")

	w.confirm(message)
	for range fewMessages {
		message, ready = send(1)
		assert.True(t, ready)
	}
	_, ready = send(1)
	assert.False(t, ready, "too many are on their way")

	w.confirm(message + 1)
	large, ready := send(fewBytes)
	assert.False(t, ready, "it is large")
	_, ready = send(1)
	assert.False(t, ready, "a large one is on its way")

	w.confirm(large)
	_, ready = send(1)
	assert.True(t, ready)
}

// TestAFailedWriteWithinTheCallEndsTheConnection: the writer's goroutine is told, and ends.
func TestAFailedWriteWithinTheCallEndsTheConnection(t *testing.T) {
	near, far := newPipe()
	w := newWriter(t.Context(), near, maxAnswer, clientQueue, clientWriteTime)
	ended := make(chan error, 1)
	message, err := w.send(packetRequest, 1, nil)
	require.NoError(t, err)
	require.NoError(t, w.write(w.take()))
	w.confirm(message)
	<-w.work // of the first message, which is written
	go func() { ended <- w.run() }()
	far.CloseNow()
	message, err = w.send(packetRequest, 2, nil)
	require.NoError(t, err, "it may have left")
	assert.Error(t, <-ended)
	assert.True(t, w.left(message))
}
