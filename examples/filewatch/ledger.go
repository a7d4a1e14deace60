package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

// stall is how long there is no news until the open actions are looked up.
const stall = 2 * time.Second

// ledger accounts for the files of one run: what was started, and what came of it. It folds the events of FilesDone, each file once.
type ledger struct {
	hub    *rpw.Hub
	run    string
	onDone func(FileDone) // may be nil; called from several goroutines
	moved  chan struct{}  // a token when something was settled
	end    func() error   // of the consumer

	mu     sync.Mutex
	next   int
	open   map[int]opened // started and not accounted for; its size is bounded by the starter
	totals totals
}

type opened struct {
	path Path
	ref  rpw.ActionRef // zero until it is known to be stored
	gone bool          // its action was not found
}

// openLedger opens the ledger of a new run. It joins the stream before anything can be started, so that no event is missed; failed is
// told if it cannot go on. Close it.
func openLedger(ctx context.Context, hub *rpw.Hub, onDone func(FileDone), failed func(error)) (*ledger, error) {
	l := &ledger{hub: hub, run: strings.ToLower(rand.Text()[:10]), onDone: onDone, moved: make(chan struct{}, 1), open: make(map[int]opened)}
	from, err := hub.Streams().Locate(ctx, FilesDone.Name(), rpw.Newest())
	if err != nil {
		return nil, err
	}
	group := rpw.Consumer{
		Group:       "totals-" + l.run,
		From:        rpw.After(from),
		Concurrency: 128,
		OnGap:       rpw.GapContinue, // what events are lost is looked up
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // it is the last to go
	var consuming sync.WaitGroup
	consuming.Go(func() {
		if err := FilesDone.Consume(ctx, hub, group, l.fold); err != nil {
			failed(err)
		}
	})
	l.end = func() error {
		stop()
		consuming.Wait()
		answers, err := hub.Streams().Administer(context.WithoutCancel(ctx), rpw.GroupCommands{Commands: []rpw.GroupCommand{
			{Stream: FilesDone.Name(), Group: group.Group, Verb: rpw.DeleteGroup},
		}})
		if err == nil && !errors.Is(answers[0].Err, rpw.ErrNotFound) { // it may not have come to be
			err = answers[0].Err
		}
		return err
	}
	return l, nil
}

// close leaves the stream.
func (l *ledger) close() error { return l.end() }

// fold takes an event into the account.
func (l *ledger) fold(_ context.Context, m rpw.Message[FileDone]) error {
	if m.Data.Run == l.run {
		l.settle(m.Data)
	}
	return nil
}

// settle closes an open file; what is not open was accounted for before.
func (l *ledger) settle(done FileDone) {
	l.mu.Lock()
	file, ok := l.open[done.File]
	if ok {
		delete(l.open, done.File)
		done.Path = file.path
		l.totals.add(done)
	}
	l.mu.Unlock()
	if !ok {
		return
	}
	if l.onDone != nil {
		l.onDone(done)
	}
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// begin opens a file, before its action is started.
func (l *ledger) begin(path Path) DigestIn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	l.open[l.next] = opened{path: path}
	return DigestIn{Run: l.run, File: l.next, Path: path}
}

// started notes the actions of files that were begun.
func (l *ledger) started(files []DigestIn, handles []actions.Handle[DigestOut]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, in := range files {
		if file, ok := l.open[in.File]; ok {
			file.ref = handles[i].Ref
			l.open[in.File] = file
		}
	}
}

// account changes the totals.
func (l *ledger) account(change func(*totals)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.totals)
}

// now returns the totals so far, and how many files are open.
func (l *ledger) now() (t totals, open int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t = l.totals
	t.Slowest, t.Failures = slices.Clone(t.Slowest), slices.Clone(t.Failures)
	return t, int64(len(l.open))
}

func (l *ledger) openFiles() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// wait waits until at most so many files are open.
func (l *ledger) wait(ctx context.Context, most int) error {
	quiet := time.NewTimer(stall)
	defer quiet.Stop()
	for l.openFiles() > most {
		select {
		case <-l.moved:
		case <-quiet.C:
			if err := l.lookUp(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		quiet.Reset(stall)
	}
	return nil
}

// lookUp settles open files whose action is over without an event: one that was cancelled, or whose worker
// died in the last attempt, or whose event was lost.
func (l *ledger) lookUp(ctx context.Context) error {
	l.mu.Lock()
	open := maps.Clone(l.open)
	l.mu.Unlock()
	maps.DeleteFunc(open, func(_ int, file opened) bool { return file.ref == rpw.ActionRef{} })
	for files := range slices.Chunk(slices.Sorted(maps.Keys(open)), rpw.MaxBatch) {
		refs := make([]rpw.ActionRef, len(files))
		for i, file := range files {
			refs[i] = open[file].ref
		}
		found, err := l.hub.Actions().Get(ctx, refs)
		if err != nil {
			return err
		}
		for i, action := range found {
			done, over := outcome(action)
			if errors.Is(action.Err, rpw.ErrNotFound) {
				over = l.goneBefore(files[i])
			}
			if over {
				done.Run, done.File = l.run, files[i]
				l.settle(done)
			}
		}
	}
	return nil
}

// goneBefore notes that the action of an open file was not found, and reports whether that was so at the last look, too. At the first
// one its event may still be on the way, if this process was held up for longer than finished actions are kept.
func (l *ledger) goneBefore(number int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	file, ok := l.open[number]
	before := file.gone
	if ok {
		file.gone = true
		l.open[number] = file
	}
	return before
}

// outcome reads from an action what its event would have told.
func outcome(a rpw.GotAction) (done FileDone, over bool) {
	switch {
	case errors.Is(a.Err, rpw.ErrNotFound):
		done.Error = "its action was deleted"
	case a.Err != nil || !a.State.Terminal():
		return done, false
	case a.State == rpw.Completed:
		if err := json.Unmarshal(a.Output, &done.DigestOut); err != nil {
			done.Error = err.Error()
		}
	default:
		done.Error = string(a.State)
		if a.Failure != nil && a.Failure.Message != "" {
			done.Error += ": " + a.Failure.Message
		}
	}
	return done, true
}
