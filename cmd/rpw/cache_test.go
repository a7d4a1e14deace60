package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestCache(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		assert.Empty(t, b.ok("set", "k", `{"limit": 5}`))
		assert.Equal(t, `{"limit": 5}`+"\n", b.ok("get", "k"))
		assert.Equal(t, `{"limit": 5}`, b.ok("get", "k", "--raw"))
		assert.Equal(t, map[string]any{"key": "k", "data": map[string]any{"limit": 5.0}}, b.lines("get", "k")[0])
		b.fails(3, "not found", "get", "none")
		b.fails(3, "not found", "get", "none", "--json")

		b.ok("set", "k", "6", "--ttl", "1m")
		assert.EqualValues(t, 60_000, b.lines("get", "k")[0]["ttlMs"])
		time.Sleep(time.Second) // virtual
		b.ok("set", "k", "7", "--keep-ttl")
		assert.EqualValues(t, 59_000, b.lines("get", "k")[0]["ttlMs"])

		b.fails(4, "conflict", "set", "k", "8", "--if-absent")
		b.fails(4, "conflict", "set", "none", "8", "--if-present")
		b.fails(4, "conflict", "set", "k", "8", "--if-equal", "6")
		b.ok("set", "k", "8", "--if-equal", "7")
		b.ok("set", "k", "9", "--if-present")
		b.ok("set", "new", "1", "--if-absent")

		b.fails(exitUsage, "VALUE is not JSON", "set", "k", "hello")
		b.ok("set", "text", `say "hello"`, "--string")
		text, ok, err := rpw.Get[string](t.Context(), b.hub, "text")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, `say "hello"`, text)
		b.stdin = strings.NewReader("[1,\n2]")
		b.ok("set", "list", "-")
		assert.Equal(t, []any{1.0, 2.0}, b.lines("get", "list")[0]["data"])
		b.stdin = strings.NewReader(strings.Repeat("x", rpw.MaxPayload+1))
		b.fails(exitUsage, "stdin holds more", "set", "list", "-", "--raw")

		assert.Len(t, b.lines("keys"), 4)
		assert.Equal(t, "new\n", b.ok("keys", "ne"))
		assert.Len(t, b.lines("keys", "--limit", "3"), 3)
		assert.Equal(t, []map[string]any{{"key": "new", "deleted": true}, {"key": "none", "deleted": false}}, b.lines("del", "new", "none"))
		assert.Equal(t, "1 key deleted\n", b.ok("del", "k", "none"))
		assert.Equal(t, "0 keys deleted\n", b.ok("del", "k"))
	})
}

func TestCacheHostile(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.stdin = strings.NewReader(hostile)
		b.ok("set", "k", "-", "--raw")
		harmless(t, b.ok("get", "k"))
		harmless(t, b.ok("get", "k", "--json"))
		assert.Equal(t, hostile, b.ok("get", "k", "--raw"), "to the byte")
		b.ok("set", "empty", "", "--raw")
		assert.Equal(t, "\n", b.ok("get", "empty"))
		assert.Equal(t, "", b.lines("get", "empty")[0]["text"])
	})
}
