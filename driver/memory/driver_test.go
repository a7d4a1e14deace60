package memory

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func open(t *testing.T, d *Driver, raw string) (rpw.Parts, error) {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return d.Open(t.Context(), rpw.OpenRequest{URL: u, Notify: func(rpw.Notice) {}})
}

func mustOpen(t *testing.T, d *Driver, raw string) rpw.Parts {
	parts, err := open(t, d, raw)
	require.NoError(t, err)
	return parts
}

func TestNamedStoresAreSharedUntilTheLastCloses(t *testing.T) {
	var d Driver
	a, b, other := mustOpen(t, &d, "memory://one?max_bytes=1000"), mustOpen(t, &d, "memory://one"), mustOpen(t, &d, "memory://two")
	assert.Same(t, a.Native, b.Native)
	assert.NotSame(t, a.Native, other.Native)
	assert.NotSame(t, mustOpen(t, &d, "memory://").Native, mustOpen(t, &d, "memory://").Native)
	_, err := open(t, &d, "memory://one?max_bytes=2000")
	require.ErrorIs(t, err, rpw.ErrConflict)

	require.NoError(t, a.Close(t.Context()))
	c := mustOpen(t, &d, "memory://one")
	assert.Same(t, b.Native, c.Native)
	require.NoError(t, b.Close(t.Context()))
	require.NoError(t, c.Close(t.Context()))
	again := mustOpen(t, &d, "memory://one")
	assert.NotSame(t, a.Native, again.Native)
	require.NoError(t, again.Close(t.Context()))
	require.NoError(t, other.Close(t.Context()))
	assert.Empty(t, d.named)
}

func TestURLsThatMeanNothingAreRefused(t *testing.T) {
	for _, raw := range []string{
		"memory:name", "memory://user:secret@name", "memory://secret@name", "memory://name:6379", "memory://name/0",
		"memory:///path", "memory://name#fragment", "memory://?max_byte=1", "memory://?max_bytes=", "memory://?max_bytes=0",
		"memory://?max_bytes=-1", "memory://?max_bytes=1MB", "memory://?max_bytes=1&max_bytes=2", "memory://a*b", "memory://?a=secret",
	} {
		var d Driver
		_, err := open(t, &d, raw)
		require.ErrorIs(t, err, rpw.ErrInvalid, raw)
		assert.NotContains(t, err.Error(), "secret")
		assert.Empty(t, d.named)
	}
	_, err := open(t, new(Driver), "memory://?max_byte=1")
	assert.ErrorContains(t, err, "max_byte")
}

func TestTheDriverIsRegistered(t *testing.T) {
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	store, ok := rpw.Native[*Store](hub)
	require.True(t, ok)
	_, err = hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "e"}}}})
	require.NoError(t, err)
	assert.Positive(t, store.Used())
	require.NoError(t, hub.Close())
}
