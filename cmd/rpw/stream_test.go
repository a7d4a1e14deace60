package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestStreams(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		last := b.publish("orders", "new", "1")
		for range 999 {
			last = b.publish("orders", "new", "1")
		}
		b.publish("other", "new", "1")
		out := b.ok("stream", "ls")
		assert.Regexp(t, `STREAM +EVENTS +BYTES +GROUPS +LAST\norders +1000 `, out)
		assert.Contains(t, out, "\nother ")
		assert.Equal(t, "orders", b.lines("streams", "ls", "ord")[0]["stream"])
		assert.Len(t, b.lines("stream", "ls"), 2)
		assert.Len(t, b.lines("stream", "ls", "--limit", "1"), 1)

		info := b.lines("stream", "info", "orders")[0]
		assert.EqualValues(t, 1000, info["events"])
		assert.Equal(t, last.String(), info["last"])
		assert.EqualValues(t, rpw.DefaultKeepEvents, info["keepEvents"])
		assert.Regexp(t, `\nnewest +`+last.String()+`\n`, b.ok("stream", "info", "orders"))
		b.fails(3, "not found", "stream", "info", "none")

		removed := b.lines("stream", "trim", "orders", "--events", "10")[0]["events"].(float64)
		assert.Greater(t, removed, 800.0)
		assert.Equal(t, "0 events removed\n", b.ok("stream", "trim", "orders", "--age", "1h"))
		b.ok("stream", "delete", "orders", "none")
		assert.Len(t, b.lines("stream", "ls"), 1)
	})
}

// groupOf makes a group with events: some leased by a consumer, some dead.
func groupOf(t *testing.T, b *backend, events, leased, rejected int) {
	bus := b.hub.Streams()
	_, err := bus.EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "orders", Group: "billing", From: rpw.Oldest()})
	require.NoError(t, err)
	for i := range events {
		b.publish("orders", "new", fmt.Sprint(i))
	}
	if leased == 0 {
		return
	}
	held, err := bus.Fetch(t.Context(), rpw.FetchRequest{Stream: "orders", Group: "billing", Consumer: "host-1", Max: leased})
	require.NoError(t, err)
	require.Len(t, held, leased)
	for _, d := range held[:rejected] {
		errs, err := bus.Settle(t.Context(), rpw.SettleRequest{Stream: "orders", Group: "billing",
			Settlements: []rpw.Settlement{{Receipt: d.Receipt, Verdict: rpw.Reject, Reason: hostile}}})
		require.NoError(t, err)
		require.NoError(t, errs[0])
	}
}

func TestGroups(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		groupOf(t, b, 10, 4, 2)
		time.Sleep(2 * time.Second) // virtual
		assert.Regexp(t, `GROUP +LAG +PENDING +OLDEST +DEAD +LEASE +DELIVERIES +CONSUMERS\nbilling +6 +2 +2s +2 +30s +5 +host-1\n`, b.ok("group", "ls", "orders"))
		g := b.lines("group", "ls", "orders")[0]
		assert.EqualValues(t, 6, g["lag"])
		assert.EqualValues(t, 2000, g["oldestPendingMs"])
		assert.EqualValues(t, 30_000, g["leaseMs"])
		assert.Equal(t, "host-1", g["consumers"].([]any)[0].(map[string]any)["name"])
		assert.Empty(t, b.lines("group", "ls", "none"))

		assert.Equal(t, 2, strings.Count(b.ok("group", "pending", "orders", "billing"), "  leased  "))
		assert.Len(t, b.lines("group", "pending", "orders", "billing", "--limit", "1"), 1)
		assert.Empty(t, b.lines("group", "pending", "orders", "billing", "--consumer", "host-2"))
		pending := b.lines("group", "pending", "orders", "billing")[0]
		assert.Equal(t, "host-1", pending["consumer"])
		assert.Equal(t, true, pending["leased"])
		b.fails(3, "not found", "group", "pending", "orders", "none")

		dead := b.ok("tail", rpw.DeadLetter("orders", "billing"), "--from", "start", "--no-follow")
		harmless(t, dead)
		assert.Contains(t, dead, rpw.HeaderDeadReason)
		assert.Len(t, b.lines("stream", "ls", "--dead"), 2)
		id := strings.Fields(dead)[2]
		assert.Equal(t, "1 event redriven\n", b.ok("group", "redrive", "orders", "billing", id))
		assert.EqualValues(t, 1, b.lines("group", "redrive", "orders", "billing")[0]["events"])
		assert.Equal(t, "0 events redriven\n", b.ok("group", "redrive", "orders", "billing", "--max", "5"))

		b.ok("group", "delete", "orders", "billing")
		assert.Empty(t, b.lines("group", "ls", "orders"))
	})
}

// The reason of a Nack comes from a handler's error.
func TestPendingHostile(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		groupOf(t, b, 1, 0, 0)
		bus := b.hub.Streams()
		held, err := bus.Fetch(t.Context(), rpw.FetchRequest{Stream: "orders", Group: "billing", Consumer: "host-1"})
		require.NoError(t, err)
		errs, err := bus.Settle(t.Context(), rpw.SettleRequest{Stream: "orders", Group: "billing",
			Settlements: []rpw.Settlement{{Receipt: held[0].Receipt, Verdict: rpw.Nack, Delay: time.Hour, Reason: hostile}}})
		require.NoError(t, err)
		require.NoError(t, errs[0])
		out := b.ok("group", "pending", "orders", "billing")
		harmless(t, out)
		assert.Equal(t, 2, strings.Count(out, "\n"))
		assert.Contains(t, out, "  waiting  ")
		harmless(t, b.ok("group", "pending", "orders", "billing", "--json"))
	})
}
