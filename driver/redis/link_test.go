package redis

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestASilentLinkEnds: F2, E4: a link is over when nothing came for too long after something was written, and only then.
func TestASilentLinkEnds(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	const silence = 200 * time.Millisecond
	l := &links{silence: silence}
	conn, err := l.dial(context.Background(), listener.Addr().String(), &net.Dialer{Timeout: time.Minute}, nil)
	require.NoError(t, err)
	defer conn.Close()
	peer, err := listener.Accept()
	require.NoError(t, err)
	defer peer.Close()
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
