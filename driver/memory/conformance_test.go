package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/driver/memory"
)

func backend(testing.TB) conformance.Backend {
	store := memory.New(memory.Options{})
	return conformance.Backend{
		Connect: func() (rpw.Parts, error) { return store.Parts(), nil },
		Flush:   store.Flush,
	}
}

// TestConformance runs the suite in virtual time. A goroutine or timer that a case leaves behind fails it (E3).
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{Open: backend, Unit: time.Millisecond, Bubble: true})
}

var inBubble = conformance.Harness{Open: backend, Unit: time.Millisecond, Bubble: true}

// TestModel replays random verbs in virtual time, where leases, delays and times to live end between them.
func TestModel(t *testing.T) { conformance.RunModel(t, inBubble) }

// TestModelInRealTime replays them without bubbles, as it is done on stores that are other processes.
func TestModelInRealTime(t *testing.T) {
	conformance.RunModel(t, conformance.Harness{Open: backend, Unit: time.Millisecond})
}

func FuzzModel(f *testing.F) { conformance.FuzzModel(f, inBubble) }

// TestVirtualTime is E7: a day passes in a test of a user at once.
func TestVirtualTime(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		h, err := rpw.New(memory.New(memory.Options{}).Parts())
		require.NoError(t, err)
		defer h.Close()
		ctx := t.Context()
		require.NoError(t, rpw.Set(ctx, h, "k", 1, rpw.TTL(24*time.Hour)))
		time.Sleep(24*time.Hour - time.Millisecond)
		_, ok, err := rpw.Get[int](ctx, h, "k")
		require.NoError(t, err)
		assert.True(t, ok, "a millisecond before the end")
		time.Sleep(time.Millisecond)
		_, ok, err = rpw.Get[int](ctx, h, "k")
		require.NoError(t, err)
		assert.False(t, ok, "at the end, to the millisecond")
	})
	assert.Less(t, time.Since(began), time.Minute)
}
