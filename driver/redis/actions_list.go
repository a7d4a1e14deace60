package redis

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

var (
	listScript  = newReader("actions_list.lua", actionPrelude, actionCore, actionBundles, actionLots, actionRecords)
	queueScript = newReader("actions_queue.lua", actionPrelude, actionCore, actionBundles, actionLots, actionRecords)
)

// listed is an action in the order of creation over all queues: by time, then queue. No two of a queue have the same time.
type listed struct {
	created int64 // in µs
	queue   string
	id      string
}

func (l listed) compare(other listed) int {
	return cmp.Or(cmp.Compare(l.created, other.created), cmp.Compare(l.queue, other.queue))
}

func (l listed) cursor() string { return strconv.FormatInt(l.created, 36) + "." + l.queue }

func parseCursor(s string) (listed, error) {
	at, queue, ok := strings.Cut(s, ".")
	created, err := strconv.ParseInt(at, 36, 64)
	if !ok || err != nil || created < 0 {
		return listed{}, rpw.Errorf(rpw.ErrInvalid, "%s is no cursor; use the Next of a page as it was given", rpw.QuoteName(s))
	}
	return listed{created: created, queue: queue}, nil
}

// List returns a page of actions in order of creation, merged over the queues. First those that match are found, then
// as many as a page takes are read.
func (a *actionStore) List(ctx context.Context, req rpw.ListActions) (rpw.ActionsPage, error) {
	var page rpw.ActionsPage
	var after *listed
	if req.Cursor != "" {
		cursor, err := parseCursor(req.Cursor)
		if err != nil {
			return page, err
		}
		after = &cursor
	}
	queues, err := a.among(ctx, &req.ActionFilter)
	if err != nil {
		return page, err
	}
	most := pageSize(req.Max, rpw.MaxPage)
	var found []listed
	err = a.scan(ctx, queues, &req.ActionFilter, req.Reverse, after, most+1, func(l listed, _ rpw.State) { found = append(found, l) })
	if err != nil {
		return page, err
	}
	slices.SortFunc(found, func(l, m listed) int {
		if req.Reverse {
			l, m = m, l
		}
		return l.compare(m)
	})
	return a.read(ctx, found, most, req.States)
}

// pageBytes is how large a page of actions is, about; pages of large actions are shorter.
const pageBytes = rpw.MaxBatchBytes

// readAtOnce is how many actions of a page are read together.
const readAtOnce = 50

// read reads a page of the actions found. What has gone or changed its state meanwhile is left out.
func (a *actionStore) read(ctx context.Context, found []listed, most int, wanted []rpw.State) (page rpw.ActionsPage, err error) {
	n, size := 0, 0
	for n < min(most, len(found)) && size < pageBytes {
		some := found[n:min(n+readAtOnce, most, len(found))]
		refs := make([]rpw.ActionRef, len(some))
		for i, l := range some {
			refs[i] = rpw.ActionRef{Queue: l.queue, ID: l.id}
		}
		got, bytes, err := a.get(ctx, refs, false)
		if err != nil {
			return page, err
		}
		for _, g := range got {
			if g.Err == nil && (len(wanted) == 0 || slices.Contains(wanted, g.State)) {
				page.Actions = append(page.Actions, g.Action)
			}
		}
		n, size = n+len(some), size+bytes
	}
	if n < len(found) {
		page.Next = found[n-1].cursor()
	}
	return page, nil
}

// among returns the queues a filter names, each once, or all there are with its prefix.
func (a *actionStore) among(ctx context.Context, f *rpw.ActionFilter) ([]string, error) {
	if len(f.Queues) == 0 {
		return a.allQueues(ctx, f.QueuePrefix)
	}
	queues := slices.Clone(f.Queues)
	slices.Sort(queues)
	return slices.Compact(queues), nil
}

// scanned is what is left of the index of a queue.
type scanned struct {
	queue     string
	low, high int64 // the times of creation: from which on, and before which
	left      int   // matches that are wanted still
}

// scan tells the matches of each queue, in their order, up to most of each; most 0: all. The indexes are read a slice at a time.
func (a *actionStore) scan(ctx context.Context, queues []string, f *rpw.ActionFilter, reverse bool, after *listed, most int, match func(listed, rpw.State)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var wanted strings.Builder
	for i, state := range states {
		if i > 0 && slices.Contains(f.States, state) {
			wanted.WriteString(strconv.Itoa(i))
		}
	}
	open := make([]scanned, len(queues))
	for i, queue := range queues {
		open[i] = scanned{queue: queue, left: most}
		open[i].low, open[i].high = bounds(f, queue, after, reverse)
	}
	for len(open) > 0 {
		some := open[:min(len(open), scanAtOnce)]
		calls := make([]queueCall, len(some))
		for i, s := range some {
			calls[i] = queueCall{queue: s.queue, args: []string{decimal(s.low), decimal(s.high), flag(reverse), strconv.Itoa(s.left), wanted.String(), f.NamePrefix, f.Label}}
		}
		var again []scanned
		for i, got := range a.runAll(ctx, listScript, calls) {
			if got.err != nil {
				return got.err
			}
			s := some[i]
			found := (len(got.values) - 1) / 3
			for j := range found {
				of := got.values[1+3*j:]
				match(listed{number(&of[1]), s.queue, textOf(&of[0])}, stateOf(number(&of[2])))
			}
			on := number(&got.values[0])
			if on == 0 || most > 0 && found >= s.left {
				continue
			}
			if s.left > 0 {
				s.left -= found
			}
			if reverse {
				s.high = on
			} else {
				s.low = on
			}
			again = append(again, s)
		}
		open = append(again, open[len(some):]...)
	}
	return nil
}

// scanAtOnce is how many queues are looked at in one pipeline.
const scanAtOnce = 100

// bounds is the range of a queue's index that a filter and a cursor leave.
func bounds(f *rpw.ActionFilter, queue string, after *listed, reverse bool) (low, high int64) {
	low, high = 0, math.MaxInt64
	if !f.From.IsZero() {
		low = microTime(f.From)
	}
	if !f.To.IsZero() {
		high = microTime(f.To)
	}
	if after != nil {
		at := after.created
		if reverse && queue < after.queue || !reverse && queue <= after.queue { // it has told what it has of that time
			at++
		}
		if reverse {
			high = min(high, at)
		} else {
			low = max(low, at)
		}
	}
	return low, high
}

// Count counts actions by state.
func (a *actionStore) Count(ctx context.Context, f rpw.ActionFilter) (map[rpw.State]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	counts := make(map[rpw.State]int64)
	queues, err := a.among(ctx, &f)
	if err != nil {
		return nil, err
	}
	if f.NamePrefix != "" || f.Label != "" || !f.From.IsZero() || !f.To.IsZero() {
		err := a.scan(ctx, queues, &f, false, nil, 0, func(_ listed, state rpw.State) { counts[state]++ })
		return counts, err
	}
	for some := range slices.Chunk(queues, scanAtOnce) {
		infos, err := a.describe(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, info := range infos {
			for state, n := range info.states {
				if n > 0 && (len(f.States) == 0 || slices.Contains(f.States, state)) {
					counts[state] += n
				}
			}
		}
	}
	return counts, nil
}

// queueInfo is a queue as actions_queue.lua tells it.
type queueInfo struct {
	rpw.QueueInfo
	there  bool
	states map[rpw.State]int64
}

// describe describes queues.
func (a *actionStore) describe(ctx context.Context, queues []string) ([]queueInfo, error) {
	calls := make([]queueCall, len(queues))
	for i, queue := range queues {
		calls[i] = queueCall{queue: queue}
	}
	infos := make([]queueInfo, len(queues))
	for i, got := range a.runAll(ctx, queueScript, calls) {
		if got.err != nil {
			return nil, got.err
		}
		v := got.values
		info := queueInfo{there: number(&v[0]) == 1, states: make(map[rpw.State]int64, len(states))}
		for state := 1; state < len(states); state++ {
			info.states[states[state]] = number(&v[1+state])
		}
		ready := number(&v[7])
		info.QueueInfo = rpw.QueueInfo{
			Name:      queues[i],
			Paused:    number(&v[1]) == 1,
			Ready:     ready,
			Scheduled: info.states[rpw.Pending] - ready,
			Running:   info.states[rpw.Running],
			Finished:  info.states[rpw.Completed] + info.states[rpw.Failed] + info.states[rpw.Cancelled],
			Oldest:    time.Duration(number(&v[8])) * time.Microsecond,
		}
		infos[i] = info
	}
	return infos, nil
}

// Queues describes queues, by name.
func (a *actionStore) Queues(ctx context.Context, req rpw.QueuesRequest) (rpw.QueuesPage, error) {
	var page rpw.QueuesPage
	if err := ctx.Err(); err != nil {
		return page, err
	}
	most := pageSize(req.Max, rpw.MaxPage)
	for after := req.After; ; {
		names, err := a.queueNames(ctx, req.Prefix, after)
		if err != nil {
			return page, err
		}
		for some := range slices.Chunk(names, scanAtOnce) {
			full, err := a.addQueues(ctx, &page, some, most)
			if full || err != nil {
				return page, err
			}
		}
		if len(names) < rpw.MaxPage {
			return page, nil
		}
		after = names[len(names)-1].name
	}
}

// addQueues adds queues to a page, and takes those that are empty off the registry; full: the page has all it takes, and there are more.
func (a *actionStore) addQueues(ctx context.Context, page *rpw.QueuesPage, names []registeredQueue, most int) (full bool, err error) {
	queues := make([]string, len(names))
	for i, q := range names {
		queues[i] = q.name
	}
	infos, err := a.describe(ctx, queues)
	if err != nil {
		return false, err
	}
	var empty []registeredQueue
	for i, info := range infos {
		switch {
		case !info.there:
			empty = append(empty, names[i])
		case len(page.Queues) == most:
			page.Next = page.Queues[most-1].Name
			return true, a.forget(ctx, empty)
		default:
			page.Queues = append(page.Queues, info.QueueInfo)
		}
	}
	return false, a.forget(ctx, empty)
}
