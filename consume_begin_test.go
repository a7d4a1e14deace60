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
			slots: make(chan struct{}, 1), running: make(map[Receipt]*job),
			handle: func(context.Context, Delivery) error { called++; return nil },
		}
		m.keeper = lease.New(m.renew, func(error) bool { return false }, ErrLeaseLost, MaxBatch)
		j := &job{}
		j.Context, j.cancel = context.WithCancelCause(t.Context())
		if cause != nil {
			j.cancel(cause)
		}
		m.slots <- struct{}{}
		m.begin(j)
		m.keeper.Close()
		assert.Equal(t, cause == nil, called == 1, cause)
		assert.Empty(t, m.slots, "the slot is free")
	}
}
