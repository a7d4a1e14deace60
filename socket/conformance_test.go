package socket

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// TestConformance is K1 in virtual time: the suite through both ends of the protocol, over memory.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{Bubble: true, Unit: time.Millisecond, Open: func(t testing.TB) conformance.Backend {
		store := memory.New(memory.Options{})
		hub := hubOver(t, store.Parts())
		return conformance.Backend{
			Connect: func() (rpw.Parts, error) { return Pipe(hub) },
			Flush:   store.Flush,
		}
	}})
}

// TestConformanceTwoHops is K1 two hops deep: a socket over a socket over memory.
func TestConformanceTwoHops(t *testing.T) {
	conformance.Run(t, conformance.Harness{Bubble: true, Unit: time.Millisecond, Open: func(t testing.TB) conformance.Backend {
		store := memory.New(memory.Options{})
		first, err := Pipe(hubOver(t, store.Parts()))
		require.NoError(t, err)
		second := hubOver(t, first)
		return conformance.Backend{
			Connect: func() (rpw.Parts, error) { return Pipe(second) },
			Flush:   store.Flush,
		}
	}})
}

// hubOver opens a hub, closed with the test.
func hubOver(t testing.TB, parts rpw.Parts) *rpw.Hub {
	t.Helper()
	hub, err := rpw.New(parts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hub.Close()) })
	return hub
}
