package workers

import "sync/atomic"

// Stats counts what a worker has done since it began to run.
type Stats struct {
	Running    int   // handlers of actions that have not returned yet
	Claimed    int64 // attempts begun
	Completed  int64 // actions completed
	Failed     int64 // attempts that failed
	Cancelled  int64 // actions that stopped because of a cancel
	Lost       int64 // attempts whose lease was lost, or whose result could not be stored in time
	HandedBack int64 // actions handed back untouched
	Panics     int64 // of handlers, services and consumers
}

type counters struct {
	claimed, completed, failed, cancelled, lost, handedBack, panics atomic.Int64
}

// Stats returns the counts so far; it can be called at any time.
func (w *Worker) Stats() Stats {
	s := Stats{
		Claimed: w.stats.claimed.Load(), Completed: w.stats.completed.Load(), Failed: w.stats.failed.Load(),
		Cancelled: w.stats.cancelled.Load(), Lost: w.stats.lost.Load(), HandedBack: w.stats.handedBack.Load(), Panics: w.stats.panics.Load(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.session != nil {
		s.Running = w.session.running()
	}
	return s
}
