package conformance

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// actionModel is one queue: a slice of actions, in order of enqueueing.
type actionModel struct {
	*world
	paused  bool
	actions []modelAction
	leases  []rpw.Lease // all that were ever given
}

type modelAction struct {
	spec     rpw.ActionSpec
	state    rpw.State
	attempt  int
	failures int
	seq      uint64
	runAt    time.Time
	until    time.Time
	lease    time.Duration
	token    uint64
	cancelAt time.Time
	finished time.Time
	ended    modelEnd // of the newest lease that was given up
}

// modelEnd is how a holder gave up his lease.
type modelEnd struct {
	token uint64
	kind  rpw.MoveKind
	code  string // of the answer
	final bool   // the action ended with it
}

const modelQueue = "queue"

var modelIDs = []string{"a", "b", "c", "d"}

func newActionModel(w *world) *actionModel { return &actionModel{world: w} }

func (m *actionModel) verbs() map[string]func() {
	return map[string]func(){"action enqueue": m.enqueue, "action claim": m.claim, "action advance": m.advance, "action control": m.control,
		"action changes": m.changes, "action list": m.list, "action queues": m.queues}
}

func (m *actionModel) flushed() { m.paused, m.actions = false, nil }

// changes reads the history of an action from somewhere on.
func (m *actionModel) changes() {
	req := rpw.ChangesRequest{Ref: rpw.ActionRef{Queue: modelQueue, ID: pick(m.world, "id", modelIDs...)}}
	a := m.find(req.Ref.ID)
	if a == nil {
		_, err := m.hub.Actions().Changes(m.ctx, req)
		m.code("not_found", err)
		return
	}
	req.After = a.seq - min(a.seq, uint64(m.number("newest", 0, 50)))
	req.Max = m.number("max", 1, 50)
	changes, err := m.hub.Actions().Changes(m.ctx, req)
	m.code("", err, "changes", req)
	require.Len(m, changes, min(req.Max, int(a.seq-req.After)))
	for i, c := range changes {
		require.Equal(m, req.After+uint64(i)+1, c.Seq)
		if c.Seq == a.seq {
			require.Equal(m, a.state, c.State)
		}
	}
}

// list reads pages of actions in some states.
func (m *actionModel) list() {
	req := rpw.ListActions{Max: m.number("max", 1, 3), Reverse: m.number("reverse", 0, 1) == 1}
	req.QueuePrefix, req.NamePrefix = pick(m.world, "queue", "", modelQueue[:2], "other"), pick(m.world, "name", "", "j")
	req.States = pick(m.world, "states", nil, []rpw.State{rpw.Pending}, []rpw.State{rpw.Running, rpw.Completed}, []rpw.State{rpw.Failed, rpw.Cancelled})
	m.pass()
	want := make(map[string]rpw.State)
	for _, a := range m.actions {
		if strings.HasPrefix(modelQueue, req.QueuePrefix) && (len(req.States) == 0 || slices.Contains(req.States, a.state)) {
			want[a.spec.Ref.ID] = a.state
		}
	}
	got := make(map[string]rpw.State)
	var before time.Time
	for {
		page, err := m.hub.Actions().List(m.ctx, req)
		m.code("", err)
		for _, a := range page.Actions {
			require.NotContains(m, got, a.Ref.ID)
			require.True(m, before.IsZero() || a.Created.Equal(before) || a.Created.After(before) != req.Reverse, "the order")
			before, got[a.Ref.ID] = a.Created, a.State
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			break
		}
	}
	require.Equal(m, want, got, req)
}

// queues counts by what the actions wait for.
func (m *actionModel) queues() {
	m.pass()
	want := rpw.QueueInfo{Name: modelQueue, Paused: m.paused}
	for _, a := range m.actions {
		switch {
		case a.state == rpw.Running:
			want.Running++
		case a.state != rpw.Pending:
			want.Finished++
		case a.runAt.After(time.Now()):
			want.Scheduled++
		default:
			want.Ready++
		}
	}
	page, err := m.hub.Actions().Queues(m.ctx, rpw.QueuesRequest{})
	m.code("", err)
	if len(m.actions) == 0 && !m.paused {
		require.Empty(m, page.Queues)
		return
	}
	require.Len(m, page.Queues, 1)
	page.Queues[0].Oldest = 0
	require.Equal(m, want, page.Queues[0])
}

// note is the end of an attempt, or of the action.
func (a *modelAction) note(state rpw.State, at time.Time) {
	a.state, a.seq = state, a.seq+1
	if state.Terminal() {
		a.finished = at
	}
}

// wait lets the action be pending from a time on.
func (a *modelAction) wait(at time.Time) {
	a.note(rpw.Pending, at)
	a.runAt = at
}

// fail ends an attempt.
func (a *modelAction) fail(permanent bool, at, again time.Time) {
	a.failures++
	if permanent || a.attempt >= a.spec.MaxAttempts {
		a.note(rpw.Failed, at)
	} else {
		a.wait(again)
	}
}

// pass does what time has done.
func (m *actionModel) pass() {
	now := time.Now()
	m.actions = slices.DeleteFunc(m.actions, func(a modelAction) bool {
		keep := 24 * time.Hour
		switch a.state {
		case rpw.Completed:
			keep = cmp.Or(a.spec.Keep.Completed, keep)
		case rpw.Failed:
			keep *= 7
		}
		return a.state.Terminal() && !a.finished.Add(keep).After(now)
	})
	for i := range m.actions {
		a := &m.actions[i]
		end := a.until
		cancelled := !a.cancelAt.IsZero()
		if grace := a.cancelAt.Add(a.spec.CancelGrace); cancelled && grace.Before(end) {
			end = grace
		}
		switch {
		case a.state != rpw.Running || end.After(now):
		case cancelled:
			a.note(rpw.Cancelled, end)
		default:
			a.fail(false, end, end)
		}
	}
}

// find is the place of an action.
func (m *actionModel) find(id string) *modelAction {
	m.pass()
	for i := range m.actions {
		if m.actions[i].spec.Ref.ID == id {
			return &m.actions[i]
		}
	}
	return nil
}

// holder is the action that has a unique key.
func (m *actionModel) holder(key string) *modelAction {
	for i := range m.actions {
		if a := &m.actions[i]; key != "" && a.spec.Unique == key && !a.state.Terminal() {
			return a
		}
	}
	return nil
}

func (m *actionModel) enqueue() {
	specs := make([]rpw.ActionSpec, m.number("specs", 1, 2))
	for i := range specs {
		s := job(modelQueue, pick(m.world, "id", modelIDs...))
		s.Arg = json.RawMessage(pick(m.world, "arg", "1", "1", "1", "2"))
		s.MaxAttempts, s.CancelGrace = m.number("attempts", 1, 3), m.span("grace")
		s.Unique, s.OnUnique = pick(m.world, "unique", "", "", "k"), rpw.UniquePolicy(m.number("policy", 0, 3))
		if len(specs) > 1 { // what an item sees of a change by another one of its call is not promised
			s.OnUnique %= rpw.UniqueReplace
		}
		if m.number("delayed", 0, 2) == 0 {
			s.Delay = m.span("delay")
		}
		if m.bubble {
			s.Keep.Completed = pick(m.world, "keep", 0, m.short)
		}
		specs[i] = s
	}
	answers, err := m.hub.Actions().Enqueue(m.ctx, specs)
	m.code("", err)
	m.pass()
	before := slices.Clone(m.actions)
	want := make([]rpw.Enqueued, len(specs))
	refused := false
	for i, s := range specs {
		existing, ok := m.admit(s)
		want[i] = rpw.Enqueued{Ref: cmp.Or(existing, s.Ref), Existing: existing != rpw.ActionRef{}}
		refused = refused || !ok
	}
	if refused {
		m.actions = before
	}
	for i := range specs {
		if refused {
			m.code("conflict", answers[i].Err, "enqueue", specs)
			continue
		}
		m.code("", answers[i].Err, "enqueue", specs)
		require.Equal(m, want[i], answers[i])
	}
}

// admit takes a spec; ok is false if it is refused.
func (m *actionModel) admit(s rpw.ActionSpec) (existing rpw.ActionRef, ok bool) {
	at := time.Now().Add(s.Delay)
	if a := m.find(s.Ref.ID); a != nil {
		return s.Ref, string(a.spec.Arg) == string(s.Arg)
	}
	a := m.holder(s.Unique)
	switch {
	case a == nil:
		m.actions = append(m.actions, modelAction{spec: s, state: rpw.Pending, seq: 1, runAt: at})
		return rpw.ActionRef{}, true
	case s.OnUnique == rpw.UniqueJoin:
	case s.OnUnique == rpw.UniqueReject || a.state != rpw.Pending:
		return rpw.ActionRef{}, false
	case s.OnUnique == rpw.UniqueReplace:
		s.Ref = a.spec.Ref
		a.spec, a.attempt, a.runAt, a.seq = s, 0, at, a.seq+1
	default:
		a.runAt, a.seq = at, a.seq+1
	}
	return a.spec.Ref, true
}

func (m *actionModel) claim() {
	req := rpw.ClaimRequest{Queues: []string{"empty", modelQueue}, Worker: "w", Max: m.number("max", 1, 3), Lease: m.span("lease")}
	claimed, err := m.hub.Actions().Claim(m.ctx, req)
	m.code("", err)
	m.pass()
	now := time.Now()
	var ready []*modelAction
	for i := range m.actions {
		if a := &m.actions[i]; !m.paused && a.state == rpw.Pending && !a.runAt.After(now) {
			ready = append(ready, a)
		}
	}
	slices.SortStableFunc(ready, func(a, b *modelAction) int { return a.runAt.Compare(b.runAt) })
	ready = ready[:min(len(ready), req.Max)]
	require.Len(m, claimed, len(ready))
	for i, a := range ready {
		require.Equal(m, a.spec.Ref, claimed[i].Ref)
		require.Greater(m, claimed[i].Lease.Token, a.token)
		a.note(rpw.Running, now)
		a.attempt++
		a.lease, a.until, a.token = req.Lease, now.Add(req.Lease), claimed[i].Lease.Token
		require.Equal(m, a.attempt, claimed[i].Attempt)
		m.leases = append(m.leases, claimed[i].Lease)
	}
}

func (m *actionModel) advance() {
	if len(m.leases) == 0 {
		return
	}
	move := rpw.Move{Lease: pick(m.world, "lease", m.leases...),
		Kind: pick(m.world, "kind", rpw.Renew, rpw.SetProgress, rpw.AddEvent, rpw.Complete, rpw.Fail, rpw.Giveback, rpw.AcceptCancel)}
	switch move.Kind {
	case rpw.AddEvent:
		move.Event = "e"
	case rpw.Fail:
		move.Failure.Permanent = m.number("permanent", 0, 3) == 0
		move.RetryIn = pick(m.world, "retry", 0, m.short)
	case rpw.Giveback:
		move.RetryIn = pick(m.world, "retry", 0, m.short)
	}
	a := m.find(move.Lease.Ref.ID)
	holds := a != nil && a.state == rpw.Running && a.token == move.Lease.Token
	if holds && move.Kind == rpw.AcceptCancel && a.cancelAt.IsZero() {
		return // nothing to accept
	}
	answers, err := m.hub.Actions().Advance(m.ctx, rpw.AdvanceRequest{Moves: []rpw.Move{move}})
	m.code("", err)
	switch {
	case a == nil:
		m.code("not_found", answers[0].Err, move)
	case holds:
		m.code(m.apply(a, move), answers[0].Err, move)
		require.Equal(m, a.state, answers[0].State)
		require.Equal(m, a.state == rpw.Running && !a.cancelAt.IsZero(), answers[0].Cancel)
	case a.ended.token == move.Lease.Token && a.ended.kind == move.Kind:
		m.code(a.ended.code, answers[0].Err, "a repeat of", move)
	case a.ended.token == move.Lease.Token && a.ended.final && a.token == move.Lease.Token && a.state.Terminal():
		m.code("finished", answers[0].Err, move)
	default:
		m.code("lease_lost", answers[0].Err, move)
	}
}

// apply makes a move of the holder, and returns the code of its answer.
func (m *actionModel) apply(a *modelAction, move rpw.Move) string {
	now := time.Now()
	switch move.Kind {
	case rpw.Renew:
		a.until = now.Add(a.lease)
		return ""
	case rpw.SetProgress:
		a.until = now.Add(a.lease)
		a.seq++
		return ""
	case rpw.AddEvent:
		a.seq++
		return ""
	}
	a.ended = modelEnd{token: a.token, kind: move.Kind}
	switch {
	case !a.cancelAt.IsZero():
		a.note(rpw.Cancelled, now)
		if move.Kind == rpw.Complete || move.Kind == rpw.Fail {
			a.ended.code = "cancelled"
		}
	case move.Kind == rpw.Complete:
		a.note(rpw.Completed, now)
	case move.Kind == rpw.Fail:
		a.fail(move.Failure.Permanent, now, now.Add(move.RetryIn))
	case move.Kind == rpw.Giveback:
		a.attempt--
		a.wait(now.Add(move.RetryIn))
	}
	a.ended.final = a.state.Terminal()
	return a.ended.code
}

func (m *actionModel) control() {
	c := rpw.Command{Kind: pick(m.world, "kind", rpw.Cancel, rpw.Retry, rpw.DeleteAction, rpw.Reschedule, rpw.Pause, rpw.Resume), Ref: rpw.ActionRef{Queue: modelQueue}}
	switch c.Kind {
	case rpw.Pause, rpw.Resume:
		m.paused = c.Kind == rpw.Pause
	case rpw.Retry, rpw.Reschedule:
		c.Delay = pick(m.world, "delay", 0, m.short)
		fallthrough
	default:
		c.Ref.ID = pick(m.world, "id", modelIDs...)
	}
	answers, err := m.hub.Actions().Control(m.ctx, rpw.ControlRequest{Commands: []rpw.Command{c}})
	m.code("", err)
	if c.Ref.ID == "" {
		m.code("", answers[0].Err, c)
		return
	}
	a := m.find(c.Ref.ID)
	if a == nil {
		m.code("not_found", answers[0].Err, c)
		return
	}
	m.code(m.obey(a, c), answers[0].Err, c)
}

// obey follows a command, and returns the code of its answer.
func (m *actionModel) obey(a *modelAction, c rpw.Command) string {
	now := time.Now()
	switch {
	case c.Kind == rpw.Cancel && (a.state == rpw.Cancelled || a.state == rpw.Running && !a.cancelAt.IsZero()):
	case c.Kind == rpw.Cancel && a.state.Terminal():
		return "finished"
	case c.Kind == rpw.Cancel && a.state == rpw.Running:
		a.cancelAt, a.seq = now, a.seq+1
	case c.Kind == rpw.Cancel:
		a.cancelAt = now
		a.note(rpw.Cancelled, now)
	case c.Kind == rpw.DeleteAction && a.state == rpw.Running:
		return "conflict"
	case c.Kind == rpw.DeleteAction:
		m.actions = slices.DeleteFunc(m.actions, func(other modelAction) bool { return other.spec.Ref == a.spec.Ref })
	case a.state == rpw.Completed || a.state.Terminal() && c.Kind == rpw.Reschedule:
		return "finished"
	case a.state.Terminal() != (c.Kind == rpw.Retry) || a.state == rpw.Running || c.Kind == rpw.Retry && m.holder(a.spec.Unique) != nil:
		return "conflict"
	default:
		if c.Kind == rpw.Retry {
			a.attempt, a.cancelAt, a.finished = 0, time.Time{}, time.Time{}
		}
		a.wait(now.Add(c.Delay))
	}
	return ""
}

func (m *actionModel) check() {
	refs := make([]rpw.ActionRef, len(modelIDs))
	for i, id := range modelIDs {
		refs[i] = rpw.ActionRef{Queue: modelQueue, ID: id}
	}
	answers, err := m.hub.Actions().Get(m.ctx, refs)
	m.code("", err)
	want := make(map[rpw.State]int64)
	for i, got := range answers {
		a := m.find(modelIDs[i])
		if a == nil {
			m.code("not_found", got.Err)
			continue
		}
		m.code("", got.Err)
		want[a.state]++
		require.Equal(m, []any{a.state, a.attempt, a.failures, a.seq, string(a.spec.Arg), a.spec.MaxAttempts, !a.cancelAt.IsZero()},
			[]any{got.State, got.Attempt, len(got.Failures), got.Seq, string(got.Arg), got.MaxAttempts, !got.CancelAt.IsZero()})
		switch {
		case a.state == rpw.Pending:
			require.InDelta(m, 0, a.runAt.Sub(got.RunAt).Seconds(), m.blur())
		case a.state == rpw.Running:
			require.InDelta(m, 0, a.until.Sub(got.Until).Seconds(), m.blur())
		default:
			require.InDelta(m, 0, a.finished.Sub(got.Finished).Seconds(), m.blur())
		}
	}
	count, err := m.hub.Actions().Count(m.ctx, rpw.ActionFilter{Queues: []string{modelQueue}})
	m.code("", err)
	for _, state := range []rpw.State{rpw.Pending, rpw.Running, rpw.Completed, rpw.Failed, rpw.Cancelled} {
		require.Equal(m, want[state], count[state], state)
	}
}
