package socket

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
)

func TestSmoke(t *testing.T) {
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	defer hub.Close()
	s, err := NewServer(hub, Config{AllowAnonymous: true})
	require.NoError(t, err)
	web := httptest.NewServer(s)
	defer web.Close()
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(web.URL, "http"), &websocket.DialOptions{Subprotocols: []string{Subprotocol}})
	require.NoError(t, err)
	defer c.CloseNow()
	require.NoError(t, c.Write(t.Context(), websocket.MessageBinary, []byte("hi")))
	_, data, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hi", string(data))
	go s.Shutdown(context.Background())
	_, _, err = c.Read(t.Context())
	require.Equal(t, closeRestart, websocket.CloseStatus(err), "%v", err)
	require.NoError(t, s.Close())
}
