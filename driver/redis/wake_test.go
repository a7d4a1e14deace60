package redis

import (
	"context"
	"net"
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

// TestWhoWatchesHearsWhatIsGiven: A6: from the first moment on, a claim that waits can be given an action.
func TestWhoWatchesHearsWhatIsGiven(t *testing.T) {
	for range 20 {
		s := testStore(t)
		w, err := s.waker.watch(t.Context(), "x")
		require.NoError(t, err)
		heard, err := s.client.Do(t.Context(), s.client.B().Publish().Channel(s.waker.echo).Message("").Build()).AsInt64()
		require.NoError(t, err)
		assert.EqualValues(t, 1, heard)
		w.close()
	}
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

// TestALinkThatHearsNothingIsFound: F20, E4: after a failover the link may be to a server that lives on, while all is published on another.
func TestALinkThatHearsNothingIsFound(t *testing.T) {
	t.Parallel()
	before, after := redistest.Start(t), redistest.Start(t)
	proxy := redistest.NewProxy(t, before.Addr)
	s := storeWith(t, dialAll(t, &config{addrs: []string{proxy.Addr}}), "p")
	w, err := s.waker.watch(t.Context(), "x")
	require.NoError(t, err)
	proxy.Lead(after.Addr)
	before.CLI(t, "CLIENT", "KILL", "TYPE", "normal")
	began := time.Now()
	assert.Empty(t, told(t, w), "told to look again")
	assert.Less(t, time.Since(began), 3*echoTime+2*time.Second)
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

// TestChannelsAreLeftWhileTheServerIsBusy: F29, E1: rueidis would panic over what a busy server says to UNSUBSCRIBE.
func TestChannelsAreLeftWhileTheServerIsBusy(t *testing.T) {
	server := redistest.Start(t, "--busy-reply-threshold", "50")
	s := storeOn(t, server, "p")
	watched, err := s.waker.watch(t.Context(), "x")
	require.NoError(t, err)
	watched.close()
	s.waker.mu.Lock()
	s.waker.topics["x"].left = time.Now().Add(-lingering)
	s.waker.mu.Unlock()
	conn, release := s.client.Dedicate()
	defer release()
	defer conn.Close()
	ping := func() error { return conn.Do(t.Context(), conn.B().Ping().Build()).Error() }
	require.NoError(t, conn.Do(t.Context(), conn.B().Subscribe().Channel("x").Build()).Error())

	script, err := net.Dial("tcp", server.Addr)
	require.NoError(t, err)
	defer script.Close()
	_, err = script.Write([]byte("*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return ping() != nil }, 10*time.Second, 5*time.Millisecond)
	require.ErrorIs(t, s.waker.unsubscribe(conn), errNotLeft)
	require.NoError(t, s.client.Do(t.Context(), s.client.B().ScriptKill().Build()).Error())

	again, release := s.client.Dedicate()
	defer release()
	defer again.Close()
	require.Eventually(t, func() bool { return again.Do(t.Context(), again.B().Ping().Build()).Error() == nil }, 10*time.Second, 5*time.Millisecond)
	for range 2 { // and a link that has left some can leave others
		require.NoError(t, again.Do(t.Context(), again.B().Subscribe().Channel("x").Build()).Error())
		require.NoError(t, again.Do(t.Context(), again.B().Unsubscribe().Channel("x").Build()).Error())
	}
}

// TestHistoryGoesBackUnderALink: F20, S5: after a failover to a replica that was behind, in a cluster, the link for messages may go on. What is published
// then has counts that this process has seen before, and wakes all the same.
func TestHistoryGoesBackUnderALink(t *testing.T) {
	server := redistest.Start(t)
	s, other := storeOn(t, server, "p"), storeOn(t, server, "p")
	s.waker.others = nil // which would find it in time
	b, o := busOf(t, s), busOf(t, other)
	at := b.add(1, 3)
	for _, key := range []string{"p:s:s", "{p:s:s}:m"} {
		server.CLI(t, "COPY", key, "{p:s:s}:copy:"+key)
	}
	w, err := s.waker.watch(t.Context(), b.channelOf("s"))
	require.NoError(t, err)
	b.add(4, 4) // by message
	told(t, w)
	own := b.add(5, 6) // by the answers
	assert.Equal(t, wire(own[1]), told(t, w))
	for _, key := range []string{"p:s:s", "{p:s:s}:m"} {
		server.CLI(t, "COPY", "{p:s:s}:copy:"+key, key, "REPLACE")
	}
	again := o.add(7, 7)[0]
	require.Equal(t, at[2].Count+1, again.Count)
	assert.Equal(t, wire(again), told(t, w))
	assert.Equal(t, wire(b.add(8, 8)[0]), told(t, w))
}
