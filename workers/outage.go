package workers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/timer"
)

// Pauses between repeats of what failed: full jitter.
var (
	retries = rpw.Backoff{First: 50 * time.Millisecond, Max: time.Second, Jitter: 1}
	refused = rpw.Backoff{First: 500 * time.Millisecond, Max: 5 * time.Second, Jitter: 1} // by a backend that is there
)

// How often a lasting outage is logged, and how close two lines may be while it comes and goes.
const (
	logEvery   = 30 * time.Second
	logSpacing = time.Second
)

// isTransient: the same call may work later.
func isTransient(err error) bool {
	return errors.Is(err, rpw.ErrUnavailable) || errors.Is(err, rpw.ErrUncertain) || errors.Is(err, rpw.ErrFull) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// outage paces and logs a loop whose calls fail.
type outage struct {
	log      *slog.Logger
	what     string
	failures int
	since    time.Time
	logged   time.Time
	told     bool // of this outage
}

// pause waits before the next try after err.
func (o *outage) pause(ctx context.Context, err error) {
	now := time.Now()
	if o.failures++; o.failures == 1 {
		o.since = now
	}
	spacing := logSpacing
	if o.told {
		spacing = logEvery
	}
	if now.Sub(o.logged) >= spacing {
		o.logged, o.told = now, true
		o.log.WarnContext(ctx, "rpw: a worker cannot "+o.what+"; it goes on trying", "err", err, "failures", o.failures, "since", o.since)
	}
	pauses := retries
	if !isTransient(err) || errors.Is(err, rpw.ErrFull) {
		pauses = refused
	}
	sleep(ctx, pauses.RetryDelay(o.failures, nil))
}

// over tells that a try has worked.
func (o *outage) over() {
	if o.told {
		o.log.Info("rpw: a worker can "+o.what+" again", "failures", o.failures, "after", time.Since(o.since))
	}
	o.failures, o.told = 0, false
}

// sleep waits for d; false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	over, stop := timer.After(d)
	defer stop()
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
