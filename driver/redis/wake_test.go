package redis

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// told waits for a wake-up.
func told(t *testing.T, w *watch) string {
	t.Helper()
	select {
	case payload := <-w.C:
		return payload
	case <-time.After(10 * time.Second):
		t.Fatal("not woken")
		return ""
	}
}

func publish(t *testing.T, s *store, channel, payload string) {
	t.Helper()
	require.NoError(t, s.client.Do(t.Context(), s.client.B().Publish().Channel(channel).Message(payload).Build()).Error())
}

func TestWatchIsWokenByWhatComesAfterIt(t *testing.T) {
	s := testStore(t)
	a, err := s.waker.watch(t.Context(), "x", "y")
	require.NoError(t, err)
	b, err := s.waker.watch(t.Context(), "y")
	require.NoError(t, err)
	publish(t, s, "x", "1")
	assert.Equal(t, "1", told(t, a))
	publish(t, s, "y", "2")
	assert.Equal(t, "2", told(t, a))
	assert.Equal(t, "2", told(t, b))
	b.close()
	publish(t, s, "y", "3")
	assert.Equal(t, "3", told(t, a))
	assert.Empty(t, b.C)
	a.close()
}

func TestWatchOutlivesItsLink(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server, "p")
	w, err := s.waker.watch(t.Context(), "x")
	require.NoError(t, err)
	server.CLI(t, "CLIENT", "KILL", "TYPE", "pubsub")
	assert.Empty(t, told(t, w), "told to look again")
	publish(t, s, "x", "1")
	assert.Equal(t, "1", told(t, w))
}

func TestWatchWithoutServer(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server, "p")
	server.Kill()
	_, err := s.waker.watch(t.Context(), "x")
	assert.ErrorIs(t, err, rpw.ErrUnavailable)
	server.Restart(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for err != nil && ctx.Err() == nil {
		_, err = s.waker.watch(ctx, "x")
	}
	assert.NoError(t, err)
}

// TestWatchOutlivesABusyServer: a server answers nothing but BUSY while a script takes long, also where a channel is left then.
func TestWatchOutlivesABusyServer(t *testing.T) {
	server := redistest.Start(t, "--busy-reply-threshold", "10")
	s := storeOn(t, server, "p")
	w, err := s.waker.watch(t.Context(), "x")
	require.NoError(t, err)
	defer w.close()
	left, err := s.waker.watch(t.Context(), "y")
	require.NoError(t, err)
	left.close()
	s.waker.mu.Lock()
	s.waker.topics["y"].left = time.Now().Add(-time.Hour)
	s.waker.mu.Unlock()
	script := make(chan string)
	go func() {
		script <- server.CLI(t, "EVAL", "while redis.call('TIME')[1] - ARGV[1] < 8 do end return 1", "0", strconv.FormatInt(time.Now().Unix(), 10))
	}()
	require.Equal(t, "1", <-script)
	publish(t, s, "x", "1")
	for payload := ""; payload == ""; { // a new link tells that anything may have happened
		payload = told(t, w)
	}
	require.Eventually(t, func() bool { return server.CLI(t, "PUBSUB", "NUMSUB", "y") == "y\n0" }, 20*time.Second, 10*time.Millisecond)
}
