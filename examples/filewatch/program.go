package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	_ "github.com/redis-process-worker/rpw/driver/redis"
	"github.com/redis-process-worker/rpw/logs"
	"github.com/redis-process-worker/rpw/workers"
)

// program is one run of the command.
type program struct {
	config
	out    *console
	status io.Writer // for progress

	hub  *rpw.Hub
	log  *slog.Logger
	crew *crew
	fail context.CancelCauseFunc // ends everything, with the reason
}

// errInterrupted: the context of the program ended before its work did.
var errInterrupted = errors.New("interrupted")

func (p *program) run(ctx context.Context) (err error) {
	p.hub, err = rpw.Open(ctx, p.url)
	if errors.Is(err, rpw.ErrInvalid) {
		return misuse("-url: %w", err)
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.hub.Close()) }()
	p.log = slog.New(logs.NewHandler(p.hub, logs.WithSource("filewatch")))

	ctx, p.fail = context.WithCancelCause(ctx)
	defer p.fail(nil)
	hired := 0
	if p.works() {
		hired = p.workers
	}
	p.crew = startCrew(ctx, p.hub, p.log, hired, workers.Config{Concurrency: p.slots, Lease: p.lease, Grace: grace, Logger: p.log}, p.fail)
	if p.role == "work" {
		p.work(ctx)
	} else {
		err = p.follow(ctx)
	}
	p.crew.dismiss()
	if err == nil {
		err = p.crew.err()
	}
	return err
}

// work lets the workers work until ctx ends.
func (p *program) work(ctx context.Context) {
	p.out.printf("%s with %s each; Ctrl-C stops\n", counted(int64(p.workers), "worker"), counted(int64(p.slots), "slot"))
	<-ctx.Done()
	p.out.printf("stopped: %s under way handed back\n", counted(p.crew.dismiss(), "file"))
}

// follow goes over the folder and watches it, as the flags say.
func (p *program) follow(ctx context.Context) error {
	var w *watcher
	if p.watches() { // from before the first pass, so that no change is missed in between
		var err error
		if w, err = newWatcher(p.dir); err != nil {
			return err
		}
		defer w.close()
	}
	if p.scans() {
		for n := range p.passes {
			if err := p.pass(ctx, n+1); err != nil {
				return err
			}
		}
	}
	if w == nil {
		return nil
	}
	return p.watchFolder(ctx, w)
}

// ignoreStop: being asked to stop is no failure.
func ignoreStop(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// pass goes over the folder once and prints the table.
func (p *program) pass(ctx context.Context, number int) (err error) {
	began := time.Now()
	l, err := openLedger(ctx, p.hub, nil, p.fail)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	p.log.Info("pass started", "run", l.run, "dir", Path(p.dir).String())

	hide := p.showProgress(ctx, l)
	err = scan(ctx, p.dir, &starter{hub: p.hub, ledger: l})
	if err == nil {
		err = l.wait(ctx, 0)
	}
	stopped := err != nil && ctx.Err() != nil
	var handedBack int64
	if stopped { // what is under way is finished or handed back, and then accounted for
		handedBack = p.crew.dismiss()
		err = errors.Join(ignoreStop(ctx), l.lookUp(context.WithoutCancel(ctx)))
	}
	hide()
	if err != nil {
		return err
	}
	sum, open := l.now()
	r := report{title: p.title(number), dir: p.dir, took: time.Since(began), totals: sum, partial: stopped, open: open}
	p.out.print(r.write)
	if stopped {
		p.log.Warn("pass interrupted", "run", l.run, "digested", sum.Digested, "handed_back", handedBack, "waiting", open)
		return fmt.Errorf("%w: %s", errInterrupted, p.left(handedBack, open))
	}
	p.log.Info("pass done", "run", l.run, "scanned", sum.Scanned, "digested", sum.Digested, "skipped", sum.Skipped,
		"failed", sum.Failed, "took", r.took)
	return sum.check()
}

func (p *program) title(number int) string {
	if p.passes == 1 {
		return "pass"
	}
	return fmt.Sprintf("pass %d of %d", number, p.passes)
}

// left says what a stop leaves behind.
func (p *program) left(handedBack, open int64) string {
	text := fmt.Sprintf("%s under way handed back, %s left in the queue", counted(handedBack, "file"), number(open))
	if open > 0 && p.hub.Driver() == "memory" {
		text += ", which ends with this process"
	}
	return text
}

// showProgress shows how far a ledger is, until hide is called.
func (p *program) showProgress(ctx context.Context, l *ledger) (hide func()) {
	ctx, stop := context.WithCancel(ctx)
	var expected atomic.Int64 // 0: not known yet
	var tasks sync.WaitGroup
	tasks.Go(func() { expected.Store(countFiles(ctx, p.dir)) })
	m := newMeter(p.status)
	tasks.Go(func() { m.show(ctx, l, &expected) })
	return func() {
		stop()
		tasks.Wait()
	}
}
