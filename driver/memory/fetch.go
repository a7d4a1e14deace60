package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// fetched is an answer of Fetch: deliveries or a gap.
type fetched struct {
	deliveries []rpw.Delivery
	gap        *rpw.GapError
}

func (f fetched) empty() bool { return len(f.deliveries) == 0 && f.gap == nil }

// answer gives each caller a gap or a slice of his own.
func (f fetched) answer() ([]rpw.Delivery, error) {
	if f.gap != nil {
		gap := *f.gap
		return nil, &gap
	}
	return slices.Clone(f.deliveries), nil
}

// Fetch implements rpw.StreamBus.
func (b *streamStore) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req.Max = pageSize(req.Max, 1)
	patience := patience{req.Wait, time.Now()}
	for {
		g, err := b.lockGroup(req.Stream, req.Group)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		left := patience.left(now)
		answer, done, err := g.tryFetch(&req, now, left <= 0)
		if done || err != nil {
			g.handOver(now)
			g.st.mu.Unlock()
			if err != nil {
				return nil, err
			}
			return answer.answer()
		}
		if err := g.await(ctx, g.seat(req.Consumer, now), now, left); err != nil {
			return nil, err
		}
	}
}

// tryFetch answers a Fetch, unless it may wait and there is nothing to answer yet. Also an empty answer is remembered, so
// that a late twin of this call takes nothing.
func (g *group) tryFetch(req *rpw.FetchRequest, now time.Time, last bool) (answer fetched, done bool, err error) {
	answer, hit, err := g.fetched.recall(req.Lane, now)
	if hit || err != nil {
		answer.deliveries = g.held(answer.deliveries)
		return answer, true, err
	}
	g.st.expire(now)
	answer = g.fetch(req, now)
	if answer.empty() && !last {
		return answer, false, nil
	}
	g.fetched.store(req.Lane, now, answer)
	return answer, true, nil
}

// held keeps the deliveries that are still under their lease: what was settled or given back since is no repeat's any more.
func (g *group) held(deliveries []rpw.Delivery) []rpw.Delivery {
	return slices.DeleteFunc(slices.Clone(deliveries), func(d rpw.Delivery) bool {
		p := g.pending.find(d.ID)
		return p == nil || !p.leased || p.token != d.Receipt.Token
	})
}

// await waits, with the mutex of the stream held before and free after, until there may be something to fetch.
// It returns an error if ctx ended first.
func (g *group) await(ctx context.Context, c *consumer, now time.Time, left time.Duration) error {
	w := g.waiting.add()
	most := min(left, g.watch(w, now))
	c.waits++
	g.st.mu.Unlock()

	woken, err := w.wait(ctx, most)

	g.st.mu.Lock()
	defer g.st.mu.Unlock()
	c.waits--
	g.unwatch(w)
	if !woken {
		g.waiting.remove(w)
	}
	if err != nil {
		now = time.Now()
		c.seen = now
		g.handOver(now)
	}
	return err
}

// fetch takes what can be delivered to a consumer: a gap, then what is due again, then new events.
func (g *group) fetch(req *rpw.FetchRequest, now time.Time) fetched {
	if req.Incarnation != 0 && req.Incarnation != g.incarnation {
		return fetched{gap: &rpw.GapError{Stream: g.Stream, Group: g.Group, Kind: rpw.GapReset, Resume: g.cursor, Oldest: g.st.trimmed}}
	}
	c := g.seat(req.Consumer, now)
	g.noteGap()
	if gap := c.gap; gap != nil {
		c.gap = nil
		return fetched{gap: gap}
	}
	g.promote(now)
	out := outbox{
		g: g, to: c, now: now, until: now.Add(cmp.Or(req.Lease, g.Lease)),
		room: req.Max,
	}
	if g.redeliver(&out) {
		g.deliver(&out)
	}
	return fetched{deliveries: out.deliveries}
}

// redeliver hands out what was delivered before, by id. It reports whether there is room for more.
func (g *group) redeliver(out *outbox) bool {
	for g.ready.len() > 0 {
		p := g.ready.first()
		if g.exhausted(p) { // MaxDeliveries was lowered meanwhile
			g.bury(p, p.failure(), out.now)
			continue
		}
		if !out.fits(p.size) {
			return false
		}
		out.lease(p)
	}
	return true
}

// deliver hands out events that are new to the group.
func (g *group) deliver(out *outbox) {
	for i := g.st.after(g.cursor.Count); i < g.st.events.len(); i++ {
		rec := g.st.events.at(i)
		if !rec.gone && !g.holds(rec.id) {
			if !out.fits(int(rec.size)) {
				return
			}
			rec.held++
			p := &pending{id: rec.id, event: g.st.events.event(i, g.st.epoch), size: int(rec.size), delivered: out.now}
			g.pending.add(p)
			out.lease(p)
		}
		g.cursor = g.st.position(rec)
	}
}

// holds reports whether an event ahead of the cursor is pending already: one that was redriven after the
// group had been set back.
func (g *group) holds(id rpw.ID) bool {
	n := len(g.pending.list)
	return n > 0 && g.pending.list[n-1].id.Compare(id) >= 0 && g.pending.find(id) != nil
}

// outbox collects the deliveries of one Fetch.
type outbox struct {
	g          *group
	to         *consumer
	now, until time.Time
	room, size int
	deliveries []rpw.Delivery
}

// fits reports whether the answer has room for an event of this size. The first one always fits.
func (out *outbox) fits(size int) bool {
	return len(out.deliveries) < out.room && (len(out.deliveries) == 0 || out.size+size <= rpw.MaxBatchBytes)
}

// lease delivers a pending event.
func (out *outbox) lease(p *pending) {
	g := out.g
	g.token = max(g.token+1, uint64(out.now.UnixMicro()))
	g.hold(p, out.to)
	p.token, p.leased, p.until = g.token, true, out.until
	p.attempt++
	g.queue(p, &g.due)
	out.size += p.size
	out.deliveries = append(out.deliveries, rpw.Delivery{
		Event:   p.event,
		Receipt: rpw.Receipt{ID: p.id, Incarnation: g.incarnation, Token: p.token},
		Attempt: p.attempt,
		Until:   p.until,
	})
}
