package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Administer implements rpw.StreamBus. Commands come seldom, so all of them take turns: a repeat that
// overtakes its call finds the answer.
func (b *streamStore) Administer(ctx context.Context, req rpw.GroupCommands) ([]rpw.GroupAnswer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.admin.Lock()
	defer b.admin.Unlock()
	now := time.Now()
	answers, hit, err := b.commands.recall(req.Lane, now)
	if err != nil {
		return nil, err
	}
	if !hit {
		answers = make([]rpw.GroupAnswer, len(req.Commands))
		for i := range req.Commands {
			answers[i].Events, answers[i].Err = b.command(&req.Commands[i])
		}
		b.commands.store(req.Lane, now, answers)
	}
	return slices.Clone(answers), nil // callers wrap the errors in place
}

func (b *streamStore) command(cmd *rpw.GroupCommand) (n int64, err error) {
	g, err := b.lockGroup(cmd.Stream, cmd.Group)
	if err != nil {
		if cmd.Verb == rpw.DeleteGroup {
			err = nil // deleting what does not exist is no error
		}
		return 0, err
	}
	defer g.st.mu.Unlock()
	now := time.Now()
	defer g.handOver(now)
	switch cmd.Verb {
	case rpw.Redrive:
		return b.redrive(g, cmd, now), nil
	case rpw.ResetGroup:
		return g.reset(cmd.From, now), nil
	case rpw.DeleteGroup:
		n = int64(g.pending.len())
		g.st.dropGroup(g)
		return n, nil
	case rpw.RemoveConsumer:
		return g.removeConsumer(cmd.Consumer, now), nil
	}
	return 0, rpw.Errorf(rpw.ErrInvalid, "no command: say Redrive, ResetGroup, DeleteGroup or RemoveConsumer")
}

// redrive makes dead letters pending again.
func (b *streamStore) redrive(g *group, cmd *rpw.GroupCommand, now time.Time) (n int64) {
	dead := b.lockExisting(rpw.DeadLetter(g.Stream, g.Group))
	if dead == nil {
		return 0
	}
	defer dead.mu.Unlock()
	ids := cmd.IDs
	if len(ids) == 0 {
		ids = dead.oldestLetters(cmp.Or(cmd.Max, rpw.MaxBatch))
	}
	for _, id := range ids {
		i, ok := dead.index(id)
		if !ok {
			continue
		}
		origin := dead.events.origin(i)
		if origin == nil {
			continue
		}
		dead.remove(i)
		g.redrive(*origin, now)
		n++
	}
	return n
}

// oldestLetters returns the ids of the n oldest dead letters, without events that someone published among them.
func (st *stream) oldestLetters(n int) (ids []rpw.ID) {
	for i := 0; i < st.events.len() && len(ids) < n; i++ {
		if st.events.origin(i) != nil {
			ids = append(ids, st.events.at(i).id)
		}
	}
	return ids
}

// redrive makes an event pending that the group gave up on. It may have been set back since and
// hold the event anew: then once is enough.
func (g *group) redrive(event rpw.Event, now time.Time) {
	if g.pending.find(event.ID) != nil {
		return
	}
	size := rpw.NewEvent{Type: event.Type, Data: event.Data, Key: event.Key, Header: event.Header}.Size()
	g.st.store.charge(size + eventOverhead)
	p := &pending{id: event.ID, event: event, size: size, redriven: true, delivered: now, until: now}
	g.pending.add(p)
	g.queue(p, &g.ready)
}

// reset sets the cursor, and forgets what is pending and what consumers were still to be told.
func (g *group) reset(from rpw.Start, now time.Time) int64 {
	g.st.expire(now)
	g.cursor = g.st.locate(from)
	for _, c := range g.consumers {
		c.gap = nil
	}
	return g.clear()
}

// removeConsumer forgets a consumer; what it held is as if its leases had lapsed, also what it held when it was removed before.
func (g *group) removeConsumer(name string, now time.Time) (n int64) {
	if g.consumers[name] == nil {
		return 0
	}
	for p := range g.pending.after(rpw.ID{}) {
		if p.holder != nil && p.holder.name == name {
			p.until = now
			g.queue(p, &g.due)
			n++
		}
	}
	delete(g.consumers, name)
	return n
}
