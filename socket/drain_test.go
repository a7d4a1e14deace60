package socket

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestShutdown: clients are told to leave, have time for it, and are closed with 1012; new ones are refused meanwhile.
func TestShutdown(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{DrainTime: 300 * time.Millisecond}})
	conns := []*rawConn{s.connect(nil), s.connect(nil), s.connect(nil)}
	for _, c := range conns {
		c.alive(t)
	}
	over := make(chan error)
	go func() { over <- s.srv.Shutdown(within(t)) }()
	s.eventually(func(now Stats) bool { return now.Draining })
	res, _ := s.knock(nil)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.NotEmpty(t, res.Header.Get("Retry-After"))

	conns[0].until(t, packetLeave)
	conns[0].Write(rawFrame(fin|opBinary, rawRequest(1, opStreams, rpw.StreamsRequest{})))
	conns[0].until(t, packetReply) // it is still served
	conns[0].Write(rawFrame(fin|opClose, []byte{3, 232}))
	code, _ := conns[0].closed()
	assert.Equal(t, websocket.StatusNormalClosure, code)
	for _, c := range conns[1:] {
		c.until(t, packetLeave)
		code, _ := c.closed()
		assert.Equal(t, closeRestart, code)
		c.Close()
	}
	require.NoError(t, <-over)
	assert.NoError(t, s.srv.Shutdown(t.Context()), "again")
	assert.Equal(t, map[string]uint64{"1000": 1, "1012": 2}, s.srv.Stats().Closed)
}

// TestShutdownWithoutClients does not wait.
func TestShutdownWithoutClients(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{DrainTime: time.Hour}})
	assert.NoError(t, s.srv.Shutdown(within(t)))
	s.refused(http.StatusServiceUnavailable, nil)
}

// TestShutdownIsBounded: clients that stay cannot make it last longer than its context.
func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{DrainTime: time.Hour}})
	c := s.connect(nil)
	c.alive(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := s.srv.Shutdown(ctx)
	assert.Less(t, time.Since(start), soon)
	if err != nil {
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}
	s.gone()

	endless := openSite(t, Config{AllowAnonymous: true, Limits: Limits{DrainTime: time.Hour}})
	endless.connect(nil).alive(t)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	endless.srv.Shutdown(ctx)
	endless.gone()

	var none context.Context
	assert.ErrorIs(t, endless.srv.Shutdown(none), rpw.ErrInvalid)
}

// TestCloseWithManyClients: a thousand of them, none of which answers the close frame, take no longer than one.
func TestCloseWithManyClients(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{ConnectsPerIP: 1e6}})
	const n = 1000
	var conns []*rawConn
	for range n {
		conns = append(conns, s.connect(nil))
	}
	start := time.Now()
	require.NoError(t, s.srv.Close())
	assert.Less(t, time.Since(start), soon)
	assert.Equal(t, uint64(n), s.srv.Stats().Closed["1012"])
	for _, c := range conns {
		code, _ := c.closed()
		assert.Equal(t, closeRestart, code)
	}
	require.NoError(t, s.srv.Close())
}
