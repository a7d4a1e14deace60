package redis

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// linkPair returns a link that bears so much silence, and its other end.
func linkPair(t *testing.T, silence time.Duration) (conn, peer net.Conn) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	conn, err = (&links{silence: silence}).dial(context.Background(), listener.Addr().String(), &net.Dialer{Timeout: time.Minute}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	peer, err = listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	return conn, peer
}

// TestASilentLinkEnds: F2, E4: a link is over when nothing came for too long after something was written, and only then.
func TestASilentLinkEnds(t *testing.T) {
	const silence = 200 * time.Millisecond
	conn, peer := linkPair(t, silence)
	say := func(from net.Conn) error { _, err := from.Write([]byte("x")); return err }
	hear := func(at net.Conn) error { _, err := at.Read(make([]byte, 1)); return err }
	for range 3 {
		require.NoError(t, say(conn))
		require.NoError(t, hear(peer))
		require.NoError(t, say(peer))
		require.NoError(t, hear(conn))
		time.Sleep(silence * 3 / 2) // idle, for longer than an answer may take
	}
	require.NoError(t, say(peer))
	require.NoError(t, hear(conn), "it lives")
	asked := time.Now()
	require.NoError(t, say(conn))
	assert.ErrorIs(t, hear(conn), net.ErrClosed)
	assert.GreaterOrEqual(t, time.Since(asked), silence)
}

// TestABusyServerIsHeardInParts: F29, F4, E1: of the answer that rueidis must not hear, also when it comes byte by byte.
func TestABusyServerIsHeardInParts(t *testing.T) {
	conn, peer := linkPair(t, time.Minute)
	answer := func(text string) (n int, err error) {
		for i := range text {
			_, err := peer.Write([]byte{text[i]})
			require.NoError(t, err)
			if _, err = conn.Read(make([]byte, 1)); err != nil {
				return i + 1, err
			}
		}
		return len(text), nil
	}
	leave := func() {
		_, err := conn.Write([]byte("*2\r\n$11\r\nUNSUBSCRIBE\r\n$1\r\nx\r\n*1\r\n$4\r\nPING\r\n"))
		require.NoError(t, err)
	}
	leave()
	_, err := answer(">3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n+PONG\r\n-BUSY of another command\r\n")
	require.NoError(t, err, "it has left")
	leave()
	n, err := answer("-BUSY Redis is busy")
	assert.ErrorIs(t, err, errNotLeft)
	assert.Equal(t, len("-BUSY "), n)
}

// TestAServerWithTooManyClientsIsNotHeard: F27, E5: rueidis does not survive what such a server writes before it is asked.
func TestAServerWithTooManyClientsIsNotHeard(t *testing.T) {
	conn, peer := linkPair(t, time.Minute)
	_, err := peer.Write([]byte("-ERR max number of clients reached\r\n"))
	require.NoError(t, err)
	n, err := conn.Read(make([]byte, 100))
	assert.Zero(t, n)
	assert.ErrorIs(t, err, rpw.ErrUnavailable)
	assert.ErrorIs(t, classify(t.Context(), err, true), rpw.ErrUnavailable, "nothing was sent")
}
