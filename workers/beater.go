package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

const (
	missedBeats = 3           // after so many a worker shows as offline
	beatSpacing = time.Second // between beats because something changed, at least
	maxEarly    = 64          // signals that came before their action
	maxTasks    = 100         // shown in the registry
)

// beater keeps the worker in the registry and receives its signals: each beat waits for some, until the next is due. A change of
// what the worker does cuts a wait short, at most once a second.
type beater struct {
	s    *session
	info rpw.WorkerInfo // what does not change

	mu    sync.Mutex
	last  time.Time          // when the last beat left
	cut   context.CancelFunc // ends the wait under way
	due   bool               // something has changed since
	timer *time.Timer        // cuts the wait
	ended bool

	ctx  context.Context // of the beats
	stop context.CancelFunc
	done chan struct{}
}

func newBeater(s *session) *beater {
	c := &s.config
	b := &beater{s: s, cut: func() {}, done: make(chan struct{}), info: rpw.WorkerInfo{ID: c.ID, Name: c.Name, Started: time.Now(), PID: os.Getpid(), Slots: c.Concurrency, Queues: s.queues, Meta: c.Meta}}
	b.info.Host, _ = os.Hostname()
	b.ctx, b.stop = context.WithCancel(s.hard)
	b.timer = time.AfterFunc(time.Hour, b.fire)
	b.timer.Stop()
	return b
}

// run beats until signOff.
func (b *beater) run() {
	defer close(b.done)
	ctx := b.ctx
	interval := b.s.config.Heartbeat
	trouble := outage{log: b.s.config.Logger, what: "send a heartbeat"}
	var after uint64
	var wait time.Duration // 0: the store may not know this worker, and then sends it no signals
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, interval+advanceTimeout)
		b.begin(cancel)
		signals, err := b.s.store.Heartbeat(call, rpw.Heartbeat{Worker: b.describe(), TTL: missedBeats * interval, After: after, Wait: wait})
		wasCut := b.wasCut()
		cancel()
		for _, signal := range signals {
			after = max(after, signal.Seq)
			b.s.signal(signal)
		}
		switch {
		case err == nil:
			trouble.over()
			if wait == 0 {
				wait = interval
				b.s.catchUp(ctx)
			}
		case ctx.Err() != nil, errors.Is(err, errors.ErrUnsupported), errors.Is(err, rpw.ErrClosed):
			return
		case !wasCut:
			wait = 0
			trouble.pause(ctx, err)
		}
	}
}

func (b *beater) begin(cut context.CancelFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.cut, b.due = time.Now(), cut, false
	b.timer.Stop()
}

// poke lets the next beat leave soon, because something has changed.
func (b *beater) poke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.due && !b.ended {
		b.due = true
		b.timer.Reset(time.Until(b.last.Add(beatSpacing)))
	}
}

func (b *beater) fire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.due {
		b.cut()
	}
}

// wasCut reports whether fire ended the wait, and stops it from doing so later.
func (b *beater) wasCut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = func() {}
	return b.due && time.Since(b.last) >= beatSpacing
}

// signOff ends the beats and takes the worker off the registry, within d.
func (b *beater) signOff(d time.Duration) {
	b.mu.Lock()
	b.ended = true
	b.timer.Stop()
	b.mu.Unlock()
	b.stop()
	<-b.done
	ctx, cancel := context.WithTimeout(b.s.hard, d)
	defer cancel()
	info := b.info
	info.Status = rpw.WorkerOffline
	b.s.store.Heartbeat(ctx, rpw.Heartbeat{Worker: info}) // if it does not arrive, the worker shows as offline after its TTL
}

// describe is the worker as it is now.
func (b *beater) describe() rpw.WorkerInfo {
	s, info := b.s, b.info
	s.mu.Lock()
	defer s.mu.Unlock()
	info.Status = rpw.WorkerIdle
	if len(s.attempts) > 0 || s.busy > 0 {
		info.Status = rpw.WorkerBusy
	}
	for _, about := range slices.Sorted(maps.Keys(s.faults)) {
		info.Status = rpw.WorkerError
		info.Error += fmt.Sprintf("%s: %v\n", about, s.faults[about])
	}
	info.Error = strings.TrimSuffix(info.Error, "\n")
	info.Running = make([]rpw.WorkerTask, 0, len(s.attempts)+len(s.tasks))
	for _, a := range s.attempts {
		info.Running = append(info.Running, rpw.WorkerTask{Kind: "action", Name: a.claimed.Ref.String(), Since: a.began})
	}
	for service, since := range s.tasks {
		info.Running = append(info.Running, rpw.WorkerTask{Kind: service.kind, Name: service.name, Since: since})
	}
	slices.SortFunc(info.Running, func(a, b rpw.WorkerTask) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name)) })
	info.Running = info.Running[max(0, len(info.Running)-maxTasks):]
	return info
}

// signal heeds a signal of the store.
func (s *session) signal(signal rpw.Signal) {
	if signal.Kind != rpw.SignalCancel {
		return
	}
	s.mu.Lock()
	a := cmp.Or(s.attempts[signal.Lease], s.leading[signal.Lease])
	if a == nil { // finished, or its claim is still on the way here
		s.early = append(s.early[max(0, len(s.early)-maxEarly+1):], signal)
	}
	s.mu.Unlock()
	if a != nil {
		a.requestCancel()
	}
}

// catchUp learns of the cancels for which there was no signal, as the store did not know this worker.
func (s *session) catchUp(ctx context.Context) {
	s.mu.Lock()
	held := slices.AppendSeq(slices.Collect(maps.Values(s.attempts)), maps.Values(s.leading))
	s.mu.Unlock()
	for attempts := range slices.Chunk(held, rpw.MaxBatch) {
		call, cancel := context.WithTimeout(ctx, advanceTimeout)
		s.renew(call, attempts) // the answers tell; what fails the keeper repeats
		cancel()
	}
}
