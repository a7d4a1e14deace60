package logs

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Query returns the records that q selects, oldest first or newest first, over as many pages as there are. Each page looks at
// q.Max records at most (0: rpw.MaxPage); q.Wait is not used. A gap, history that was trimmed since q.After, is yielded as *rpw.GapError,
// and the records after it follow. Any other error ends it.
func Query(ctx context.Context, hub *rpw.Hub, q rpw.LogQuery) iter.Seq2[rpw.LogRecord, error] {
	q.Wait = 0
	return func(yield func(rpw.LogRecord, error) bool) {
		q := q // each iteration begins anew
		for {
			page, err := hub.Logs().Query(ctx, q)
			if gap, ok := errors.AsType[*rpw.GapError](err); ok {
				if !yield(rpw.LogRecord{}, gap) {
					return
				}
				q.After = gap.Resume
				continue
			}
			if err != nil {
				yield(rpw.LogRecord{}, err)
				return
			}
			if !yieldAll(page.Records, yield) || !page.More {
				return
			}
			q.After = page.Next
		}
	}
}

// Tail follows a log from start on: it yields the records that match, oldest first, and then those that come, until ctx ends; its
// error is the last thing yielded. The start is pinned before Tail returns: with rpw.Newest, all that is logged after that comes.
// rpw.Last(n) begins with the n newest records that match.
//
// While the backend is away, Tail tries again with back-off; nothing is lost by that. A gap (history that was trimmed before it was read)
// is yielded as *rpw.GapError, and the records after it follow. Any other error ends the tail.
func Tail(ctx context.Context, hub *rpw.Hub, filter rpw.LogFilter, start rpw.Start, opts ...TailOption) iter.Seq2[rpw.LogRecord, error] {
	t := tail{hub: hub, query: rpw.LogQuery{LogFilter: filter}, start: start}
	apply(&t.query, opts)
	err := t.pin(ctx)
	return func(yield func(rpw.LogRecord, error) bool) {
		t := t // each iteration begins at the same place
		if err != nil && !away(ctx, err) {
			yield(rpw.LogRecord{}, err)
			return
		}
		if yieldAll(t.first, yield) {
			t.follow(ctx, err != nil, yield)
		}
	}
}

// TailOption changes what Tail reads.
type TailOption func(*rpw.LogQuery)

// FromLog reads another log than rpw.DefaultLog.
func FromLog(name string) TailOption { return func(q *rpw.LogQuery) { q.Log = name } }

// tail is where a Tail is.
type tail struct {
	hub   *rpw.Hub
	query rpw.LogQuery
	start rpw.Start
	first []rpw.LogRecord // of Last
}

// pin turns start into a place that does not move any more.
func (t *tail) pin(ctx context.Context) error {
	switch start := t.start; start.Kind {
	case rpw.StartOldest:
		return nil
	case rpw.StartSince:
		if start.Time.IsZero() {
			return rpw.Errorf(rpw.ErrInvalid, "Since needs a time after 1970")
		}
		t.query.Since = start.Time
		return nil
	case rpw.StartAfter:
		t.query.After = start.Position
		return nil
	case rpw.StartNewest:
	case rpw.StartLast:
		if start.N < 1 {
			return rpw.Errorf(rpw.ErrInvalid, "Last(%d): the number of records must be at least 1", start.N)
		}
	default:
		return rpw.Errorf(rpw.ErrInvalid, "unknown start kind %d", start.Kind)
	}
	newest, err := t.hub.Logs().Query(ctx, rpw.LogQuery{Log: t.query.Log, Reverse: true, Max: 1})
	if err != nil || len(newest.Records) == 0 {
		return err
	}
	last := newest.Records[0]
	t.query.After = last.Position
	if t.start.Kind == rpw.StartNewest {
		return nil
	}
	if t.query.Matches(last) {
		t.first = append(t.first, last)
	}
	return t.lookBack(ctx)
}

// lookBack collects the records of Last before the newest one.
func (t *tail) lookBack(ctx context.Context) error {
	defer func() { slices.Reverse(t.first) }()
	if len(t.first) == t.start.N {
		return nil
	}
	back := t.query
	back.Reverse = true
	for r, err := range Query(ctx, t.hub, back) {
		if err != nil {
			t.first = nil
			return err
		}
		if t.first = append(t.first, r); len(t.first) == t.start.N {
			return nil
		}
	}
	return nil
}

func (t *tail) follow(ctx context.Context, unpinned bool, yield func(rpw.LogRecord, error) bool) {
	t.query.Wait = rpw.Forever
	for failures := 0; ; {
		page, err := t.next(ctx, &unpinned)
		if gap, ok := errors.AsType[*rpw.GapError](err); ok {
			if !yield(rpw.LogRecord{}, gap) {
				return
			}
			t.query.After = gap.Resume
			continue
		}
		if err != nil && away(ctx, err) && pause(ctx, failures) {
			failures++
			continue
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(rpw.LogRecord{}, err)
			return
		}
		failures = 0
		if !yieldAll(page.Records, yield) {
			return
		}
		t.query.After = page.Next
	}
}

// next returns the next page, after pinning the start if that has failed before.
func (t *tail) next(ctx context.Context, unpinned *bool) (rpw.LogPage, error) {
	if *unpinned {
		if err := t.pin(ctx); err != nil {
			return rpw.LogPage{}, err
		}
		*unpinned = false
		return rpw.LogPage{Records: t.first, Next: t.query.After}, nil
	}
	return t.hub.Logs().Query(ctx, t.query)
}

func yieldAll(records []rpw.LogRecord, yield func(rpw.LogRecord, error) bool) bool {
	for _, r := range records {
		if !yield(r, nil) {
			return false
		}
	}
	return true
}

// away reports whether err passes with time, while ctx lasts.
func away(ctx context.Context, err error) bool {
	return (errors.Is(err, rpw.ErrUnavailable) || errors.Is(err, rpw.ErrUncertain)) && ctx.Err() == nil
}

// pause waits before retry n (from 0), about 0.1 s to 2 s; false if ctx ended.
func pause(ctx context.Context, n int) bool {
	most := min(2*time.Second, 100*time.Millisecond<<min(n, 10))
	timer := time.NewTimer(most/2 + rand.N(most/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
