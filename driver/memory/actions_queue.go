package memory

import (
	"slices"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// retireSlice is how many outlived records one verb removes, so that none is slow after a long rest.
const retireSlice = 64

// queue holds the actions of one queue. Everything is guarded by mu, and as of now.
type queue struct {
	store *actionStore
	name  string

	mu     sync.Mutex
	gone   bool      // dropped from the store: look it up again
	now    time.Time // when it was last opened
	paused bool

	byID   map[string]*actionRecord
	unique map[string]*actionRecord // pending and running records by their unique key
	states map[rpw.State]int64
	places []place // all records in order of creation
	holes  int     // places whose record is gone

	// A record's place in the heaps follows from its state alone: see queue.place.
	ready  heap[*actionRecord] // pending and due, by (due time, order)
	agenda heap[*actionRecord] // what time will do to the others: run-at, expiry, end of lease or grace
	kept   heap[*actionRecord] // terminal ones, by the end of their retention

	waiting  []*seat   // claimers to be called, the longest waiting first
	coming   int       // how many actions the called ones will take at most
	keeper   *seat     // the one claimer who watches the time for all
	keeperAt time.Time // when the keeper will look; zero: no time is set
}

// place is a record's place in the order of creation; record is nil if it is gone.
type place struct {
	order  uint64
	record *actionRecord
}

const noSlot = -1

// earlier orders records by a time of theirs, then by creation.
func earlier(time func(*actionRecord) time.Time) func(a, b *actionRecord) bool {
	return func(a, b *actionRecord) bool {
		c := time(a).Compare(time(b))
		return c < 0 || c == 0 && a.order < b.order
	}
}

func newQueue(s *actionStore, name string) *queue {
	runAt := earlier(func(r *actionRecord) time.Time { return r.RunAt })
	due := earlier(func(r *actionRecord) time.Time { return r.due })
	return &queue{
		store:  s,
		name:   name,
		byID:   make(map[string]*actionRecord),
		unique: make(map[string]*actionRecord),
		states: make(map[rpw.State]int64),
		ready:  heap[*actionRecord]{less: runAt, place: func(r *actionRecord) *int { return &r.readySlot }},
		agenda: heap[*actionRecord]{less: due, place: func(r *actionRecord) *int { return &r.agendaSlot }},
		kept:   heap[*actionRecord]{less: due, place: func(r *actionRecord) *int { return &r.keptSlot }},
	}
}

// close ends a verb: it calls waiting claimers to what became ready, forgets the queue if it is empty, and unlocks it.
func (q *queue) close() {
	defer q.mu.Unlock()
	switch {
	case q.gone:
	case len(q.byID)+len(q.waiting)+q.coming == 0 && !q.paused:
		q.store.forget(q)
	default:
		q.call()
	}
}

// advance brings the queue up to now: each thing that time did happens as of the moment it was due.
func (q *queue) advance(now time.Time) {
	if now.Before(q.now) {
		q.shorten(now)
	}
	q.now = now
	for q.agenda.len() > 0 && !q.agenda.first().due.After(now) {
		r := q.agenda.first()
		q.befall(r, r.due)
	}
	q.retire()
}

// shorten answers a clock that fell back: no lease ends later than a new one would.
func (q *queue) shorten(now time.Time) {
	for _, r := range slices.Clone(q.agenda.items) {
		if r.State == rpw.Running && r.Until.After(now.Add(r.lease)) {
			r.Until = now.Add(r.lease)
			q.place(r)
		}
	}
}

// befall does to a record what was due at a time.
func (q *queue) befall(r *actionRecord, at time.Time) {
	switch {
	case r.State == rpw.Pending && r.Attempt == 0 && !r.startBy.IsZero() && !r.startBy.After(at):
		failure := &rpw.ActionFailure{Message: "not started within " + r.within.String(), Time: at}
		q.finish(r, rpw.Failed, failure, at)
		r.note(rpw.ChangeFailed, at, rpw.Change{Failure: failure})
	case r.State == rpw.Pending:
		q.place(r) // its time has come
	case r.cancelling():
		q.endCancelled(r, at)
	default:
		q.fail(r, rpw.ActionFailure{Message: "worker lost: lease ended"}, at, at)
	}
}

// retire removes a slice of the records past their retention, and returns how many.
func (q *queue) retire() int {
	for n := range retireSlice {
		if q.kept.len() == 0 || q.kept.first().due.After(q.now) {
			return n
		}
		q.remove(q.kept.first())
	}
	return retireSlice
}

// find returns a record, nil if there is none.
func (q *queue) find(id string) *actionRecord {
	r := q.byID[id]
	if r != nil && r.outlived(q.now) {
		q.remove(r)
		return nil
	}
	return r
}

// add lets a new pending record begin.
func (q *queue) add(r *actionRecord) {
	q.states[r.State]++
	q.places = append(q.places, place{r.order, r})
	q.place(r)
	r.note(rpw.ChangeRequest, q.now, rpw.Change{RunAt: r.RunAt, Data: r.Data})
}

// remove deletes a record with all its traces.
func (q *queue) remove(r *actionRecord) {
	stand(&q.ready, r, false)
	stand(&q.agenda, r, false)
	stand(&q.kept, r, false)
	q.freeKey(r)
	delete(q.byID, r.Ref.ID)
	q.states[r.State]--
	i, _ := q.seek(r.order)
	q.places[i].record = nil
	if q.holes++; q.holes > len(q.places)/2 {
		q.places = slices.DeleteFunc(q.places, func(p place) bool { return p.record == nil })
		q.holes = 0
	}
	r.release()
	r.gone = true
	r.wake()
}

// drop ends the queue with everything in it; it is out of the store already.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return
	}
	q.gone = true
	for _, r := range q.byID {
		r.release()
		r.gone = true
		r.wake()
	}
	for _, seat := range q.waiting {
		seat.claimer.wake()
	}
}

// seek finds the place of the record with this order, or the one after.
func (q *queue) seek(order uint64) (int, bool) {
	return slices.BinarySearchFunc(q.places, order, func(p place, order uint64) int {
		switch {
		case p.order < order:
			return -1
		case p.order > order:
			return 1
		}
		return 0
	})
}

// place puts a record where its state and times say it stands.
func (q *queue) place(r *actionRecord) {
	due, timed := r.next(q.now)
	r.due = due
	terminal := r.State.Terminal()
	stand(&q.ready, r, r.State == rpw.Pending && !r.RunAt.After(q.now))
	stand(&q.agenda, r, timed && !terminal)
	stand(&q.kept, r, timed && terminal)
}

// stand makes a record stand in a heap by its present rank, or not at all.
func stand(h *heap[*actionRecord], r *actionRecord, stands bool) {
	switch slot := h.place(r); {
	case stands && *slot == noSlot:
		h.push(r)
	case stands:
		h.fix(r)
	case *slot != noSlot:
		h.remove(r)
		*slot = noSlot
	}
}

// start leases a ready record: an attempt begins.
func (q *queue) start(r *actionRecord, worker string, lease time.Duration) {
	q.enter(r, rpw.Running)
	r.Attempt++
	r.Started, r.Until = q.now, q.now.Add(lease)
	r.Worker, r.Failure = worker, nil
	r.lease, r.token = lease, q.store.token(q.now)
	q.place(r)
	r.note(rpw.ChangeClaimed, q.now, rpw.Change{Worker: worker})
}

// wait lets a record be pending until a time.
func (q *queue) wait(r *actionRecord, until time.Time) {
	q.enter(r, rpw.Pending)
	r.RunAt, r.Until = until, time.Time{}
	r.Failure = r.lastFailure()
	q.place(r)
}

// move gives a pending record another time.
func (q *queue) move(r *actionRecord, runAt time.Time) {
	r.RunAt = runAt
	q.place(r)
	r.note(rpw.ChangeRescheduled, q.now, rpw.Change{RunAt: runAt})
}

// fail ends the attempt of a running record: another follows at a time, or the action has failed.
func (q *queue) fail(r *actionRecord, failure rpw.ActionFailure, at, again time.Time) {
	why := r.blame(failure, at)
	if failure.Permanent || r.Attempt >= r.MaxAttempts {
		q.finish(r, rpw.Failed, why, at)
		r.note(rpw.ChangeFailed, at, rpw.Change{Worker: r.Worker, Failure: why})
		return
	}
	q.wait(r, again)
	r.note(rpw.ChangeRetry, at, rpw.Change{Worker: r.Worker, Failure: why, RunAt: again})
}

// endCancelled ends a running record whose cancel was requested.
func (q *queue) endCancelled(r *actionRecord, at time.Time) {
	q.finish(r, rpw.Cancelled, r.cancel, at)
	r.note(rpw.ChangeCancelled, at, rpw.Change{Worker: r.Worker, Failure: r.cancel})
}

// finish moves a record to a terminal state. Its unique key is free again.
func (q *queue) finish(r *actionRecord, state rpw.State, why *rpw.ActionFailure, at time.Time) {
	q.enter(r, state)
	r.Finished, r.Until, r.Failure = at, time.Time{}, why
	q.freeKey(r)
	q.place(r)
}

func (q *queue) enter(r *actionRecord, state rpw.State) {
	q.states[r.State]--
	r.State = state
	q.states[state]++
}

func (q *queue) freeKey(r *actionRecord) {
	if r.Unique != "" && q.unique[r.Unique] == r {
		delete(q.unique, r.Unique)
	}
}
