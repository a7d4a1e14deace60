package conformance

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// groupModel is one group on a stream that only grows.
type groupModel struct {
	*world
	published int
	delivered int // how many events have been delivered at least once
	pending   []modelPending
	dead      int // certainly dead letters
	receipts  []modelReceipt
	verdicts  map[uint64]modelVerdict // by token
	token     uint64                  // the greatest so far
}

type modelPending struct {
	event   int
	attempt int
	leased  bool
	until   time.Time
	token   uint64
}

type modelReceipt struct {
	rpw.Receipt
	event int
}

type modelVerdict struct {
	rpw.Verdict
	ends time.Time // until then a repeat is answered the same
}

const (
	modelWork       = "work"
	modelGroup      = "group"
	modelDeliveries = 3
)

func newGroupModel(w *world) *groupModel {
	_, err := w.hub.Streams().EnsureGroup(w.ctx, rpw.GroupConfig{Stream: modelWork, Group: modelGroup, From: rpw.Oldest(), MaxDeliveries: modelDeliveries})
	w.code("", err)
	return &groupModel{world: w, verdicts: make(map[uint64]modelVerdict)}
}

func (m *groupModel) verbs() map[string]func() {
	return map[string]func(){"group publish": m.publish, "group fetch": m.fetch, "group settle": m.settle}
}

func (m *groupModel) publish() {
	batch := rpw.Batch{Stream: modelWork, Events: []rpw.NewEvent{{Type: "e", Data: fmt.Append(nil, m.published)}}}
	answers, err := m.hub.Streams().Publish(m.ctx, []rpw.Batch{batch})
	m.code("", cmp.Or(err, answers[0].Err))
	m.published++
}

// due tells whether a pending event can be delivered again.
func (p *modelPending) due() bool { return !p.until.After(time.Now()) }

func (m *groupModel) fetch() {
	req := rpw.FetchRequest{Stream: modelWork, Group: modelGroup, Consumer: pick(m.world, "consumer", "a", "b"), Max: m.number("max", 1, 3), Lease: m.span("lease")}
	deliveries, err := m.hub.Streams().Fetch(m.ctx, req)
	m.code("", err, "fetch")

	m.pending = slices.DeleteFunc(m.pending, func(p modelPending) bool {
		exhausted := p.due() && p.attempt >= modelDeliveries
		if exhausted {
			m.dead++
		}
		return exhausted
	})
	slices.SortFunc(m.pending, func(a, b modelPending) int { return cmp.Compare(a.event, b.event) })
	var again []int // of pending, those that come first
	for i := range m.pending {
		if m.pending[i].due() && len(again) < req.Max {
			again = append(again, i)
		}
	}
	fresh := min(req.Max-len(again), m.published-m.delivered)
	require.Len(m, deliveries, len(again)+fresh)
	for i, d := range deliveries {
		if i >= len(again) {
			m.pending = append(m.pending, modelPending{event: m.delivered})
			m.delivered++
			again = append(again, len(m.pending)-1)
		}
		p := &m.pending[again[i]]
		p.attempt, p.leased, p.until, p.token = p.attempt+1, true, time.Now().Add(req.Lease), d.Receipt.Token
		require.Equal(m, fmt.Sprint(p.event), string(d.Data))
		require.Equal(m, p.attempt, d.Attempt)
		require.Greater(m, d.Receipt.Token, m.token, "tokens grow")
		m.token = d.Receipt.Token
		m.receipts = append(m.receipts, modelReceipt{d.Receipt, p.event})
	}
}

func (m *groupModel) settle() {
	if len(m.receipts) == 0 {
		return
	}
	receipt := pick(m.world, "receipt", m.receipts...)
	s := rpw.Settlement{Receipt: receipt.Receipt, Verdict: pick(m.world, "verdict", rpw.Ack, rpw.Nack, rpw.Extend, rpw.Reject, rpw.Release)}
	if s.Verdict == rpw.Nack || s.Verdict == rpw.Extend {
		s.Delay = m.span("delay")
	}
	errs, err := m.hub.Streams().Settle(m.ctx, rpw.SettleRequest{Stream: modelWork, Group: modelGroup, Settlements: []rpw.Settlement{s}})
	m.code("", err)

	i := slices.IndexFunc(m.pending, func(p modelPending) bool { return p.token == s.Receipt.Token && p.leased })
	if i < 0 { // superseded, or settled
		old, settled := m.verdicts[s.Receipt.Token]
		switch {
		case settled && old.Verdict == s.Verdict && old.ends.After(time.Now()):
			m.code("", errs[0], "a repeat of", s)
		case settled && old.Verdict == s.Verdict && errs[0] == nil: // it may be remembered for longer
		default:
			m.code("lease_lost", errs[0], "settle", s)
		}
		return
	}
	p := &m.pending[i]
	if p.due() && errs[0] != nil { // the lease has lapsed, though no one else has the event
		m.code("lease_lost", errs[0], "settle", s)
		return
	}
	m.code("", errs[0], "settle", s)
	if s.Verdict != rpw.Extend {
		m.verdicts[p.token] = modelVerdict{s.Verdict, time.Now().Add(rpw.RepeatWindow)}
	}
	switch s.Verdict {
	case rpw.Extend:
		p.until = time.Now().Add(s.Delay)
	case rpw.Nack:
		p.leased, p.until = false, time.Now().Add(s.Delay)
	case rpw.Release:
		p.leased, p.until, p.attempt = false, time.Now(), p.attempt-1
	case rpw.Reject:
		m.dead++
		m.pending = slices.Delete(m.pending, i, i+1)
	case rpw.Ack:
		m.pending = slices.Delete(m.pending, i, i+1)
	}
}

func (m *groupModel) check() {
	groups, err := m.hub.Streams().Groups(m.ctx, modelWork)
	m.code("", err)
	require.Len(m, groups, 1)
	require.EqualValues(m, m.published-m.delivered, groups[0].Lag)
	exhausted := 0 // these may be dead letters by now
	for _, p := range m.pending {
		if p.attempt >= modelDeliveries && (p.due() || !p.leased) {
			exhausted++
		}
	}
	require.EqualValues(m, m.dead+len(m.pending), groups[0].DeadLetters+groups[0].Pending, "an event was lost")
	require.GreaterOrEqual(m, groups[0].DeadLetters, int64(m.dead))
	require.LessOrEqual(m, groups[0].DeadLetters, int64(m.dead+exhausted))
}
