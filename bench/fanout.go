package main

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

// reader counts what one subscriber got.
type reader struct {
	got atomic.Int64
	_   [56]byte // no reader shares a line of the processor's cache with another
}

// lead is how far a publisher may be ahead of the slowest subscriber: what is measured is what arrives.
const lead = 4_096

// fanOut is a trial with one publisher and several subscribers who all get everything; the items are deliveries, and the latency is that of
// the call that publishes.
func (t *trial) fanOut(ctx context.Context, readers []*reader, publish func() error) (Sample, error) {
	published := int64(0)
	run := func(length time.Duration) (done tally, err error) {
		first := published
		for end := time.Now().Add(length); time.Now().Before(end); {
			began := time.Now()
			if err := publish(); err != nil {
				return done, err
			}
			done.took = append(done.took, time.Since(began))
			for range lead/16 - 1 {
				if err := publish(); err != nil {
					return done, err
				}
			}
			published += lead / 16
			if err := await(ctx, readers, published-lead); err != nil {
				return done, err
			}
		}
		err = await(ctx, readers, published)
		done.items = int(published-first) * len(readers)
		return done, err
	}
	if _, err := run(warmUp); err != nil {
		return nil, err
	}
	return t.measure(ctx, func() (tally, error) { return run(t.Length) })
}

// await waits until each reader has got n.
func await(ctx context.Context, readers []*reader, n int64) error {
	for ctx.Err() == nil {
		slowest := int64(math.MaxInt64)
		for _, r := range readers {
			slowest = min(slowest, r.got.Load())
		}
		if slowest >= n {
			return nil
		}
		runtime.Gosched()
	}
	return context.Cause(ctx)
}
