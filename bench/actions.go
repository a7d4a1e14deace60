package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/workers"
)

// actionsArea is the life of an action from the call that starts it to its stored result.
var actionsArea = area{
	name:  "actions",
	title: "Actions from start to stored result",
	notes: "64 goroutines start one action a call, with 256 bytes, while one worker with 100 slots in the same process runs them; the handler does nothing. " +
		"At most 5,000 actions wait or run at a time; it is measured when that many were finished before. Latency is that of the call that " +
		"starts one: short where the callers wait for room most of the time.",
	contestants: []contestant{
		{name: "asynq, kept", redis: true, run: actionsAsynq(true), about: "concurrency 100, a connection for each of its goroutines and callers; retention of a day, and a result"},
		{name: "rpw", redis: true, run: actionsRPW(workload{}), about: "results are kept, every transition can be watched, leases are fenced"},
		{name: "BullMQ, kept", redis: true, node: true, run: bullmq("actions"), about: "concurrency 100; finished jobs and results are kept, its default; producers and worker share one process of Node, so one thread"},
		{name: "asynq, nothing kept", redis: true, run: actionsAsynq(false)},
		{name: "limit: raw stream", redis: true, run: actionsRaw, about: "rueidis XADD, XREADGROUP 100 and XACK: no state, no result, no fence"},
	},
	targets: []target{
		{id: "act-asynq", what: "actions, mixed, to asynq with retention and result", metric: Rate, of: "rpw", to: "asynq, kept", want: 6, beyond: 10},
		{id: "act-bullmq", what: "the same to BullMQ, kept", metric: Rate, of: "rpw", to: "BullMQ, kept", want: 3.5, beyond: 6},
		{id: "act-cmds", what: "Redis commands an action, mixed", metric: Commands, of: "rpw", want: 5, beyond: 3, atMost: true},
	},
}

const (
	slots      = 100   // of a worker
	maxBacklog = 5_000 // actions that wait or run
)

// noop is the action of these benchmarks.
var noop = actions.Define[json.RawMessage, int]("noop")

// quiet keeps logs out of what is measured.
var quiet = slog.New(slog.DiscardHandler)

// backlog bounds what was started and is not finished, and counts what is.
type backlog struct {
	room     chan struct{}
	finished atomic.Int64
	settled  int64 // the steady state is there when so many were finished
}

func newBacklog() *backlog {
	return &backlog{room: make(chan struct{}, maxBacklog), settled: maxBacklog}
}

// finish is called by the worker for each action.
func (b *backlog) finish() {
	<-b.room
	b.finished.Add(1)
}

// mixed is a trial with producers and a worker at once, in a steady state: what is finished meanwhile is counted.
func (t *trial) mixed(ctx context.Context, b *backlog, start func() error) (Sample, error) {
	over := make(chan struct{})
	produced := make(chan error, 1)
	var starts latencies
	go func() {
		_, err := flood(callers, 1, time.Hour, func() error {
			select {
			case b.room <- struct{}{}:
				return starts.of(start)
			case <-over:
				return errOver
			}
		})
		produced <- err
	}()
	s, err := t.measureAfter(ctx, func() bool { return b.finished.Load() >= b.settled }, func() (tally, error) {
		starts.take()
		before := b.finished.Load()
		time.Sleep(t.Length)
		return tally{items: int(b.finished.Load() - before), took: starts.take()}, nil
	})
	close(over)
	if failed := <-produced; !errors.Is(failed, errOver) {
		err = errors.Join(err, failed)
	}
	return s, err
}

// latencies are those of some of the calls.
type latencies struct {
	calls atomic.Int64
	mu    sync.Mutex
	took  []time.Duration
}

// of makes a call.
func (l *latencies) of(do func() error) error {
	if l.calls.Add(1)%every != 0 {
		return do()
	}
	began := time.Now()
	err := do()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, time.Since(began))
	return err
}

// take returns those since the last take.
func (l *latencies) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	return took
}

var errOver = errors.New("the trial is over")

// work runs a worker with this many slots until it is stopped.
func work(ctx context.Context, hub *rpw.Hub, slots int, handle func()) (stop func(), err error) {
	w := workers.New(hub, workers.Config{Concurrency: slots, Logger: quiet})
	if err := workers.Handle(w, noop, func(context.Context, json.RawMessage) (int, error) {
		handle()
		return 0, nil
	}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}, nil
}

// workload is how many actions wait, how many finished ones are kept, and the workers with their slots. Zero is the area's own.
type workload struct{ pending, kept, workers, slots int }

func actionsRPW(l workload) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		hub, err := t.open(ctx)
		if err != nil {
			return nil, err
		}
		defer hub.Close()
		b := newBacklog()
		if l.pending > 0 {
			b.room = make(chan struct{}, l.pending)
			if err := fillQueue(ctx, hub, b); err != nil {
				return nil, err
			}
		}
		b.settled = max(b.settled, int64(l.kept))
		for range cmp.Or(l.workers, 1) {
			own, err := t.open(ctx) // as a process of its own has
			if err != nil {
				return nil, err
			}
			defer own.Close()
			stop, err := work(ctx, own, cmp.Or(l.slots, slots), b.finish)
			if err != nil {
				return nil, err
			}
			defer stop()
		}
		return t.mixed(ctx, b, func() error {
			_, err := noop.Start(ctx, hub, payload)
			return err
		})
	}
}

// fillQueue starts actions until there is no more room.
func fillQueue(ctx context.Context, hub *rpw.Hub, b *backlog) error {
	args := slices.Repeat([]json.RawMessage{payload}, 500)
	for len(b.room) < cap(b.room) {
		args = args[:min(len(args), cap(b.room)-len(b.room))]
		if _, err := noop.StartAll(ctx, hub, args); err != nil {
			return err
		}
		for range args {
			b.room <- struct{}{}
		}
	}
	return nil
}

func actionsRaw(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := newBacklog()
	stop, err := t.readGroup(ctx, 100, b.finish)
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.mixed(ctx, b, func() error { return c.Do(ctx, xadd(c)).Error() })
}

// readGroup reads the stream "events" as a group of one, by blocking calls, and acknowledges each page.
func (t *trial) readGroup(ctx context.Context, page int64, got func()) (stop func(), err error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	if err := c.Do(ctx, c.B().XgroupCreate().Key("events").Group("g").Id("0").Mkstream().Build()).Error(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			entries, err := c.Do(ctx, c.B().Xreadgroup().Group("g", "c").Count(page).Block(1000).Streams().Key("events").Id(">").Build()).AsXRead()
			if err != nil {
				continue
			}
			var ids []string
			for _, e := range entries["events"] {
				ids = append(ids, e.ID)
				got()
			}
			c.Do(ctx, c.B().Xack().Key("events").Group("g").Id(ids...).Build())
		}
	})
	return func() {
		cancel()
		wg.Wait()
		c.Close()
	}, nil
}

func actionsAsynq(keep bool) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		b := newBacklog()
		stop, err := t.serveAsynq(asynq.Config{Concurrency: slots}, func(task *asynq.Task) error {
			defer b.finish()
			if keep {
				_, err := task.ResultWriter().Write([]byte("0"))
				return err
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		defer stop()
		c := asynq.NewClient(asynq.RedisClientOpt{Addr: t.Addr, PoolSize: callers})
		defer c.Close()
		var opts []asynq.Option
		if keep {
			opts = append(opts, asynq.Retention(24*time.Hour))
		}
		return t.mixed(ctx, b, func() error {
			_, err := c.EnqueueContext(ctx, asynq.NewTask("noop", payload, opts...))
			return err
		})
	}
}

// serveAsynq runs a server of asynq, with a connection for each of its slots.
func (t *trial) serveAsynq(cfg asynq.Config, handle func(*asynq.Task) error) (stop func(), err error) {
	cfg.LogLevel = asynq.FatalLevel
	s := asynq.NewServer(asynq.RedisClientOpt{Addr: t.Addr, PoolSize: cfg.Concurrency + 10}, cfg)
	err = s.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error { return handle(task) }))
	return s.Shutdown, err
}
