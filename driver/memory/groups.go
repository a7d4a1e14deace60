package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// lockGroup returns a group with the mutex of its stream held.
func (b *streamStore) lockGroup(stream, name string) (*group, error) {
	st := b.lockExisting(stream)
	if st != nil {
		if g := st.groups[name]; g != nil {
			return g, nil
		}
		st.mu.Unlock()
	}
	return nil, rpw.Errorf(rpw.ErrNotFound, "the stream has no group %s; call EnsureGroup first", rpw.QuoteName(name))
}

// deadLetters counts the dead letters of a group, whose stream is locked.
func (b *streamStore) deadLetters(g *group) int64 {
	dead := b.lockExisting(rpw.DeadLetter(g.Stream, g.Group))
	if dead == nil {
		return 0
	}
	defer dead.mu.Unlock()
	return dead.live
}

// EnsureGroup implements rpw.StreamBus.
func (b *streamStore) EnsureGroup(ctx context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error) {
	if err := ctx.Err(); err != nil {
		return rpw.GroupInfo{}, err
	}
	cfg.Lease = cmp.Or(cfg.Lease, rpw.DefaultGroupLease)
	cfg.MaxDeliveries = cmp.Or(cfg.MaxDeliveries, rpw.DefaultMaxDeliveries)
	cfg.DeadLetter.Events = cmp.Or(cfg.DeadLetter.Events, rpw.DefaultKeepEvents)
	st := b.lock(cfg.Stream)
	defer st.mu.Unlock()
	now := time.Now()
	st.expire(now)
	g := st.groups[cfg.Group]
	switch {
	case g == nil:
		g = newGroup(st, cfg, now)
		if st.groups == nil {
			st.groups = make(map[string]*group)
		}
		st.groups[cfg.Group] = g
	case g.Lease == cfg.Lease && g.MaxDeliveries == cfg.MaxDeliveries && g.DeadLetter == cfg.DeadLetter:
	case cfg.Update:
		g.Lease, g.MaxDeliveries, g.DeadLetter = cfg.Lease, cfg.MaxDeliveries, cfg.DeadLetter
	default:
		return rpw.GroupInfo{}, rpw.Errorf(rpw.ErrConflict,
			"the group exists with Lease %d ms, MaxDeliveries %d, DeadLetter.Events %d and DeadLetter.Age %d ms; ask for the same, or set Update",
			g.Lease.Milliseconds(), g.MaxDeliveries, g.DeadLetter.Events, g.DeadLetter.Age.Milliseconds())
	}
	return g.info(now, b.deadLetters(g)), nil
}

// Groups implements rpw.StreamBus.
func (b *streamStore) Groups(ctx context.Context, stream string) (infos []rpw.GroupInfo, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st := b.lockExisting(stream)
	if st == nil {
		return nil, nil
	}
	defer st.mu.Unlock()
	now := time.Now()
	st.expire(now)
	for _, name := range slices.Sorted(maps.Keys(st.groups)) {
		g := st.groups[name]
		infos = append(infos, g.info(now, b.deadLetters(g)))
	}
	return infos, nil
}

// Pending implements rpw.StreamBus.
func (b *streamStore) Pending(ctx context.Context, req rpw.PendingRequest) (page rpw.PendingPage, err error) {
	if err := ctx.Err(); err != nil {
		return page, err
	}
	g, err := b.lockGroup(req.Stream, req.Group)
	if err != nil {
		return page, err
	}
	defer g.st.mu.Unlock()
	now := time.Now()
	most := pageSize(req.Max, rpw.MaxPage)
	for p := range g.pending.after(req.After) {
		if req.Consumer != "" && (p.holder == nil || p.holder.name != req.Consumer) {
			continue
		}
		if len(page.Entries) == most {
			page.Next = page.Entries[most-1].ID
			break
		}
		page.Entries = append(page.Entries, p.entry(now))
	}
	return page, nil
}

func (p *pending) entry(now time.Time) rpw.PendingEntry {
	e := rpw.PendingEntry{ID: p.id, Attempt: p.attempt, Leased: p.leased && p.until.After(now), Until: p.until, Reason: p.reason}
	if p.holder != nil {
		e.Consumer = p.holder.name
	}
	return e
}
