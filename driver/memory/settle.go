package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Settle implements rpw.StreamBus.
func (b *streamStore) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g, err := b.lockGroup(req.Stream, req.Group)
	if err != nil {
		return nil, err
	}
	defer g.st.mu.Unlock()
	now := time.Now()
	answer, hit, err := g.settlements.recall(req.Lane, now)
	if err != nil {
		return nil, err
	}
	if !hit {
		answer = make([]error, len(req.Settlements))
		for i := range req.Settlements {
			answer[i] = g.settle(&req.Settlements[i], now)
		}
		g.settlements.store(req.Lane, now, answer)
		g.handOver(now)
	}
	return slices.Clone(answer), nil // callers wrap the errors in place
}

func (g *group) settle(s *rpw.Settlement, now time.Time) error {
	if verdict, ok := g.settled.get(s.Receipt, now); ok {
		if verdict == s.Verdict {
			return nil
		}
		return rpw.Errorf(rpw.ErrLeaseLost, "the event was settled with another verdict by the same receipt")
	}
	p := g.pending.find(s.Receipt.ID)
	if p == nil || !p.leased || p.token != s.Receipt.Token || g.incarnation != s.Receipt.Incarnation {
		return rpw.Errorf(rpw.ErrLeaseLost, "the lease on event %s is over and the event is no longer this holder's; stop working on it", s.Receipt.ID)
	}
	switch s.Verdict {
	case rpw.Extend: // no verdict on the event: nothing to remember
		p.until = now.Add(cmp.Or(s.Delay, g.Lease))
		g.queue(p, &g.due)
		return nil
	case rpw.Ack:
		g.forget(p)
	case rpw.Reject:
		if _, _, dead := rpw.ParseDeadLetter(g.Stream); dead {
			return rpw.Errorf(rpw.ErrInvalid, "an event of a dead-letter stream has no further one to go to; ack it, or redrive it")
		}
		g.bury(p, cmp.Or(s.Reason, "rejected"), now)
	case rpw.Nack:
		p.reason, p.nacked = s.Reason, p.attempt
		g.giveBack(p, now.Add(s.Delay))
	case rpw.Release:
		p.attempt--
		g.giveBack(p, now)
	default:
		return rpw.Errorf(rpw.ErrInvalid, "no verdict: say Ack, Nack, Extend, Reject or Release")
	}
	g.settled.put(s.Receipt, s.Verdict, now)
	return nil
}

// giveBack lets an event be delivered again from a time on.
func (g *group) giveBack(p *pending, at time.Time) {
	p.leased, p.until = false, at
	g.queue(p, &g.due)
}

// bury moves a pending event to the dead-letter stream. It frees a holder, so it is done also when the store is full.
func (g *group) bury(p *pending, reason string, now time.Time) {
	header := maps.Clone(p.event.Header)
	if header == nil {
		header = make(map[string]string, 4)
	}
	header[rpw.HeaderDeadReason] = reason
	header[rpw.HeaderDeadAttempts] = strconv.Itoa(p.attempt)
	header[rpw.HeaderDeadID] = p.id.String()
	if p.holder != nil {
		header[rpw.HeaderDeadConsumer] = p.holder.name
	}
	origin := p.event
	origin.Data = slices.Clip(bytes.Clone(origin.Data)) // out of the block that it shares with events which may go soon
	letter := rpw.NewEvent{Type: origin.Type, Data: origin.Data, Key: origin.Key, Header: header}
	size := letter.Size()

	dead := g.st.store.streams.lock(rpw.DeadLetter(g.Stream, g.Group))
	defer dead.mu.Unlock()
	dead.store.charge(size + eventOverhead)
	dead.append(&letter, size, extra{key: letter.Key, header: header, origin: &origin}, now)
	dead.keep = g.DeadLetter
	dead.trim(dead.keep, now)
	dead.wake(1)
	g.forget(p)
}
