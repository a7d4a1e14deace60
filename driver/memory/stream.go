package memory

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// stream is one history of one stream. When the stream is deleted, this history is gone for good, and
// the next verb on the name begins another one.
type stream struct {
	store *Store
	name  string
	epoch uint64

	mu       sync.Mutex // guards all below; taken before the mutex of the dead-letter streams of this one
	gone     bool
	events   history      // by count, with tombstones
	live     int64        // events that are no tombstones
	bytes    int64        // their size
	last     rpw.ID       // of the newest event ever added
	added    uint64       // its count
	trimmed  rpw.Position // of the newest event that retention removed; the place before the oldest one
	edited   uint64       // the greatest count of an event removed by DeleteEvents
	keep     rpw.Retention
	keys     keyring
	answered lanes[[]rpw.Position] // by producer
	readers  waiters
	groups   map[string]*group
	orphans  map[uint64]int32 // by count: events that are gone from here, and how many groups still have them pending
}

// eventOverhead is about what an event costs beside its own bytes.
const eventOverhead = 192

func newStream(store *Store, name string) *stream {
	st := &stream{store: store, name: name, keep: rpw.Retention{Events: rpw.DefaultKeepEvents}}
	for st.epoch == 0 {
		st.epoch = rand.Uint64()
	}
	st.trimmed.Epoch = st.epoch
	return st
}

// append adds an event whose bytes are charged already, and returns the place after it.
func (st *stream) append(e *rpw.NewEvent, size int, x extra, now time.Time) rpw.Position {
	if ms := uint64(max(0, now.UnixMilli())); ms > st.last.MS {
		st.last = rpw.ID{MS: ms}
	} else {
		st.last.Seq++
	}
	st.added++
	st.events.push(record{id: st.last, count: st.added, size: int32(size)}, e.Type, e.Data, x)
	st.live++
	st.bytes += int64(size)
	return st.end()
}

// forget takes the live event at index i out of the accounts of the stream. Its bytes are given back when no group has it pending.
func (st *stream) forget(i int) {
	rec := st.events.at(i)
	st.live--
	st.bytes -= int64(rec.size)
	st.events.strip(i)
	if rec.held == 0 {
		st.store.release(int(rec.size) + eventOverhead)
		return
	}
	if st.orphans == nil {
		st.orphans = make(map[uint64]int32)
	}
	st.orphans[rec.count] = rec.held
}

// letGo takes a pending event out of the accounts of its group.
func (st *stream) letGo(p *pending) {
	held, orphan := st.orphans[p.event.Count]
	switch {
	case p.redriven:
	case !orphan:
		st.events.at(st.after(p.event.Count-1)).held--
		return
	case held > 1:
		st.orphans[p.event.Count]--
		return
	default:
		delete(st.orphans, p.event.Count)
	}
	st.store.release(p.size + eventOverhead)
}

// trim applies a retention and returns how many events went.
func (st *stream) trim(keep rpw.Retention, now time.Time) (n int64) {
	most, horizon := bounds(keep, now)
	for st.events.len() > 0 {
		rec := st.events.at(0)
		if !rec.gone {
			if st.live <= most && rec.id.MS >= horizon {
				break
			}
			st.trimmed = st.position(rec)
			st.forget(0)
			n++
		}
		st.events.pop()
	}
	return n
}

// bounds are the limits that a retention sets: how many events, and the oldest time.
func bounds(keep rpw.Retention, now time.Time) (most int64, horizon uint64) {
	switch keep.Events {
	case 0:
		most = rpw.DefaultKeepEvents
	case rpw.Unlimited:
		most = math.MaxInt64
	default:
		most = keep.Events
	}
	if keep.Age > 0 {
		horizon = uint64(max(0, now.Add(-keep.Age).UnixMilli()))
	}
	return most, horizon
}

// expire applies the retention by age.
func (st *stream) expire(now time.Time) {
	if st.keep.Age > 0 {
		st.trim(st.keep, now)
	}
}

// remove makes a tombstone of the live event at index i. Tombstones never outnumber the living by much, so that no
// search passes many of them.
func (st *stream) remove(i int) {
	st.forget(i)
	rec := st.events.at(i)
	rec.gone = true
	st.edited = max(st.edited, rec.count)
	if dead := int64(st.events.len()) - st.live; dead > max(st.live, fewTombstones) {
		st.events.compact()
	}
}

// fewTombstones are not worth a compaction.
const fewTombstones = 256

// position is the place after a record.
func (st *stream) position(rec *record) rpw.Position {
	return rpw.Position{Epoch: st.epoch, ID: rec.id, Count: rec.count}
}

// end is the place after the newest event.
func (st *stream) end() rpw.Position {
	return rpw.Position{Epoch: st.epoch, ID: st.last, Count: st.added}
}

// before is the place before the event at index i.
func (st *stream) before(i int) rpw.Position {
	switch {
	case i == st.events.len():
		return st.end()
	case i == 0:
		return st.trimmed
	}
	return st.position(st.events.at(i - 1))
}

// after returns the index of the first event with a greater count.
func (st *stream) after(count uint64) int {
	// The reader of a tail is a few events behind: without tombstones between, the distance is the index.
	n := st.events.len()
	if i := n - int(min(st.added-min(count, st.added), uint64(n))); i == n && count >= st.added || i < n && st.events.at(i).count == count+1 {
		return i
	}
	return st.events.search(func(r *record) bool { return r.count > count })
}

// from returns the index of the first event with this id or a greater one.
func (st *stream) from(id rpw.ID) int {
	return st.events.search(func(r *record) bool { return r.id.Compare(id) >= 0 })
}

// index finds a live event by its id.
func (st *stream) index(id rpw.ID) (int, bool) {
	i := st.from(id)
	return i, i < st.events.len() && st.events.at(i).id == id && !st.events.at(i).gone
}

// resume finds where reading after p goes on, or what is missing in between.
func (st *stream) resume(p rpw.Position) (index int, gap *rpw.GapError) {
	kind, missed := rpw.GapReset, uint64(0)
	switch {
	case p.Epoch != st.epoch || p.Count > st.added: // another history
	case p.Count < st.trimmed.Count:
		kind = rpw.GapTrimmed
		if counted := p.Count > 0 || p.ID.IsZero(); counted && st.edited <= p.Count {
			missed = st.trimmed.Count - p.Count
		}
	default:
		if index = st.after(p.Count); st.fits(p, index) {
			return index, nil
		}
	}
	return 0, &rpw.GapError{Stream: st.name, Kind: kind, After: p, Resume: st.trimmed, Oldest: st.trimmed, Missed: missed}
}

// fits reports whether the id of p belongs to its place before index.
func (st *stream) fits(p rpw.Position, index int) bool {
	if p.Count == st.added {
		return p.ID == st.last
	}
	if index < st.events.len() && st.events.at(index).id.Compare(p.ID) <= 0 {
		return false
	}
	prev := st.trimmed
	if index > 0 {
		prev = st.position(st.events.at(index - 1))
	}
	if prev.Count == p.Count {
		return prev.ID == p.ID
	}
	return prev.ID.Compare(p.ID) < 0 // the event of p was edited away
}

// locate turns a Start into a Position.
func (st *stream) locate(at rpw.Start) rpw.Position {
	switch at.Kind {
	case rpw.StartOldest:
		return st.trimmed
	case rpw.StartSince:
		return st.before(st.from(rpw.ID{MS: uint64(max(0, at.Time.UnixMilli()))}))
	case rpw.StartAfter:
		return st.locateAfter(at.Position)
	case rpw.StartLast:
		return st.before(st.newest(at.N))
	}
	return st.end()
}

// locateAfter gives an id without an epoch its place in the present history. An id of events that
// are gone has no count: reading from there reports the gap.
func (st *stream) locateAfter(p rpw.Position) rpw.Position {
	switch {
	case p.Epoch != 0:
		return p
	case p.ID.IsZero():
		return st.trimmed
	case p.ID.Compare(st.trimmed.ID) < 0:
		return rpw.Position{Epoch: st.epoch, ID: p.ID}
	}
	i := st.from(p.ID)
	if i < st.events.len() && st.events.at(i).id == p.ID {
		i++
	}
	return st.before(i)
}

// newest returns the index of the n-th newest event.
func (st *stream) newest(n int) int {
	i := st.events.len()
	if st.live == int64(i) {
		return i - min(n, i)
	}
	for n > 0 && i > 0 {
		if i--; !st.events.at(i).gone {
			n--
		}
	}
	return i
}

// lag counts the events after a count.
func (st *stream) lag(count uint64) int64 {
	i := st.after(count)
	n := int64(st.events.len() - i)
	if st.live == int64(st.events.len()) {
		return n
	}
	for ; i < st.events.len(); i++ {
		if st.events.at(i).gone {
			n--
		}
	}
	return n
}

// drop ends this history: its bytes are given back, and everyone who waits for it looks again.
func (st *stream) drop() {
	st.gone = true
	for _, g := range st.groups {
		st.dropGroup(g)
	}
	for ; st.events.len() > 0; st.events.pop() {
		if !st.events.at(0).gone {
			st.forget(0)
		}
	}
	st.keys.drop(st.store)
	st.readers.wakeAll()
}
