package timer_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw/internal/timer"
)

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{-1, 0, time.Second} {
			began := time.Now()
			over, stop := timer.After(d)
			<-over
			assert.Equal(t, max(0, d), time.Since(began))
			assert.False(t, stop())
		}
		over, stop := timer.After(time.Second)
		assert.True(t, stop())
		time.Sleep(time.Minute)
		select {
		case <-over:
			t.Error("it was stopped")
		default:
		}
	})
}

// TestManyThatAreDue crashes, with the race detector, where these are timers.
func TestManyThatAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waiting sync.WaitGroup
		for range 4 {
			waiting.Go(func() {
				for range 20_000 {
					over, stop := timer.After(0)
					select {
					case <-over:
					case <-t.Context().Done():
					}
					stop()
				}
			})
		}
		waiting.Wait()
	})
}
