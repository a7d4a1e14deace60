package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis-process-worker/rpw"
)

var (
	getScript     = newReader("actions_get.lua", actionPrelude, actionCore, actionBundles, actionLots, actionRecords, actionDescribe)
	changesScript = newReader("actions_changes.lua", actionPrelude, actionCore, actionBundles, actionLots, actionRecords)
)

// Get returns actions with their events.
func (a *actionStore) Get(ctx context.Context, refs []rpw.ActionRef) ([]rpw.GotAction, error) {
	answers, _, err := a.get(ctx, refs, true)
	return answers, err
}

// get reads actions, and how many bytes they are.
func (a *actionStore) get(ctx context.Context, refs []rpw.ActionRef, events bool) ([]rpw.GotAction, int, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	batches := byQueue(refs, func(r *rpw.ActionRef) string { return r.Queue })
	calls := make([]queueCall, len(batches))
	for i, b := range batches {
		args := make([]string, 1, 1+len(b.items))
		args[0] = flag(events)
		for _, at := range b.items {
			args = append(args, refs[at].ID)
		}
		calls[i] = queueCall{queue: b.queue, args: args}
	}
	answers := make([]rpw.GotAction, len(refs))
	total := 0
	for i, got := range a.runAll(ctx, getScript, calls) {
		if got.err != nil {
			return nil, 0, got.err
		}
		there := make(map[string]rpw.Action, len(got.values)/describedValues)
		for values := got.values; len(values) > 0; values = values[describedValues:] {
			if hasNoSpec(values) {
				continue
			}
			var action rpw.Action
			_, size, err := readAction(&action, batches[i].queue, values, events)
			if err != nil {
				return nil, 0, err
			}
			total += size
			there[action.Ref.ID] = action
		}
		for _, at := range batches[i].items {
			action, ok := there[refs[at].ID]
			if answers[at].Action = action; !ok {
				answers[at].Err = notFound(refs[at])
			}
		}
	}
	return answers, total, nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// How actions_changes.lua answers.
const (
	changesOK = iota
	changesNotFound
	changesAhead
	changesTrimmed
)

// Changes returns what happened to an action after a sequence number, waiting if asked to.
func (a *actionStore) Changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := patience{req.Wait, time.Now()}
	if req.Wait <= 0 {
		changes, _, err := a.changes(ctx, req)
		return changes, err
	}
	w, err := a.waker.watch(ctx, a.keys.channel(actionChannel, req.Ref.String()))
	if err != nil {
		return nil, err
	}
	defer w.close()
	over, stop := timer(p.left())
	defer stop()
	for {
		changes, due, err := a.changes(ctx, req)
		if len(changes) > 0 || err != nil {
			return changes, err
		}
		if look := time.Now().Add(peekEvery); a.rights.refuse(changesScript) && (due.IsZero() || look.Before(due)) {
			due = look
		}
		if _, ended, err := w.until(ctx, nil, due, over); ended {
			return nil, err
		}
	}
}

// peekEvery is how often a user looks who may not put himself among the watchers, so that nobody tells him.
const peekEvery = time.Second

// until waits for news, for something given (nil: nothing will be), for a time (zero: none), and for the time to look again in any case; ended: the
// call's time is over.
func (w *watch) until(ctx context.Context, given <-chan string, due time.Time, over <-chan time.Time) (news string, ended bool, err error) {
	patience := w.waker.patience()
	if !due.IsZero() {
		patience = min(patience, max(0, time.Until(due)))
	}
	look, stop := timer(patience)
	defer stop()
	select {
	case news = <-given:
		return news, false, nil
	case news = <-w.C:
		return news, false, nil
	case <-look:
		return "", false, nil
	case <-over:
		return "", true, nil
	case <-ctx.Done():
		return "", true, ctx.Err()
	}
}

// changes returns what has happened, and when time alone will change the action.
func (a *actionStore) changes(ctx context.Context, req rpw.ChangesRequest) ([]rpw.Change, time.Time, error) {
	none := time.Time{}
	values, err := a.run(ctx, changesScript, queueCall{queue: req.Ref.Queue, args: []string{
		req.Ref.ID, strconv.FormatUint(req.After, 10), strconv.Itoa(pageSize(req.Max, rpw.MaxPage)), flag(req.Final), flag(req.Wait > 0),
	}})
	if err != nil {
		return nil, none, err
	}
	newest := uint64(number(&values[1]))
	oldest := newest - min(newest, keptChanges) + 1
	switch number(&values[0]) {
	case changesNotFound:
		return nil, none, notFound(req.Ref)
	case changesAhead:
		return nil, none, changesGap(rpw.GapReset, req, oldest)
	case changesTrimmed:
		return nil, none, changesGap(rpw.GapTrimmed, req, oldest)
	}
	due := dueIn(number(&values[2]))
	if len(values) < 7 {
		return nil, due, nil
	}
	first, last := uint64(number(&values[3])), uint64(number(&values[4]))
	within, err := readHistory(uint64(number(&values[5])), textOf(&values[6]))
	if err != nil {
		return nil, none, err
	}
	changes, lost, err := readChanges(first, values[7:])
	switch {
	case err != nil:
		return nil, none, err
	case lost > 0 && req.Final:
		return nil, none, rpw.Errorf(rpw.ErrNotFound, "how the action ended was lost by a server that may drop keys")
	case lost > 0:
		return nil, none, changesGap(rpw.GapTrimmed, req, lost+1)
	}
	for _, c := range within {
		if c.Seq >= first && c.Seq <= last {
			changes = append(changes, c)
		}
	}
	return changes, due, nil
}

// keptChanges is how many changes of an action are kept; lua/prelude_actions.lua says the same.
const keptChanges = 100

// changesGap reports that the changes between those that were seen and the oldest one are not known.
func changesGap(kind rpw.GapKind, req rpw.ChangesRequest, oldest uint64) error {
	at := func(seq uint64) rpw.Position { return rpw.Position{ID: rpw.ID{Seq: seq}} }
	gap := &rpw.GapError{Stream: req.Ref.String(), Kind: kind, After: at(req.After), Resume: at(oldest - 1), Oldest: at(oldest - 1)}
	if kind == rpw.GapTrimmed {
		gap.Missed = oldest - req.After - 1
	}
	return gap
}
