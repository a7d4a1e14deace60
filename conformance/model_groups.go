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
	ids       []rpw.ID // of what was published
	delivered int      // how many events have been delivered at least once
	pending   []modelPending
	dead      []int // events that are certainly dead letters
	again     bool  // events that are dead letters may come again
	receipts  []modelReceipt
	verdicts  map[uint64]modelVerdict // by token
	token     uint64                  // the greatest so far
	group     uint64                  // its incarnation
}

type modelPending struct {
	event    int
	attempt  int
	leased   bool
	until    time.Time
	token    uint64
	consumer string // the last one
	removed  bool   // and that one was removed since
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

var modelConsumers = []string{"a", "b"}

func newGroupModel(w *world) *groupModel {
	m := &groupModel{world: w, verdicts: make(map[uint64]modelVerdict)}
	m.ensure()
	return m
}

func (m *groupModel) verbs() map[string]func() {
	return map[string]func(){
		"group publish": m.publish, "group fetch": m.fetch, "group settle": m.settle, "group confirm": m.confirm,
		"group redrive": m.redrive, "group reset": m.reset, "group delete": m.remove, "group remove consumer": m.removeConsumer,
	}
}

// ensure makes the group.
func (m *groupModel) ensure() {
	cfg := rpw.GroupConfig{Stream: modelWork, Group: modelGroup, From: rpw.Oldest(), MaxDeliveries: modelDeliveries}
	info, err := m.hub.Streams().EnsureGroup(m.ctx, cfg)
	m.code("", err)
	require.Greater(m, info.Incarnation, m.group, "incarnations grow")
	m.group = info.Incarnation
}

// confirm finds the group as it is, also with other settings.
func (m *groupModel) confirm() {
	cfg := rpw.GroupConfig{Stream: modelWork, Group: modelGroup, MaxDeliveries: m.number("deliveries", modelDeliveries, modelDeliveries+1)}
	info, err := m.hub.Streams().EnsureGroup(m.ctx, cfg)
	if cfg.MaxDeliveries != modelDeliveries {
		m.code("conflict", err)
		return
	}
	m.code("", err)
	require.Equal(m, m.group, info.Incarnation)
}

// flushed makes the group again.
func (m *groupModel) flushed() {
	m.gone()
	m.ids, m.dead, m.again = nil, nil, false
	m.ensure()
}

// gone forgets what was of the group; receipts of it stay, and are worth nothing.
func (m *groupModel) gone() {
	_, err := m.hub.Streams().Fetch(m.ctx, rpw.FetchRequest{Stream: modelWork, Group: modelGroup, Consumer: "c"})
	m.code("not_found", err)
	m.forget(0)
}

// forget goes on after an event.
func (m *groupModel) forget(delivered int) {
	m.delivered, m.pending = delivered, nil
	clear(m.verdicts)
}

// exhausted are pending events that may be dead letters by now.
func (m *groupModel) exhausted() (events []int) {
	for _, p := range m.pending {
		if p.spent() {
			events = append(events, p.event)
		}
	}
	return events
}

// administer gives a command and returns how many events it touched.
func (m *groupModel) administer(cmd rpw.GroupCommand) int {
	cmd.Stream, cmd.Group = modelWork, modelGroup
	answers, err := m.hub.Streams().Administer(m.ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
	m.code("", err)
	m.code("", answers[0].Err, cmd)
	return int(answers[0].Events)
}

// redrive hands back all dead letters, where it is certain which they are.
func (m *groupModel) redrive() {
	if m.again || len(m.exhausted()) > 0 {
		return
	}
	require.Equal(m, len(m.dead), m.administer(rpw.GroupCommand{Verb: rpw.Redrive}))
	for _, event := range m.dead {
		m.pending = append(m.pending, modelPending{event: event, until: time.Now()})
	}
	m.dead = nil
}

func (m *groupModel) reset() {
	if len(m.exhausted()) > 0 { // it cannot be told whether they are dead letters
		return
	}
	from := pick(m.world, "from", rpw.Oldest(), rpw.Newest())
	require.Equal(m, len(m.pending), m.administer(rpw.GroupCommand{Verb: rpw.ResetGroup, From: from}))
	m.again = m.again || len(m.dead) > 0
	m.receipts = nil // whether their verdicts are still known is not promised
	if from == rpw.Oldest() {
		m.forget(0)
	} else {
		m.forget(len(m.ids))
	}
}

func (m *groupModel) remove() {
	if len(m.exhausted()) > 0 || m.number("really", 0, 2) > 0 {
		return
	}
	require.Equal(m, len(m.pending), m.administer(rpw.GroupCommand{Verb: rpw.DeleteGroup}))
	m.again = m.again || len(m.dead) > 0
	m.gone()
	m.ensure()
}

func (m *groupModel) removeConsumer() {
	consumer := pick(m.world, "consumer", modelConsumers...)
	m.administer(rpw.GroupCommand{Verb: rpw.RemoveConsumer, Consumer: consumer})
	for i := range m.pending {
		if p := &m.pending[i]; p.consumer == consumer {
			p.until, p.removed = time.Now(), true
		}
	}
}

func (m *groupModel) publish() {
	batch := rpw.Batch{Stream: modelWork, Events: []rpw.NewEvent{{Type: "e", Data: fmt.Append(nil, len(m.ids))}}}
	answers, err := m.hub.Streams().Publish(m.ctx, []rpw.Batch{batch})
	m.code("", cmp.Or(err, answers[0].Err))
	m.ids = append(m.ids, answers[0].Last().ID)
}

// due tells whether a pending event can be delivered again.
func (p *modelPending) due() bool { return !p.until.After(time.Now()) }

// spent tells whether it has had all its deliveries.
func (p *modelPending) spent() bool { return p.attempt >= modelDeliveries && (p.due() || !p.leased) }

func (m *groupModel) fetch() {
	req := rpw.FetchRequest{Stream: modelWork, Group: modelGroup, Consumer: pick(m.world, "consumer", modelConsumers...), Max: m.number("max", 1, 3), Lease: m.span("lease")}
	deliveries, err := m.hub.Streams().Fetch(m.ctx, req)
	m.code("", err, "fetch")

	m.pending = slices.DeleteFunc(m.pending, func(p modelPending) bool {
		exhausted := p.due() && p.attempt >= modelDeliveries
		if exhausted {
			m.dead = append(m.dead, p.event)
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
	fresh := min(req.Max-len(again), len(m.ids)-m.delivered)
	require.Len(m, deliveries, len(again)+fresh)
	for i, d := range deliveries {
		if i >= len(again) {
			m.pending = append(m.pending, modelPending{event: m.delivered})
			m.delivered++
			again = append(again, len(m.pending)-1)
		}
		p := &m.pending[again[i]]
		*p = modelPending{p.event, p.attempt + 1, true, time.Now().Add(req.Lease), d.Receipt.Token, req.Consumer, false}
		require.Equal(m, []any{m.ids[p.event], m.group}, []any{d.ID, d.Receipt.Incarnation})
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
	if slices.ContainsFunc(m.pending, func(p modelPending) bool { return p.token == s.Receipt.Token && p.removed }) && s.Delay > 0 {
		return // whether who was removed can hold on is not promised
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
		m.dead = append(m.dead, p.event)
		m.pending = slices.Delete(m.pending, i, i+1)
	case rpw.Ack:
		m.pending = slices.Delete(m.pending, i, i+1)
	}
}

func (m *groupModel) check() {
	groups, err := m.hub.Streams().Groups(m.ctx, modelWork)
	m.code("", err)
	require.Len(m, groups, 1)
	require.EqualValues(m, len(m.ids)-m.delivered, groups[0].Lag)
	dead := int64(len(m.dead))
	require.EqualValues(m, len(m.dead)+len(m.pending), groups[0].DeadLetters+groups[0].Pending, "an event was lost")
	require.GreaterOrEqual(m, groups[0].DeadLetters, dead)
	require.LessOrEqual(m, groups[0].DeadLetters, dead+int64(len(m.exhausted())))
	for _, c := range groups[0].Consumers {
		held, removed := int64(0), int64(0)
		for _, p := range m.pending {
			switch {
			case p.consumer != c.Name:
			case p.removed || p.spent():
				removed++
			default:
				held++
			}
		}
		require.GreaterOrEqual(m, c.Pending, held, c.Name)
		require.LessOrEqual(m, c.Pending, held+removed, c.Name)
	}
	m.list()
}

// list compares what is pending, in pages.
func (m *groupModel) list() {
	want := slices.Clone(m.pending)
	slices.SortFunc(want, func(a, b modelPending) int { return cmp.Compare(a.event, b.event) })
	req := rpw.PendingRequest{Stream: modelWork, Group: modelGroup, Max: 4}
	for {
		page, err := m.hub.Streams().Pending(m.ctx, req)
		m.code("", err)
		for _, got := range page.Entries {
			for len(want) > 0 && m.ids[want[0].event] != got.ID {
				require.True(m, want[0].spent(), "%v is not listed, %v is", want[0], got)
				want = want[1:]
			}
			require.NotEmpty(m, want, "%v is not pending, or not in order", got)
			m.entry(want[0], got)
			want = want[1:]
		}
		if req.After = page.Next; req.After.IsZero() {
			break
		}
	}
	for _, p := range want {
		require.True(m, p.spent(), "%v is not listed", p)
	}
}

func (m *groupModel) entry(want modelPending, got rpw.PendingEntry) {
	if want.attempt > 0 || want.consumer != "" { // not redriven
		require.Equal(m, want.consumer, got.Consumer)
		require.Equal(m, want.attempt, got.Attempt)
	}
	if !want.due() {
		require.Equal(m, want.leased, got.Leased)
		require.InDelta(m, 0, want.until.Sub(got.Until).Seconds(), m.blur())
	}
}
