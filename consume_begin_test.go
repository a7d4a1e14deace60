package rpw

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw/internal/lease"
)

// TestConsumeBeginsNothingHandedBack: on a busy machine a goroutine can begin late. Its handler is not called with what was handed back meanwhile, nor with
// what is lost.
func TestConsumeBeginsNothingHandedBack(t *testing.T) {
	for _, cause := range []error{nil, ErrClosed, ErrLeaseLost} {
		called := 0
		m := &member{
			slots: make(chan struct{}, 1), running: make(map[Receipt]context.CancelCauseFunc),
			handle: func(context.Context, Delivery) error { called++; return nil },
		}
		m.keeper = lease.New(m.renew, func(error) bool { return false }, ErrLeaseLost, MaxBatch)
		handling, cancel := context.WithCancelCause(t.Context())
		if cause != nil {
			cancel(cause)
		}
		m.slots <- struct{}{}
		m.begin(handling, cancel, Delivery{})
		m.keeper.Close()
		assert.Equal(t, cause == nil, called == 1, cause)
		assert.Empty(t, m.slots, "the slot is free")
	}
}
