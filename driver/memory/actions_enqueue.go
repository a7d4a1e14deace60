package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver"
)

// Enqueue stores actions, all or none for each queue.
func (s *actionStore) Enqueue(ctx context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answers := make([]rpw.Enqueued, len(specs))
	items := make([]int, len(specs))
	for i := range items {
		items[i] = i
	}
	slices.SortStableFunc(items, func(a, b int) int { return cmp.Compare(specs[a].Ref.Queue, specs[b].Ref.Queue) })
	for len(items) > 0 {
		n := 1
		for n < len(items) && specs[items[n]].Ref.Queue == specs[items[0]].Ref.Queue {
			n++
		}
		s.enqueue(specs, items[:n], answers)
		items = items[n:]
	}
	return answers, nil
}

// enqueue stores the items of one queue. A full store first gives up what is past its retention, also in queues that
// nobody uses any more.
func (s *actionStore) enqueue(specs []rpw.ActionSpec, items []int, answers []rpw.Enqueued) {
	err := s.tryEnqueue(specs, items, answers)
	if errors.Is(err, rpw.ErrFull) {
		s.sweep()
		err = s.tryEnqueue(specs, items, answers)
	}
	if err == nil {
		return
	}
	for _, i := range items {
		switch answer := &answers[i]; {
		case errors.Is(err, rpw.ErrFull):
			answer.Err = err
		case answer.Err == nil:
			answer.Err = rpw.Errorf(rpw.ErrConflict, "not enqueued, because another action of its queue could not be: %v", err)
		}
	}
}

// tryEnqueue stores the items of one queue, or none of them: then it answers the first error.
func (s *actionStore) tryEnqueue(specs []rpw.ActionSpec, items []int, answers []rpw.Enqueued) error {
	q := s.open(specs[items[0]].Ref.Queue, true)
	defer q.close()
	intake := intake{queue: q, entries: make([]entry, 0, len(items))}
	var failed error
	for _, i := range items {
		e, err := intake.admit(&specs[i])
		answers[i] = rpw.Enqueued{Ref: specs[i].Ref, Err: err}
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		answers[i].Ref, answers[i].Existing = e.record.Ref, e.kind != entryNew
	}
	if failed == nil && intake.size > 0 {
		failed = s.store.reserve(intake.size)
	}
	if failed != nil {
		intake.undo()
		return failed
	}
	intake.apply()
	return nil
}

// intake is an Enqueue into one queue: everything is checked first, then written.
type intake struct {
	queue   *queue
	entries []entry
	size    int // bytes that are needed
}

// entry is what a spec comes to.
type entry struct {
	kind   entryKind
	spec   *rpw.ActionSpec
	record *actionRecord
	size   int // of the record before
}

type entryKind uint8

const (
	entryNew entryKind = iota
	entryJoin
	entryReplace
	entryReschedule
)

// admit checks a spec against the queue and those before it. New ids and keys are taken at once, so that the next
// ones see them; undo gives them back.
func (in *intake) admit(spec *rpw.ActionSpec) (entry, error) {
	q := in.queue
	if err := driver.Unsupported(spec, 0); err != nil {
		return entry{}, err
	}
	e := entry{spec: spec}
	if r := q.find(spec.Ref.ID); r != nil {
		if r.Name != spec.Name || !bytes.Equal(r.Arg, argument(spec)) {
			return entry{}, rpw.Errorf(rpw.ErrConflict, "the id %s is taken by another action", rpw.QuoteName(r.Ref.ID))
		}
		e.kind, e.record = entryJoin, r
	} else if r := q.unique[spec.Unique]; r != nil {
		var err error
		if e.kind, err = meet(spec, r); err != nil {
			return entry{}, err
		}
		e.record, e.size = r, r.size
		if e.kind == entryReplace {
			r.size = specSize(spec) // for the next one that replaces it
			in.size += r.size - e.size
		}
	} else {
		e.record = newRecord(q.store.store, spec, q.store.orders.Add(1), q.now)
		in.size += e.record.size
		q.byID[spec.Ref.ID] = e.record
		if spec.Unique != "" {
			q.unique[spec.Unique] = e.record
		}
	}
	in.entries = append(in.entries, e)
	return e, nil
}

// meet says what a spec does to the record that has its unique key.
func meet(spec *rpw.ActionSpec, r *actionRecord) (entryKind, error) {
	switch {
	case spec.OnUnique == rpw.UniqueJoin:
		return entryJoin, nil
	case spec.OnUnique == rpw.UniqueReject:
		return 0, rpw.Errorf(rpw.ErrConflict, "the unique key %s is taken by %s", rpw.QuoteName(spec.Unique), rpw.QuoteName(r.Ref.ID))
	case r.State == rpw.Running:
		return 0, rpw.Errorf(rpw.ErrConflict, "the unique key %s is taken by %s, which is running", rpw.QuoteName(spec.Unique), rpw.QuoteName(r.Ref.ID))
	case spec.OnUnique == rpw.UniqueReplace:
		return entryReplace, nil
	default:
		return entryReschedule, nil
	}
}

func (in *intake) undo() {
	for _, e := range slices.Backward(in.entries) {
		switch e.kind {
		case entryNew:
			delete(in.queue.byID, e.record.Ref.ID)
			in.queue.freeKey(e.record)
		case entryReplace:
			e.record.size = e.size
		}
	}
}

func (in *intake) apply() {
	q := in.queue
	if in.size < 0 {
		q.store.store.release(-in.size)
	}
	for _, e := range in.entries {
		r := e.record
		switch e.kind {
		case entryNew:
			q.add(r)
		case entryReplace:
			r.describe(e.spec, q.now)
			q.move(r, r.RunAt)
		case entryReschedule:
			q.move(r, runTime(q.now, e.spec.Delay, e.spec.RunAt))
		}
	}
}
