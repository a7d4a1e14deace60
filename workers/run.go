package workers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/closing"
	"github.com/redis-process-worker/rpw/internal/lease"
	"github.com/redis-process-worker/rpw/internal/timer"
)

// Bounds of the end of a worker, from the end of the grace on: one second in all, even if the backend hangs.
const (
	stopReturn  = 400 * time.Millisecond // for handlers to return once their ctx has ended
	stopSettle  = 800 * time.Millisecond // for handing back
	stopOffline = 200 * time.Millisecond // for signing off, at least
	stopAll     = time.Second
)

var errStopping = rpw.Errorf(rpw.ErrClosed, "the worker is stopping")

// session is a worker that runs.
type session struct {
	*Worker
	soft     context.Context // ends when the worker is asked to stop
	stop     context.CancelCauseFunc
	handling context.Context // of handlers: ends with the grace
	hard     context.Context // ends with the session
	hurry    chan struct{}   // closed when the hub cannot wait for the grace
	done     chan struct{}   // closed at the end of Run

	keeper *lease.Keeper[*attempt]
	pipe   *pipeline
	beater *beater

	mu       sync.Mutex
	attempts map[rpw.Lease]*attempt // also of those whose result is on its way to the store
	ready    []*attempt             // whose handlers have not been called yet
	coming   bool                   // a goroutine is on its way to call them
	taken    int                    // slots: handlers of actions that have not returned
	leading  map[rpw.Lease]*attempt // of singletons; they take no slot
	tasks    map[*service]time.Time // services that run, and since when
	early    []rpw.Signal           // of leases that are not known yet
	unknown  map[kind]bool          // actions without a handler that were logged
	faults   map[string]error       // why the status is error, by what it is about
	errs     []error                // for Run to return
	busy     int                    // stream messages being handled
	live     int                    // goroutines, and attempts without one, that stopping waits for
	quiet    chan struct{}          // closed when live is 0 in the end; nil before
	freed    chan struct{}          // holds a token when a slot may be free
}

// Run runs the worker until ctx ends or the hub closes, and then stops it gracefully: it claims nothing more, gives
// handlers the grace, ends their ctx, hands back what they have not finished, and returns, at most about a second after the
// grace. Stats tells what was handed back. The error is nil after a stop in which every handler returned; it tells of mistakes in what
// was registered, of a service that failed for good, and of handlers that did not return: they still run. A worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	s, err := w.begin(ctx)
	if err != nil {
		return err
	}
	defer w.end()
	defer s.stop(errStopping)
	defer close(s.done)
	remove, err := w.hub.OnClose(s.hubCloses)
	if err != nil {
		return err
	}
	defer remove()
	return s.run()
}

func (w *Worker) begin(ctx context.Context) (*session, error) {
	if w == nil {
		return nil, rpw.Errorf(rpw.ErrInvalid, "the worker is nil; make it with New")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.handlers == nil:
		return nil, w.fault("run", rpw.Errorf(rpw.ErrInvalid, "the worker is empty; make it with New"))
	case ctx == nil:
		return nil, w.fault("run", rpw.Errorf(rpw.ErrInvalid, "the context is nil"))
	case len(w.mistakes) > 0:
		return nil, errors.Join(w.mistakes...)
	case w.phase == running:
		return nil, w.fault("run", rpw.Errorf(rpw.ErrConflict, "the worker runs already"))
	case w.phase == ended:
		return nil, w.fault("run", rpw.Errorf(rpw.ErrClosed, "the worker has stopped; make a new one"))
	}
	w.phase = running
	w.session = &session{
		Worker: w, hurry: make(chan struct{}), done: make(chan struct{}), freed: make(chan struct{}, 1),
		attempts: make(map[rpw.Lease]*attempt), leading: make(map[rpw.Lease]*attempt), tasks: make(map[*service]time.Time),
		unknown: make(map[kind]bool), faults: make(map[string]error),
	}
	w.session.soft, w.session.stop = context.WithCancelCause(rpw.WithOrigin(ctx, rpw.Origin{Worker: w.config.Name}))
	return w.session, nil
}

func (w *Worker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = ended
}

// run starts the parts of the session and ends them again.
func (s *session) run() error {
	hard, hardStop := context.WithCancelCause(context.WithoutCancel(s.soft))
	handling, endHandling := context.WithCancelCause(hard)
	s.hard, s.handling = hard, handling
	s.keeper = lease.New(s.renew, isLost, rpw.ErrLeaseLost, rpw.MaxBatch)
	s.pipe = newPipeline(s.store, s.ended)
	s.beater = newBeater(s)
	var parts sync.WaitGroup
	parts.Go(func() { s.pipe.run(hard) })
	parts.Go(s.beater.run)
	if len(s.queues) > 0 {
		s.spawn(s.claimAll)
	}
	for _, service := range s.services {
		s.spawn(func() { s.supervise(service) })
	}

	<-s.soft.Done()
	s.stop(errStopping)
	asked := time.Now()
	s.windDown(func() { endHandling(errStopping) })
	s.beater.signOff(min(stopAll, max(stopOffline, time.Until(asked.Add(s.config.Grace+stopAll)))))
	hardStop(errStopping)
	s.keeper.Close()
	parts.Wait()
	return s.verdict()
}

// windDown waits for the code of users to return, first for the grace, then without a future.
func (s *session) windDown(endHandling func()) {
	quiet := s.quiesce()
	if s.await(quiet, s.config.Grace, s.hurry) {
		return
	}
	endHandling()
	over := time.Now()
	if s.await(quiet, stopReturn, nil) {
		return
	}
	ctx, cancel := context.WithDeadline(s.hard, over.Add(stopSettle))
	defer cancel()
	s.handBackAll(ctx)
	s.await(quiet, time.Until(over.Add(stopSettle)), nil)
}

// await waits for quiet, for at most d, or until cut.
func (s *session) await(quiet <-chan struct{}, d time.Duration, cut <-chan struct{}) bool {
	over, stop := timer.After(d)
	defer stop()
	select {
	case <-quiet:
		return true
	case <-over:
	case <-cut:
	}
	return false
}

// verdict is what Run returns.
func (s *session) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := slices.Clone(s.errs)
	if s.live > 0 {
		errs = append(errs, s.fault("stop", rpw.Errorf(rpw.ErrClosed,
			"%d handlers or services did not return in time and still run; what they held was handed back, or goes to others when its lease ends", s.live)))
	}
	return errors.Join(errs...)
}

// hubCloses stops the session before the hub closes, in the time that ctx gives.
func (s *session) hubCloses(ctx context.Context) error {
	s.stop(rpw.Errorf(rpw.ErrClosed, "the hub closes"))
	return closing.Await(ctx, s.done, stopAll+stopOffline, func() { close(s.hurry) })
}

// fail stops the session because of err, which Run returns.
func (s *session) fail(err error) {
	s.note(err)
	s.stop(err)
}

func (s *session) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

// spawn runs f in a goroutine that stopping waits for.
func (s *session) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.launch(f)
}

// launch is spawn for who holds s.mu.
func (s *session) launch(f func()) {
	s.live++
	go func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.left()
		}()
		f()
	}()
}

// left is called with s.mu held.
func (s *session) left() {
	if s.live--; s.live == 0 && s.quiet != nil {
		close(s.quiet)
	}
}

// quiesce returns a channel that is closed once everything spawned has returned. What is spawned after it, is spawned
// by something that still runs.
func (s *session) quiesce() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = make(chan struct{})
	if s.live == 0 {
		close(s.quiet)
	}
	return s.quiet
}

// running is how many handlers of actions have not returned.
func (s *session) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// setFault says why the worker's status is error; nil: no longer because of this.
func (s *session) setFault(about string, err error) {
	s.mu.Lock()
	if err != nil {
		s.faults[about] = err
	} else {
		delete(s.faults, about)
	}
	s.mu.Unlock()
	s.beater.poke()
}
