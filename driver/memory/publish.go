package memory

import (
	"cmp"
	"context"
	"maps"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Publish implements rpw.StreamBus.
func (b *streamStore) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(batches) == 1 && len(batches[0].Events) == 1 { // the usual call, in one allocation
		var one struct {
			answers   [1]rpw.Published
			positions [1]rpw.Position
		}
		answers, positions := one.answers[:], one.positions[:]
		answers[0] = b.publish(&batches[0], positions)
		return answers, nil
	}
	answers := make([]rpw.Published, len(batches))
	for i := range batches {
		answers[i] = b.publish(&batches[i], make([]rpw.Position, len(batches[i].Events)))
	}
	return answers, nil
}

// publish appends one batch, and answers with positions.
func (b *streamStore) publish(batch *rpw.Batch, positions []rpw.Position) rpw.Published {
	st := b.lock(batch.Stream)
	defer st.mu.Unlock()
	now := time.Now()
	lane := rpw.Lane(batch.Producer)
	stored, hit, err := st.answered.recall(lane, now)
	if hit {
		st.answered.store(lane, now, stored) // used again: remembered for longer
		return rpw.Published{Positions: stored}
	}
	if err == nil {
		err = st.publish(batch, positions, now)
	}
	if err != nil {
		return rpw.Published{Err: err}
	}
	st.answered.store(lane, now, positions)
	return rpw.Published{Positions: positions}
}

func (st *stream) publish(batch *rpw.Batch, positions []rpw.Position, now time.Time) error {
	st.expire(now)
	st.keys.prune(st.store, now, pruneStep)
	fresh, err := st.admit(batch, positions, now)
	if err != nil {
		return err
	}
	for i := range batch.Events {
		if !positions[i].IsZero() {
			continue
		}
		e := &batch.Events[i]
		if e.Key != "" {
			if at, twice := st.keys.find(e.Key, now); twice {
				positions[i] = at
				st.store.release(costOf(e))
				continue
			}
		}
		positions[i] = st.append(e, e.Size(), extra{key: e.Key, header: maps.Clone(e.Header)}, now)
		if e.Key != "" {
			st.keys.remember(st.store, e.Key, positions[i], now.Add(cmp.Or(batch.KeyWindow, rpw.RepeatWindow)))
		}
	}
	if batch.Keep != (rpw.Retention{}) {
		st.keep = batch.Keep
		st.keep.Events = cmp.Or(st.keep.Events, rpw.DefaultKeepEvents)
	}
	st.trim(st.keep, now)
	st.wake(fresh)
	return nil
}

// admit checks a batch: it fills in the positions of events whose keys are stored, and charges the bytes of the fresh
// ones. A repeat of what is stored altogether appends nothing, so Expect does not stand against it.
func (st *stream) admit(batch *rpw.Batch, positions []rpw.Position, now time.Time) (fresh int, err error) {
	cost := 0
	for i := range batch.Events {
		e := &batch.Events[i]
		if e.Key != "" {
			if at, known := st.keys.find(e.Key, now); known {
				positions[i] = at
				continue
			}
		}
		fresh++
		cost += costOf(e)
	}
	if fresh > 0 && !batch.Expect.IsZero() && batch.Expect != st.end() {
		return 0, rpw.Errorf(rpw.ErrConflict, "the stream does not end where Expect says, but after %s; read on from there and decide again", st.last)
	}
	return fresh, st.store.reserve(cost)
}

// costOf is what a new event is charged.
func costOf(e *rpw.NewEvent) int {
	cost := e.Size() + eventOverhead
	if e.Key != "" {
		cost += keyCost(e.Key)
	}
	return cost
}

// wake lets those go on who wait for the n events just appended: all readers, and of each group as
// many consumers as there are events.
func (st *stream) wake(n int) {
	if n == 0 {
		return
	}
	st.readers.wakeAll()
	if len(st.groups) > 0 { // the loop costs, also if there is nothing
		for _, g := range st.groups {
			g.waiting.wake(n)
		}
	}
}
