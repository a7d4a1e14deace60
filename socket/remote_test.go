package socket

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// everything lets everyone do everything.
func everything(config Config) Config {
	config.AllowAnonymous = true
	config.Authorize = func(context.Context, Identity, Access) error { return nil }
	return config
}

// listen serves a hub on a loopback port, for the length of the test. It returns the URL.
func listen(t testing.TB, hub *rpw.Hub, config Config) string {
	t.Helper()
	server, err := NewServer(hub, config)
	require.NoError(t, err)
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		web.Close()
	})
	return "ws" + web.URL[len("http"):]
}

// memoryHub is a hub over a memory store of its own.
func memoryHub(t testing.TB) *rpw.Hub {
	t.Helper()
	return hubOver(t, memory.New(memory.Options{}).Parts())
}

// dialHub opens a hub by URL, closed with the test.
func dialHub(t testing.TB, url string, opts Options) *rpw.Hub {
	t.Helper()
	parts, err := New(t.Context(), url, opts)
	require.NoError(t, err)
	return hubOver(t, parts)
}
