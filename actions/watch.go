package actions

import (
	"context"
	"errors"
	"iter"

	"github.com/redis-process-worker/rpw"
)

// Snapshot is the Kind of an update that tells how the action is now, not what happened to it.
const Snapshot rpw.ChangeKind = "snapshot"

// Update is what Watch tells of an action: a snapshot, or one change.
type Update[Out any] struct {
	rpw.Change
	Action *rpw.Action // of a snapshot: all of it
	Result Out         // of a completed action
	Err    error       // of one that failed or was cancelled (*Error), or whose output is no Out
}

// Updates is what Watch returns: the updates of an action in order, or the error that ended them.
type Updates[Out any] = iter.Seq2[Update[Out], error]

// Watch follows the action: first a snapshot, then every change after it, the last one being its result. Nothing is
// missed in between and nothing comes twice; if the watcher is so slow that the store no longer keeps the changes, a new snapshot
// takes their place. It goes on through outages until ctx ends.
func (h Handle[Out]) Watch(ctx context.Context) Updates[Out] {
	return func(yield func(Update[Out], error) bool) {
		w := watch[Out]{h, ctx, yield}
		if seq, more := w.snapshot(); more {
			w.follow(seq)
		}
	}
}

// WatchAfter is Watch for one who has seen the updates up to Seq seq before, perhaps in another process: it goes on with
// the next, without a snapshot unless changes in between are lost. There is nothing to tell if seq was the result.
func (h Handle[Out]) WatchAfter(ctx context.Context, seq uint64) Updates[Out] {
	return func(yield func(Update[Out], error) bool) {
		w := watch[Out]{h, ctx, yield}
		now, err := h.snapshot(ctx)
		switch {
		case err != nil:
			yield(Update[Out]{}, err)
		case now.Seq < seq: // another action, or the store lost what the caller saw
			if yield(now, nil) && !now.State.Terminal() {
				w.follow(now.Seq)
			}
		case now.Seq > seq || !now.State.Terminal():
			w.follow(seq)
		}
	}
}

// watch is one pass through the updates of an action.
type watch[Out any] struct {
	handle Handle[Out]
	ctx    context.Context
	yield  func(Update[Out], error) bool
}

// snapshot yields a snapshot; more says whether changes are to follow.
func (w watch[Out]) snapshot() (seq uint64, more bool) {
	u, err := w.handle.snapshot(w.ctx)
	return u.Seq, w.yield(u, err) && err == nil && !u.State.Terminal()
}

// follow yields the changes after seq.
func (w watch[Out]) follow(seq uint64) {
	store := w.handle.hub.Actions()
	for {
		changes, err := through(w.ctx, store.Changes, rpw.ChangesRequest{Ref: w.handle.Ref, After: seq, Wait: rpw.Forever})
		if _, gap := errors.AsType[*rpw.GapError](err); gap {
			var more bool
			if seq, more = w.snapshot(); !more {
				return
			}
			continue
		}
		if err != nil {
			w.yield(Update[Out]{}, err)
			return
		}
		for _, change := range changes {
			if !w.yield(w.handle.update(change), nil) || change.State.Terminal() {
				return
			}
			seq = change.Seq
		}
	}
}

// snapshot reads the action.
func (h Handle[Out]) snapshot(ctx context.Context) (Update[Out], error) {
	if err := h.check(ctx, "watch"); err != nil {
		return Update[Out]{}, err
	}
	got, err := through(ctx, h.hub.Actions().Get, []rpw.ActionRef{h.Ref})
	if err == nil {
		err = got[0].Err
	}
	if err != nil {
		return Update[Out]{}, err
	}
	a := &got[0].Action
	u := h.update(rpw.Change{
		Seq: a.Seq, Kind: Snapshot, Time: a.Created, State: a.State, Attempt: a.Attempt, Worker: a.Worker, Progress: a.Progress,
		Data: a.Data, Output: a.Output, Failure: a.Failure, RunAt: a.RunAt,
	})
	if n := len(a.Events); n > 0 {
		u.Time = a.Events[n-1].Time
	}
	u.Action = a
	return u, nil
}

func (h Handle[Out]) update(c rpw.Change) Update[Out] {
	u := Update[Out]{Change: c}
	if c.State.Terminal() {
		u.Result, u.Err = h.result(c.State, c.Output, c.Failure)
	}
	return u
}
