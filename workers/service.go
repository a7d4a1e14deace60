package workers

import (
	"cmp"
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Back-off between restarts of a service.
const (
	DefaultRestartFirst = time.Second
	DefaultRestartMax   = time.Minute
	healthyAfter        = time.Minute // a service that ran so long begins a new row of failures
)

// How a singleton service is stored: as an action that never completes. It is claimed by one worker at a time.
const (
	singletonName  = "rpw.service"
	singletonQueue = "rpw.service/"
	singletonID    = "leader"
	standby        = time.Minute // how long a claim waits before the action is looked after again
)

// service is something that runs as long as the worker.
type service struct {
	kind, name string // "service" or "stream"
	run        func(ctx context.Context, s *session) error
	backoff    rpw.Backoff
	singleton  bool
	mistake    error
}

// ServiceOption says how a service is run.
type ServiceOption func(*service)

// RestartBackoff says how long to wait before a service that failed is started again; it begins anew after one that ran for a minute. The
// default, also where First or Max is 0, is from DefaultRestartFirst to DefaultRestartMax.
func RestartBackoff(b rpw.Backoff) ServiceOption {
	return func(s *service) {
		if b.First < 0 || b.Max < 0 || b.Max != 0 && b.Max < b.First || !(b.Jitter <= 1) {
			s.mistake = rpw.Errorf(rpw.ErrInvalid, "the back-off %+v is no back-off: First and Max are positive and in order, Jitter is at most 1", b)
		}
		s.backoff = restarts(b)
	}
}

// restarts is b with the defaults of services.
func restarts(b rpw.Backoff) rpw.Backoff {
	b.First = cmp.Or(b.First, DefaultRestartFirst)
	b.Max = cmp.Or(b.Max, max(b.First, DefaultRestartMax))
	return b
}

// Singleton lets the service run in one worker at a time, of all that register a singleton of its name: the holder of a lease. When that
// worker stops, another one takes over at once; when it dies, within the lease. The service's ctx ends, with cause
// rpw.ErrLeaseLost, when the lease is lost. What it writes elsewhere is fenced by the Token of actions.Current.
//
// The lease is that of an action named "rpw.service", id "leader", in the queue "rpw.service/" + name. Cancelling it stops the service everywhere until it is retried.
func Singleton() ServiceOption { return func(s *service) { s.singleton = true } }

// Service lets w run fn under supervision for as long as the worker runs: ctx ends when the worker is asked to stop, and fn has the grace to return. It
// is restarted with back-off when it returns an error or panics, and meanwhile the worker's status is error. After nil it has finished here and is
// left alone. After an error marked with rpw.Permanent the whole worker stops, and Run returns it. Mistakes are
// reported as by Handle; a name can be taken once.
func (w *Worker) Service(name string, fn func(ctx context.Context) error, opts ...ServiceOption) error {
	svc := &service{kind: "service", name: name, backoff: restarts(rpw.Backoff{})}
	err := rpw.CheckName("service", singletonQueue+name)
	if name == "" {
		err = rpw.CheckName("service", name)
	}
	if fn == nil {
		err = rpw.Errorf(rpw.ErrInvalid, "the service %s is nil", rpw.QuoteName(name))
	}
	for _, opt := range opts {
		if opt == nil {
			err = rpw.Errorf(rpw.ErrInvalid, "an option is nil")
			continue
		}
		opt(svc)
	}
	svc.run = func(ctx context.Context, _ *session) error { return fn(ctx) }
	return w.addService(svc, cmp.Or(err, svc.mistake))
}

// Stream lets w consume a stream as a member of a group, beside its actions: rpw.Stream.Consume under supervision. In c an empty Group is the
// worker's name, an empty Name its id, a zero Grace its grace. A gap that c's policy does not allow, settings other than the group's and
// other mistakes stop the worker, and Run returns them. Mistakes in the registration are reported as by Handle.
func Stream[T any](w *Worker, stream rpw.Stream[T], c rpw.Consumer, handle func(ctx context.Context, m rpw.Message[T]) error) error {
	var err error
	if handle == nil {
		err = rpw.Errorf(rpw.ErrInvalid, "the handler of stream %s is nil", rpw.QuoteName(stream.Name()))
	}
	if w == nil {
		return w.register(err, nil)
	}
	c.Group = cmp.Or(c.Group, w.config.Name)
	c.Name = cmp.Or(c.Name, w.config.ID)
	c.Grace = cmp.Or(c.Grace, w.config.Grace)
	run := func(ctx context.Context, s *session) error {
		var handling atomic.Int32
		err := stream.Consume(ctx, w.hub, c, func(ctx context.Context, m rpw.Message[T]) error {
			handling.Add(1)
			defer handling.Add(-1)
			s.handlingMessage(1)
			defer s.handlingMessage(-1)
			return handle(ctx, m)
		})
		if errors.Is(err, rpw.ErrClosed) && handling.Load() == 0 { // the hub closes, and Consume was told before the worker
			s.stop(err)
			return nil
		}
		if _, gap := errors.AsType[*rpw.GapError](err); gap || isFatal(err) || errors.Is(err, rpw.ErrConflict) {
			return rpw.Permanent(err)
		}
		return err
	}
	return w.addService(&service{kind: "stream", name: stream.Name() + "/" + c.Group, run: run, backoff: restarts(rpw.Backoff{})}, err)
}

func (s *session) handlingMessage(n int) {
	s.mu.Lock()
	s.busy += n
	s.mu.Unlock()
	s.beater.poke()
}

func (w *Worker) addService(svc *service, err error) error {
	return w.register(err, func() error {
		for _, other := range w.services {
			if other.kind == svc.kind && other.name == svc.name {
				return rpw.Errorf(rpw.ErrConflict, "%s %s is registered already", svc.kind, rpw.QuoteName(svc.name))
			}
		}
		w.services = append(w.services, svc)
		return nil
	})
}

// supervise runs a service again and again until it has finished or the worker is asked to stop.
func (s *session) supervise(svc *service) {
	ctx := s.soft
	run := s.perform
	if svc.singleton {
		run = s.lead
	}
	for failures := 1; ; failures++ {
		began := time.Now()
		err := run(ctx, svc)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			if svc.kind == "stream" { // Consume does not mind being stopped; this is something else
				s.note(err)
			}
			return
		case rpw.IsPermanent(err):
			s.fail(err)
			return
		case time.Since(began) >= healthyAfter:
			failures = 1
		}
		pause := svc.backoff.RetryDelay(failures, err)
		s.config.Logger.ErrorContext(ctx, "rpw: a "+svc.kind+" of a worker failed and will be restarted",
			"worker", s.config.Name, svc.kind, svc.name, "err", err, "after", time.Since(began), "pause", pause)
		s.setFault(svc.kind+" "+svc.name, err)
		if !sleep(ctx, pause) {
			return
		}
		s.setFault(svc.kind+" "+svc.name, nil)
	}
}

// perform runs a service once, in a goroutine of its own: it may end it with runtime.Goexit.
func (s *session) perform(ctx context.Context, svc *service) error {
	s.setTask(svc, true)
	defer s.setTask(svc, false)
	ended := make(chan error)
	go func() {
		err := errGoexit
		defer func() {
			if p := recover(); p != nil {
				err = s.caught(ctx, p)
			}
			ended <- err
		}()
		err = svc.run(ctx, s)
	}()
	return <-ended
}

// setTask says whether a service runs, for the registry.
func (s *session) setTask(svc *service, runs bool) {
	s.mu.Lock()
	if runs {
		s.tasks[svc] = time.Now()
	} else {
		delete(s.tasks, svc)
	}
	s.mu.Unlock()
	s.beater.poke()
}

// lead runs a singleton once, when it is this worker's turn.
func (s *session) lead(ctx context.Context, svc *service) error {
	c, err := s.awaitLead(ctx, svc.name)
	if err != nil {
		return err
	}
	a := &attempt{s: s, claimed: c, began: time.Now()}
	ctx, a.cancel = context.WithCancelCause(ctx)
	defer a.cancel(nil)
	s.hold(s.leading, a)
	err = s.perform(a.context(ctx), svc)
	s.drop(s.leading, a)
	if a.lost.Load() {
		return rpw.Errorf(rpw.ErrLeaseLost, "another worker runs the service now: %w", cmp.Or(err, rpw.ErrLeaseLost))
	}
	move := rpw.Move{Kind: rpw.Giveback, Lease: c.Lease}
	if a.cancelled.Load() {
		move.Kind = rpw.AcceptCancel
	}
	s.pipe.advance(move) // if it does not arrive, the lease ends
	return err
}

// awaitLead waits for the lease of a singleton, and sees to it that there is one.
func (s *session) awaitLead(ctx context.Context, name string) (*rpw.Claimed, error) {
	trouble := outage{log: s.config.Logger, what: "take its turn in service " + rpw.QuoteName(name)}
	ref := rpw.ActionRef{Queue: singletonQueue + name, ID: singletonID}
	keep := rpw.KeepActions{Completed: rpw.NoTTL, Failed: rpw.NoTTL, Cancelled: rpw.NoTTL}
	specs := []rpw.ActionSpec{{Ref: ref, Name: singletonName, MaxAttempts: math.MaxInt32, Keep: keep}}
	for {
		answers, err := s.store.Enqueue(ctx, specs)
		if err == nil {
			err = answers[0].Err
		}
		var claimed []rpw.Claimed
		if err == nil {
			claimed, err = s.store.Claim(ctx, rpw.ClaimRequest{Queues: []string{ref.Queue}, Worker: s.config.ID, Lease: s.config.Lease, Wait: standby})
		}
		switch {
		case len(claimed) > 0:
			trouble.over()
			return &claimed[0], nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			trouble.over()
		case isFatal(err), errors.Is(err, rpw.ErrConflict):
			return nil, rpw.Permanent(err)
		default:
			trouble.pause(ctx, err)
		}
	}
}
