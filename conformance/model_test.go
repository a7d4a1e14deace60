package conformance_test

import (
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/driver/memory"
)

func inMemory(bubble bool) conformance.Harness {
	return conformance.Harness{
		Open: func(testing.TB) conformance.Backend {
			store := memory.New(memory.Options{})
			return conformance.Backend{Connect: func() (rpw.Parts, error) { return store.Parts(), nil }}
		},
		Unit:   time.Millisecond,
		Bubble: bubble,
	}
}

func TestModelInVirtualTime(t *testing.T) { conformance.RunModel(t, inMemory(true)) }
func TestModelInRealTime(t *testing.T)    { conformance.RunModel(t, inMemory(false)) }
func FuzzModel(f *testing.F)              { conformance.FuzzModel(f, inMemory(true)) }
