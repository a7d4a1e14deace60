package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

var testScript = newScript("cache_delete.lua")

func TestExecLoadsTheScriptWhereItIsMissing(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server, "p")
	server.CLI(t, "SET", "k", "v")
	m, err := s.exec(t.Context(), testScript, []string{"k"}, []string{"always", ""})
	require.NoError(t, err)
	n, err := m.AsInt64()
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
	server.CLI(t, "SCRIPT", "FLUSH")
	answers := s.execAll(t.Context(), testScript, []scriptCall{{[]string{"k"}, []string{"equal", "x"}}, {[]string{"k"}, []string{"always", ""}}})
	assert.ErrorIs(t, answers[0].err, rpw.ErrConflict)
	assert.NoError(t, answers[1].err)
}

func TestExecKeepsToItsTime(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server, "p")
	s.opt.Timeout = 200 * time.Millisecond
	server.CLI(t, "CLIENT", "PAUSE", "1000", "WRITE")
	began := time.Now()
	_, err := s.exec(t.Context(), testScript, []string{"k"}, []string{"always", ""})
	assert.ErrorIs(t, err, rpw.ErrUncertain)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), 600*time.Millisecond)

	s.opt.Timeout = 10 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.exec(ctx, testScript, []string{"k"}, []string{"always", ""})
	assert.ErrorIs(t, err, rpw.ErrUncertain)
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = s.exec(ctx, testScript, []string{"k"}, []string{"always", ""})
	assert.NotErrorIs(t, err, rpw.ErrUncertain, "nothing was sent")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestAWriteThatWasCutOffIsNotSentAgain: the server has the call when its connection breaks, and the driver cannot know what became of it.
func TestAWriteThatWasCutOffIsNotSentAgain(t *testing.T) {
	server := redistest.Start(t)
	c := cache{storeOn(t, server, "p")}
	increment := func(key string) error {
		_, err := c.Increment(t.Context(), []rpw.CacheIncrement{{Key: key, By: 1, TTL: rpw.NoTTL}})
		return err
	}
	require.NoError(t, increment("other"))
	server.CLI(t, "CLIENT", "PAUSE", "60000", "WRITE")
	cut := make(chan error, 1)
	go func() { cut <- increment("k") }()
	require.Eventually(t, func() bool { return strings.Contains(server.CLI(t, "CLIENT", "LIST"), "flags=b") }, 10*time.Second, time.Millisecond)
	server.CLI(t, "CLIENT", "KILL", "TYPE", "normal")
	server.CLI(t, "CLIENT", "UNPAUSE")
	assert.ErrorIs(t, <-cut, rpw.ErrUncertain)
	assert.Equal(t, "0", server.CLI(t, "EXISTS", "p:c:k"), "the server has dropped it")
	assert.Equal(t, "1", server.CLI(t, "EXISTS", "p:c:other"))
}
