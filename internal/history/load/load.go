// Package load does at random what users of a store do, while the store and its links are disturbed, and records it as a history.
package load

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
)

// Config says what to load, how, and for how long.
type Config struct {
	Open     func() (*rpw.Hub, error) // opens the hub of one more process
	Seed     uint64
	Duration time.Duration
	Pause    time.Duration // between two steps of an actor, at most
	Lease    time.Duration // of group events and actions
	Patience time.Duration // for all work to end after the load
	Faults   []Fault       // one at a time, all of them in a random order, again and again
	Between  time.Duration // two faults, at most; 0: 20 pauses
	Resets   bool          // a fault, or the load itself, may drop all data of a stream
	Bounds   history.Bounds

	Bulk    int                                        // events of a publish, at most, to one more stream that nobody edits; 0: there is none
	NoCache bool                                       // the cache is left out
	Beside  []func(context.Context, *history.Recorder) // what else works, until the context ends: processes that call Work
}

// Fault disturbs the store or the way to it, and heals before it returns.
type Fault struct {
	Kind  string
	Loses history.Op // OpReset or OpFailover, of one that drops data
	Do    func(r *rand.Rand)
}

// The names of what the load works on.
var (
	streams = []string{"s1", "s2"}
	queues  = []string{"q1", "q2"}
	keys    = []string{"k1", "k2", "k3"}
)

// bulk is the stream of Config.Bulk.
const bulk = "bulk"

// streams are those of a load.
func (c Config) streams() []string {
	if c.Bulk > 0 {
		return append([]string{bulk}, streams...)
	}
	return streams
}

// open opens a hub. A hub lives through faults, but is not opened during one: that is tried again.
func (c Config) open() (*rpw.Hub, error) {
	for until := time.Now().Add(c.Patience); ; time.Sleep(c.Pause) {
		if h, err := c.Open(); err == nil || time.Now().After(until) {
			return h, err
		}
	}
}

// run is a running load.
type run struct {
	Config
	*history.Recorder
	t         testing.TB
	processes []*process
	subs      []*subscriber
	loggers   []*logger
	boss      boss

	mortal   bool // the process may be killed, or stopped for a while: its calls take as long as that
	seeds    int
	quiet    context.Context // ends when all work has ended
	loading  sync.WaitGroup  // what makes work
	serving  sync.WaitGroup  // what does it
	disturbs sync.WaitGroup
}

// Run runs a load and returns its history. The store must be empty.
func Run(t testing.TB, c Config) *history.History {
	t.Helper()
	r := &run{Config: c, Recorder: history.NewRecorder(), t: t}
	quiet, end := context.WithCancel(context.Background())
	defer end()
	r.quiet = quiet
	for range 3 {
		p := &process{open: c.open}
		require.NoError(t, p.start())
		r.processes = append(r.processes, p)
		defer p.stop()
	}
	loading, stop := context.WithTimeout(quiet, c.Duration)
	defer stop()
	for i := range 3 {
		r.startSubscriber(fmt.Sprintf("sub%d", i), streams[i%len(streams)])
		r.actor(&r.serving, quiet, fmt.Sprintf("consumer%d", i), r.consumer())
		r.actor(&r.serving, quiet, fmt.Sprintf("worker%d", i), r.worker)
		r.actor(&r.loading, loading, fmt.Sprintf("publisher%d", i), r.publisher)
		if i <= len(c.Beside) { // each action keeps a worker busy for a while
			r.actor(&r.loading, loading, fmt.Sprintf("starter%d", i), r.starter)
		}
		if !c.NoCache {
			r.actor(&r.loading, loading, fmt.Sprintf("client%d", i), r.client)
		}
	}
	if c.Bulk > 0 {
		r.startSubscriber("bulk0", bulk)
		r.startSubscriber("bulk1", bulk)
	}
	for _, work := range c.Beside {
		r.serving.Go(func() { work(quiet, r.Recorder) })
	}
	r.startMember(quiet)
	r.actor(&r.loading, loading, "boss", r.commander)
	r.actor(&r.loading, loading, "editor", r.editor)
	if !c.Resets {
		r.startLogger("logger")
		r.actor(&r.loading, loading, "logger", r.loggers[0].step)
	}
	r.disturb(loading)
	r.loading.Wait()
	r.disturbs.Wait()
	return r.finish(end)
}

// Work does in a process of its own what the workers and the consumers of Run do there, until ctx ends. No other process may have its name.
func Work(ctx context.Context, name string, c Config, recorder *history.Recorder) error {
	r := &run{Config: c, Recorder: recorder, quiet: ctx, mortal: true}
	p := &process{open: c.open}
	if err := p.start(); err != nil {
		return err
	}
	defer p.stop()
	r.processes = append(r.processes, p)
	for i := range 2 {
		r.actor(&r.serving, ctx, fmt.Sprintf("%s worker%d", name, i), r.worker)
		r.actor(&r.serving, ctx, fmt.Sprintf("%s consumer%d", name, i), r.consumer())
	}
	r.serving.Wait()
	return nil
}

// disturb lets the faults happen until ctx ends.
func (r *run) disturb(ctx context.Context) {
	random, restarts := r.random(), r.random()
	r.disturbs.Go(func() {
		var deck []int // the faults that come before all have come again
		for len(r.Faults) > 0 && sleep(ctx, random, cmp.Or(r.Between, 20*r.Pause)) {
			if len(deck) == 0 {
				deck = random.Perm(len(r.Faults))
			}
			f := r.Faults[deck[0]]
			deck = deck[1:]
			healed := r.Call(history.Record{Op: history.OpFault, Kind: f.Kind})
			if f.Loses != "" {
				lost := r.Call(history.Record{Op: f.Loses, Kind: f.Kind})
				f.Do(random)
				lost(func(rec *history.Record) { rec.Outcome = history.OK })
			} else {
				f.Do(random)
			}
			healed(func(rec *history.Record) { rec.Outcome = history.OK })
		}
	})
	r.disturbs.Go(func() { // processes that end and start again
		for sleep(ctx, restarts, 50*r.Pause) {
			p := r.processes[restarts.IntN(len(r.processes))]
			p.stop()
			if err := p.start(); err != nil {
				r.t.Errorf("a process does not start again: %v", err)
				return
			}
		}
	})
}

// finish waits until all work has ended, and returns the history with what the store holds then.
func (r *run) finish(end context.CancelFunc) *history.History {
	h, err := r.open()
	require.NoError(r.t, err)
	defer h.Close()
	ctx, cancel := context.WithTimeout(r.quiet, r.Patience)
	defer cancel()
	r.lastWords(ctx, h)
	final, err := r.lastDump(ctx, h)
	end()
	r.serving.Wait()
	require.NoError(r.t, err)
	for _, l := range r.loggers {
		l.close()
		d, err := dumpLog(context.Background(), h, l.name)
		require.NoError(r.t, err)
		d.Dropped = int64(l.handler.Dropped())
		final.Logs = append(final.Logs, d)
	}
	return r.History(final, r.Bounds)
}

// actor takes steps until ctx ends.
func (r *run) actor(group *sync.WaitGroup, ctx context.Context, name string, step func(ctx context.Context, a *actor)) {
	a := &actor{run: r, name: name, Rand: r.random()}
	a.process = r.processes[r.seeds%len(r.processes)]
	group.Go(func() {
		for sleep(ctx, a.Rand, r.Pause) {
			step(ctx, a)
		}
	})
}

// random is one more source of the seed's. It is for the goroutine of Run, so that the order of sources is always the same.
func (r *run) random() *rand.Rand {
	r.seeds++
	return rand.New(rand.NewPCG(r.Seed, uint64(r.seeds)))
}

// actor is one user of one process. It is no use to two goroutines.
type actor struct {
	*run
	*rand.Rand
	name    string
	process *process
	n       int // of what it has made
}

func (a *actor) hub() *rpw.Hub {
	h, _ := a.process.get()
	return h
}

// one is true once in n times.
func (a *actor) one(n int) bool { return a.IntN(n) == 0 }

// fresh is a name that nobody else uses.
func (a *actor) fresh() string {
	a.n++
	return fmt.Sprintf("%s-%d", a.name, a.n)
}

// record begins a record of the actor.
func (a *actor) record(op history.Op) history.Record {
	return history.Record{Actor: a.name, Op: op}
}

// patience is a context for one call: some are cut short. Calls with it are timed.
func (a *actor) patience(ctx context.Context, verb string) (_ context.Context, done func(error)) {
	bound := 10 * time.Second
	if a.one(5) {
		bound = a.N(a.Pause)
	}
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	if a.mortal {
		return timed, func(error) { cancel() }
	}
	rec := a.record(history.OpTimed)
	rec.Kind, rec.Bound = verb, bound
	ret := a.Call(rec)
	return timed, func(err error) {
		cancel()
		ret(func(rec *history.Record) { rec.Settle(err) })
	}
}

// N is a random duration up to most.
func (a *actor) N(most time.Duration) time.Duration { return time.Duration(a.Int64N(int64(most)) + 1) }

// sleep waits for a random time up to most; false if ctx has ended.
func sleep(ctx context.Context, random *rand.Rand, most time.Duration) bool {
	timer := time.NewTimer(time.Duration(random.Int64N(int64(most)) + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// process is a hub that may be closed and opened again.
type process struct {
	open func() (*rpw.Hub, error)
	mu   sync.Mutex
	hub  *rpw.Hub
	runs int
}

// get returns the hub, and how often there was another one before.
func (p *process) get() (h *rpw.Hub, run int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hub, p.runs
}

func (p *process) start() error {
	h, err := p.open()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.hub = h
		p.runs++
	}
	return err
}

// stop closes the hub; those who use it have to do with a closed one until start.
func (p *process) stop() {
	h, _ := p.get()
	h.Close()
}
