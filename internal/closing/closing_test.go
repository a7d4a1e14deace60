package closing_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw/internal/closing"
)

func TestAwait(t *testing.T) {
	tests := map[string]struct {
		ends    time.Duration // by itself; 0: only in a hurry
		hurried time.Duration // how long it takes then; 0: never ends
		took    time.Duration
		err     error
	}{
		"in time":      {ends: time.Second, took: time.Second},
		"hurried":      {hurried: time.Second, took: 9 * time.Second},
		"never":        {took: 10 * time.Second, err: context.DeadlineExceeded},
		"just in time": {ends: 9 * time.Second, took: 9 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				done := make(chan struct{})
				if test.ends > 0 {
					time.AfterFunc(test.ends, func() { close(done) })
				}
				start := time.Now()
				err := closing.Await(ctx, done, 2*time.Second, func() {
					if test.hurried > 0 {
						time.AfterFunc(test.hurried, func() { close(done) })
					}
				})
				assert.ErrorIs(t, err, test.err)
				assert.Equal(t, test.took, time.Since(start))
			})
		})
	}
}
