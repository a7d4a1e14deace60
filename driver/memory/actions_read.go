package memory

import (
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/redis-process-worker/rpw"
)

// Get returns actions with their events.
func (s *actionStore) Get(ctx context.Context, refs []rpw.ActionRef) ([]rpw.GotAction, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answers := make([]rpw.GotAction, len(refs))
	for i, ref := range refs {
		answers[i] = s.get(ref)
	}
	return answers, nil
}

func (s *actionStore) get(ref rpw.ActionRef) rpw.GotAction {
	q := s.open(ref.Queue, false)
	if q == nil {
		return rpw.GotAction{Err: notFound(ref)}
	}
	defer q.close()
	r := q.find(ref.ID)
	if r == nil {
		return rpw.GotAction{Err: notFound(ref)}
	}
	action := r.snapshot()
	action.Events = newest(r.events)
	return rpw.GotAction{Action: action}
}

// List returns a page of actions in order of creation, merged over the queues.
func (s *actionStore) List(ctx context.Context, req rpw.ListActions) (rpw.ActionsPage, error) {
	if err := ctx.Err(); err != nil {
		return rpw.ActionsPage{}, err
	}
	var from uint64
	if req.Reverse {
		from = math.MaxUint64
	}
	if req.Cursor != "" {
		var err error
		if from, err = strconv.ParseUint(req.Cursor, 36, 64); err != nil {
			return rpw.ActionsPage{}, rpw.Errorf(rpw.ErrInvalid, "%s is no cursor; use the Next of a page as it was given", rpw.QuoteName(req.Cursor))
		}
	}
	heads := heap[*listed]{
		less:  func(a, b *listed) bool { return a.order < b.order != req.Reverse },
		place: func(l *listed) *int { return &l.slot },
	}
	more := func(queue string, from uint64) {
		if head := s.nextListed(queue, &req, from); head != nil {
			heads.push(head)
		}
	}
	for _, name := range s.among(&req.ActionFilter) {
		more(name, from)
	}
	var page rpw.ActionsPage
	most := pageSize(req.Max, rpw.MaxPage)
	for heads.len() > 0 {
		if len(page.Actions) == most {
			page.Next = strconv.FormatUint(from, 36)
			break
		}
		head := heads.first()
		heads.remove(head)
		page.Actions = append(page.Actions, head.action)
		from = head.order
		more(head.action.Ref.Queue, from)
	}
	return page, nil
}

// listed is the next action of a queue in a List.
type listed struct {
	action rpw.Action
	order  uint64
	slot   int
}

// nextListed finds the first action of a queue after an order that the request selects, nil if there is none.
func (s *actionStore) nextListed(queue string, req *rpw.ListActions, from uint64) *listed {
	q := s.open(queue, false)
	if q == nil {
		return nil
	}
	defer q.close()
	i, found := q.seek(from)
	step := 1
	switch {
	case req.Reverse:
		i, step = i-1, -1
	case found:
		i++
	}
	for ; i >= 0 && i < len(q.places); i += step {
		if r := q.places[i].record; q.selects(&req.ActionFilter, r) {
			return &listed{action: r.snapshot(), order: r.order}
		}
	}
	return nil
}

// selects reports whether a record is there and passes a filter; its queue has been chosen already.
func (q *queue) selects(f *rpw.ActionFilter, r *actionRecord) bool {
	return r != nil && !r.outlived(q.now) &&
		(len(f.States) == 0 || slices.Contains(f.States, r.State)) &&
		strings.HasPrefix(r.Name, f.NamePrefix) &&
		(f.Label == "" || slices.Contains(r.Labels, f.Label)) &&
		!r.Created.Before(f.From) &&
		(f.To.IsZero() || r.Created.Before(f.To))
}

// among returns the queues a filter names, each once, or all there are with its prefix.
func (s *actionStore) among(f *rpw.ActionFilter) []string {
	switch len(f.Queues) {
	case 0:
		return slices.DeleteFunc(s.names(), func(name string) bool { return !strings.HasPrefix(name, f.QueuePrefix) })
	case 1:
		return f.Queues
	}
	queues := slices.Clone(f.Queues)
	slices.Sort(queues)
	return slices.Compact(queues)
}

// Count counts actions by state.
func (s *actionStore) Count(ctx context.Context, filter rpw.ActionFilter) (map[rpw.State]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	counts := make(map[rpw.State]int64)
	for _, name := range s.among(&filter) {
		if q := s.open(name, false); q != nil {
			q.countInto(counts, &filter)
			q.close()
		}
	}
	return counts, nil
}

// countInto adds what a filter selects. Without anything but states to choose by, no record is looked at.
func (q *queue) countInto(counts map[rpw.State]int64, f *rpw.ActionFilter) {
	if f.NamePrefix != "" || f.Label != "" || !f.From.IsZero() || !f.To.IsZero() {
		for _, p := range q.places {
			if q.selects(f, p.record) {
				counts[p.record.State]++
			}
		}
		return
	}
	for state, n := range q.census() {
		if n > 0 && (len(f.States) == 0 || slices.Contains(f.States, state)) {
			counts[state] += n
		}
	}
}

// census counts the records by state, without those whose retention is over but which were not removed yet.
func (q *queue) census() map[rpw.State]int64 {
	states := maps.Clone(q.states)
	q.kept.walk(func(r *actionRecord) bool {
		over := !r.due.After(q.now)
		if over {
			states[r.State]--
		}
		return over
	})
	return states
}

// Queues describes queues, by name.
func (s *actionStore) Queues(ctx context.Context, req rpw.QueuesRequest) (rpw.QueuesPage, error) {
	if err := ctx.Err(); err != nil {
		return rpw.QueuesPage{}, err
	}
	names := slices.DeleteFunc(s.names(), func(name string) bool {
		return name <= req.After || !strings.HasPrefix(name, req.Prefix)
	})
	slices.Sort(names)
	var page rpw.QueuesPage
	most := pageSize(req.Max, rpw.MaxPage)
	for _, name := range names {
		info, ok := s.describe(name)
		if !ok {
			continue
		}
		if len(page.Queues) == most {
			page.Next = page.Queues[most-1].Name
			break
		}
		page.Queues = append(page.Queues, info)
	}
	return page, nil
}

// describe describes a queue; ok is false if it neither holds actions nor is paused.
func (s *actionStore) describe(name string) (info rpw.QueueInfo, ok bool) {
	q := s.open(name, false)
	if q == nil {
		return info, false
	}
	defer q.close()
	states := q.census()
	ready := int64(q.ready.len())
	info = rpw.QueueInfo{
		Name:      name,
		Paused:    q.paused,
		Ready:     ready,
		Scheduled: states[rpw.Pending] - ready,
		Running:   states[rpw.Running],
		Finished:  states[rpw.Completed] + states[rpw.Failed] + states[rpw.Cancelled],
	}
	if ready > 0 {
		info.Oldest = q.now.Sub(q.ready.first().RunAt)
	}
	return info, info.Paused || states[rpw.Pending]+info.Running+info.Finished > 0
}

// Changes returns what happened to an action after a sequence number, waiting if asked to.
func (s *actionStore) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req.Max = pageSize(req.Max, rpw.MaxPage)
	p := patience{req.Wait, clock()}
	for {
		q := s.open(req.Ref.Queue, false)
		if q == nil {
			return nil, notFound(req.Ref)
		}
		r := q.find(req.Ref.ID)
		if r == nil {
			q.close()
			return nil, notFound(req.Ref)
		}
		changes, err := r.since(req)
		left := p.left(q.now)
		if err != nil || len(changes) > 0 || left <= 0 {
			q.close()
			return changes, err
		}
		if due, timed := r.next(q.now); timed { // time alone may change it
			left = min(left, due.Sub(q.now))
		}
		if r.waiters == nil {
			r.waiters = new(waiters)
		}
		w := r.waiters.add()
		q.close()

		woken, err := w.wait(ctx, left)

		q.mu.Lock()
		if !woken {
			r.waiters.remove(w)
		}
		gone := r.gone
		q.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case gone:
			return nil, notFound(req.Ref)
		}
	}
}

// since returns the changes that a request asks for, as far as they have happened.
func (r *actionRecord) since(req rpw.ChangesRequest) ([]rpw.Change, error) {
	kept := newest(r.events)
	oldest := r.Seq - uint64(len(kept)) + 1
	switch {
	case req.After > r.Seq: // the number is from another action of this id
		return nil, r.gap(rpw.GapReset, req.After, oldest)
	case req.Final:
		if req.After == r.Seq || !r.State.Terminal() {
			return nil, nil
		}
		return slices.Clip(kept[len(kept)-1:]), nil
	case req.After+1 < oldest:
		return nil, r.gap(rpw.GapTrimmed, req.After, oldest)
	}
	kept = kept[req.After+1-oldest:]
	return slices.Clip(kept[:min(len(kept), req.Max)]), nil
}

// gap reports that the changes between after and the oldest one are not known.
func (r *actionRecord) gap(kind rpw.GapKind, after, oldest uint64) error {
	at := func(seq uint64) rpw.Position { return rpw.Position{ID: rpw.ID{Seq: seq}} }
	gap := &rpw.GapError{Stream: r.Ref.String(), Kind: kind, After: at(after), Resume: at(oldest - 1), Oldest: at(oldest - 1)}
	if kind == rpw.GapTrimmed {
		gap.Missed = oldest - after - 1
	}
	return gap
}
