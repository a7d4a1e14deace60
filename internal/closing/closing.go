// Package closing lets something that runs end together with a Hub: gracefully while there is time, in a hurry before it is over.
package closing

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw/internal/timer"
)

// Await waits until done is closed. When all but reserve of the time that ctx gives is over it calls hurry, once, and goes
// on waiting until ctx ends, whose error it then returns.
func Await(ctx context.Context, done <-chan struct{}, reserve time.Duration, hurry func()) error {
	var late <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok {
		over, stop := timer.After(time.Until(deadline) - reserve)
		defer stop()
		late = over
	}
	select {
	case <-done:
		return nil
	case <-late:
	case <-ctx.Done():
	}
	hurry()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
