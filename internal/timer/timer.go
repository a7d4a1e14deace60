// Package timer is about timers that can be due when they are made.
package timer

import "time"

// After returns a channel that tells when d has passed, and what stops that. If d is over already the channel is closed, not that of a timer: in a bubble of
// testing/synctest, two goroutines that at the same time find their timers due in a select crash the race detector (Go 1.26: both run on the one
// context that the bubble has for its timers).
func After(d time.Duration) (over <-chan time.Time, stop func() bool) {
	if d <= 0 {
		due := make(chan time.Time)
		close(due)
		return due, func() bool { return false }
	}
	t := time.NewTimer(d)
	return t.C, t.Stop
}
