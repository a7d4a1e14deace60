package memory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

const (
	keptChanges    = 100 // of an action; also how many failures
	actionOverhead = 512 // bytes an action counts beside its own, about what it costs
	changeOverhead = 192 // and each entry of its histories, after
	usualChanges   = 3   // these: most actions are requested, claimed and completed
)

// actionRecord is an action in its queue, whose mutex guards it. What it hands out is never written again:
// slices only grow at the end and are handed out without spare capacity.
type actionRecord struct {
	rpw.Action // as users see it; Events are kept apart
	events     []rpw.Change

	store   *Store
	order   uint64 // of creation, in the store
	size    int    // what its spec has reserved of the store
	held    int    // what its histories, progress and output have taken
	within  time.Duration
	startBy time.Time // it fails if no attempt began by then; zero: no expiry
	keep    rpw.KeepActions
	lease   time.Duration // of the newest claim
	token   uint64        // of the newest claim
	ended   ending        // of the newest lease that its holder ended
	cancel  *rpw.ActionFailure
	waiters *waiters // of Changes; nil: none so far
	gone    bool     // removed: who still holds the record has lost it

	due                             time.Time // when time alone changes it: its rank in agenda or kept
	readySlot, agendaSlot, keptSlot int       // where it stands in the heaps of its queue, or noSlot
}

// ending is how a holder ended its lease, to answer a repeat.
type ending struct {
	token uint64
	kind  rpw.MoveKind
	err   error
	final bool // the action ended with it
}

func newRecord(store *Store, spec *rpw.ActionSpec, order uint64, now time.Time) *actionRecord {
	r := &actionRecord{
		store:      store,
		Action:     rpw.Action{Ref: spec.Ref, State: rpw.Pending, Created: now},
		events:     make([]rpw.Change, 0, usualChanges),
		order:      order,
		readySlot:  noSlot,
		agendaSlot: noSlot,
		keptSlot:   noSlot,
	}
	r.describe(spec, now)
	return r
}

// describe takes everything but the id and the history from a spec.
func (r *actionRecord) describe(spec *rpw.ActionSpec, now time.Time) {
	r.Name = spec.Name
	r.Arg = bytes.Clone(argument(spec))
	r.Data = bytes.Clone(spec.Data)
	r.Progress = 0
	r.RunAt = runTime(now, spec.Delay, spec.RunAt)
	r.Attempt = 0
	r.MaxAttempts = cmp.Or(spec.MaxAttempts, rpw.DefaultMaxAttempts)
	r.Timeout = spec.Timeout
	r.Backoff = spec.Backoff
	r.CancelGrace = cmp.Or(spec.CancelGrace, rpw.DefaultCancelGrace)
	r.Unique = spec.Unique
	r.Labels = slices.Clip(slices.Clone(spec.Labels))
	r.keep = spec.Keep
	r.size = specSize(spec)
	r.within = spec.StartWithin
	r.restartExpiry(now)
}

// restartExpiry lets StartWithin count from now.
func (r *actionRecord) restartExpiry(now time.Time) {
	r.startBy = time.Time{}
	if r.within > 0 {
		r.startBy = now.Add(r.within)
	}
}

// argument returns the JSON of a spec's argument.
func argument(spec *rpw.ActionSpec) json.RawMessage {
	if len(spec.Arg) == 0 {
		return json.RawMessage("null")
	}
	return spec.Arg
}

// specSize is what an action reserves of the store.
func specSize(spec *rpw.ActionSpec) int {
	n := actionOverhead + len(spec.Ref.ID) + len(spec.Name) + len(spec.Arg) + len(spec.Data) + len(spec.Unique)
	for _, label := range spec.Labels {
		n += len(label)
	}
	return n
}

// runTime is when an action is due. A time in the past is now, so nobody overtakes who waits already.
func runTime(now time.Time, delay time.Duration, at time.Time) time.Time {
	if at.After(now) {
		return at.Round(0)
	}
	return now.Add(delay)
}

// next is when time alone will change the record; ok is false if never.
func (r *actionRecord) next(now time.Time) (at time.Time, ok bool) {
	switch r.State {
	case rpw.Pending:
		if r.RunAt.After(now) {
			at, ok = r.RunAt, true
		}
		if r.Attempt == 0 && !r.startBy.IsZero() && (!ok || r.startBy.Before(at)) {
			at, ok = r.startBy, true
		}
		return at, ok
	case rpw.Running:
		if r.cancelling() && r.graceEnd().Before(r.Until) {
			return r.graceEnd(), true
		}
		return r.Until, true
	default:
		keep := r.keepFor()
		return r.Finished.Add(keep), keep != rpw.NoTTL
	}
}

func (r *actionRecord) cancelling() bool    { return !r.CancelAt.IsZero() }
func (r *actionRecord) graceEnd() time.Time { return r.CancelAt.Add(r.CancelGrace) }

// keepFor is how long the finished record is kept.
func (r *actionRecord) keepFor() time.Duration {
	const day = 24 * time.Hour
	switch r.State {
	case rpw.Completed:
		return cmp.Or(r.keep.Completed, day)
	case rpw.Failed:
		return cmp.Or(r.keep.Failed, 7*day)
	default:
		return cmp.Or(r.keep.Cancelled, day)
	}
}

// outlived reports whether the record is past its retention.
func (r *actionRecord) outlived(now time.Time) bool {
	if !r.State.Terminal() {
		return false
	}
	at, ok := r.next(now)
	return ok && !at.After(now)
}

// note adds a change to the history and wakes who watches.
func (r *actionRecord) note(kind rpw.ChangeKind, at time.Time, c rpw.Change) {
	r.Seq++
	c.Seq, c.Kind, c.Time, c.State, c.Attempt = r.Seq, kind, at, r.State, r.Attempt
	r.events = grow(r.events, c)
	r.charge()
	r.wake()
}

// charge accounts for what the record has come to hold. It is never refused: it comes with work that goes on and ends.
func (r *actionRecord) charge() {
	held := changeOverhead * max(0, len(r.events)+len(r.Failures)-usualChanges)
	for i := range r.Failures {
		held += len(r.Failures[i].Message) + len(r.Failures[i].Stack)
	}
	var progress *byte // which changes share until it is replaced
	for i := range r.events {
		c := &r.events[i]
		held += len(c.Event) + len(c.Output)
		switch {
		case len(c.Data) == 0 || &c.Data[0] == progress:
			continue
		case c.Kind != rpw.ChangeRequest: // its data came with the spec
			held += len(c.Data)
		}
		if c.Kind != rpw.ChangeEvent {
			progress = &c.Data[0]
		}
	}
	r.store.charge(held - r.held)
	r.held = held
}

// release gives back all that the record has taken of the store.
func (r *actionRecord) release() { r.store.release(r.size + r.held) }

func (r *actionRecord) wake() {
	if r.waiters != nil {
		r.waiters.wakeAll()
	}
}

// blame adds the failure of an attempt to the record.
func (r *actionRecord) blame(f rpw.ActionFailure, at time.Time) *rpw.ActionFailure {
	f.Attempt, f.Time, f.Worker = r.Attempt, at, r.Worker
	r.Failures = grow(r.Failures, f)
	return &f
}

// lastFailure is the failure of the newest failed attempt, nil if none failed.
func (r *actionRecord) lastFailure() *rpw.ActionFailure {
	if len(r.Failures) == 0 {
		return nil
	}
	f := r.Failures[len(r.Failures)-1]
	return &f
}

// snapshot is the action as users see it, without its events.
func (r *actionRecord) snapshot() rpw.Action {
	a := r.Action
	a.Failures = newest(r.Failures)
	return a
}

// answerSize is what an action that is claimed counts of an answer.
func answerSize(a *rpw.Action) int {
	size := len(a.Arg) + len(a.Data)
	for i := range a.Failures {
		size += len(a.Failures[i].Message) + len(a.Failures[i].Stack)
	}
	return size
}

// grow appends to a history, keeping at least its newest keptChanges entries.
func grow[T any](history []T, entry T) []T {
	if len(history) == 2*keptChanges {
		history = append(make([]T, 0, 2*keptChanges), newest(history)...)
	}
	return append(history, entry)
}

// newest is the part of a history that users see.
func newest[T any](history []T) []T {
	return slices.Clip(history[max(0, len(history)-keptChanges):])
}
