package redis

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// undated is a context that keeps its deadline to itself.
type undated struct{ context.Context }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

// pause waits, with jitter, at most d; false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ended waits until tasks have ended, or ctx.
func ended(ctx context.Context, tasks *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { tasks.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
