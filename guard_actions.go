package rpw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"
)

// guardedActions is the ActionStore of a Hub.
type guardedActions struct{ h *Hub }

var _ ActionStore = guardedActions{}

func (g guardedActions) call(verb, target string, items int) call {
	return call{h: g.h, verb: verb, target: target, items: items, repeat: true}
}

func (g guardedActions) in(ref ActionRef) ActionRef {
	ref.Queue = g.h.inward(ref.Queue)
	return ref
}

func (g guardedActions) out(ref ActionRef) ActionRef {
	ref.Queue = g.h.outward(ref.Queue)
	return ref
}

func (g guardedActions) Enqueue(ctx context.Context, specs []ActionSpec) ([]Enqueued, error) {
	c := g.call("enqueue", "", len(specs))
	if err := checkItems(len(specs)); err != nil {
		return nil, c.wrap(err)
	}
	total := 0
	for i := range specs {
		spec := &specs[i]
		c.target = spec.Ref.Queue
		if err := checkSpec(spec); err != nil {
			return nil, c.wrap(err)
		}
		total += len(spec.Arg) + len(spec.Data)
	}
	if total > MaxBatchBytes {
		return nil, c.wrap(Errorf(ErrTooLarge, "the arguments have %d bytes together (max %d); split the call", total, MaxBatchBytes))
	}
	answers, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Enqueue, g.inSpecs(specs))
	for i := range answers {
		c.target = specs[i].Ref.Queue
		answers[i].Ref, answers[i].Err = g.out(answers[i].Ref), c.wrap(answers[i].Err)
	}
	return answers, err
}

// inSpecs puts specs into the namespace. The caller's own are not written.
func (g guardedActions) inSpecs(specs []ActionSpec) []ActionSpec {
	if g.h.namespace == "" {
		return specs
	}
	inward := slices.Clone(specs)
	for i := range inward {
		spec := &inward[i]
		spec.Ref, spec.After = g.in(spec.Ref), slices.Clone(spec.After)
		for j, ref := range spec.After {
			spec.After[j] = g.in(ref)
		}
	}
	return inward
}

func checkSpec(s *ActionSpec) error {
	if err := first(s.Ref.check(), CheckName("action", s.Name), checkJSON("the argument", s.Arg), checkJSON("the data", s.Data)); err != nil {
		return err
	}
	if s.Unique != "" {
		if err := CheckName("unique key", s.Unique); err != nil {
			return err
		}
	}
	if s.OnUnique > UniqueReschedule {
		return Errorf(ErrInvalid, "unknown unique policy %d", s.OnUnique)
	}
	if len(s.Labels) > 16 {
		return Errorf(ErrTooLarge, "the action has %d labels (max 16)", len(s.Labels))
	}
	for _, label := range s.Labels {
		if err := CheckName("label", label); err != nil {
			return err
		}
	}
	if s.MaxAttempts < 0 {
		return Errorf(ErrInvalid, "MaxAttempts is %d; it must be at least 1, or 0 for the default", s.MaxAttempts)
	}
	return first(
		checkTime(s.Delay, s.RunAt),
		checkDuration("StartWithin", s.StartWithin, 0, MaxTTL),
		checkDuration("Timeout", s.Timeout, 0, MaxTTL),
		checkBackoff(s.Backoff),
		checkDuration("CancelGrace", s.CancelGrace, 0, MaxLease),
		checkKeep("Keep.Completed", s.Keep.Completed),
		checkKeep("Keep.Failed", s.Keep.Failed),
		checkKeep("Keep.Cancelled", s.Keep.Cancelled),
	)
}

// checkTime bounds when an action may run: a time to run at by this machine's clock, so generously.
func checkTime(delay time.Duration, runAt time.Time) error {
	if delay != 0 && !runAt.IsZero() {
		return Errorf(ErrInvalid, "Delay and RunAt are both set; say one")
	}
	if !runAt.IsZero() && (runAt.UnixMilli() < 0 || runAt.After(time.Now().Add(2*MaxDelay))) {
		return Errorf(ErrInvalid, "RunAt is %s; it must be after 1970, and at most %v ahead", runAt.Format(time.RFC3339), MaxDelay)
	}
	return checkDuration("Delay", delay, 0, MaxDelay)
}

func checkBackoff(b Backoff) error {
	if !(b.Jitter <= 1) { // also NaN
		return Errorf(ErrInvalid, "Backoff.Jitter is %v; it must be from 0 to 1, or negative for none", b.Jitter)
	}
	if b.Max != 0 && b.Max < b.First {
		return Errorf(ErrInvalid, "Backoff.Max is %v, less than Backoff.First (%v)", b.Max, b.First)
	}
	return first(checkDuration("Backoff.First", b.First, 0, MaxDelay), checkDuration("Backoff.Max", b.Max, 0, MaxDelay))
}

func checkKeep(what string, d time.Duration) error {
	if d == NoTTL {
		return nil
	}
	return checkDuration(what, d, 0, MaxTTL)
}

// checkJSON: nil, or one JSON value within MaxPayload; the error says where it breaks.
func checkJSON(what string, data json.RawMessage) error {
	if data == nil || len(data) <= MaxPayload && json.Valid(data) {
		return nil
	}
	if err := checkSize(what, len(data)); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	var v json.RawMessage
	err := d.Decode(&v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return Errorf(ErrInvalid, "%s is not JSON: %v at byte %d", what, syntax, syntax.Offset)
	}
	if err == nil {
		return Errorf(ErrInvalid, "%s is more than one JSON value: the first ends at byte %d", what, d.InputOffset())
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(ErrInvalid, "%s is not JSON: it ends too early, at byte %d", what, len(data))
	}
	return Errorf(ErrInvalid, "%s is not JSON: %v", what, err)
}

func (g guardedActions) Claim(ctx context.Context, req ClaimRequest) ([]Claimed, error) {
	c := g.call("claim", "", 1)
	c.waits = req.Wait > 0
	err := first(CheckName("worker", req.Worker), checkWait(req.Wait), pageMax(&req.Max, 1, MaxPage))
	switch {
	case err != nil:
	case len(req.Queues) == 0 || len(req.Queues) > 100:
		err = Errorf(ErrInvalid, "Claim names %d queues; it takes 1 to 100", len(req.Queues))
	case req.Lease == 0:
		req.Lease = DefaultLease
	default:
		err = checkDuration("Lease", req.Lease, MinLease, MaxLease)
	}
	if err != nil {
		return nil, c.wrap(err)
	}
	c.target = req.Queues[0]
	inward := make([]string, len(req.Queues))
	for i, queue := range req.Queues {
		if err := CheckName("queue", queue); err != nil {
			return nil, c.wrap(err)
		}
		inward[i] = g.h.inward(queue)
	}
	req.Queues, req.Worker = inward, g.h.inward(req.Worker)
	back := g.h.lane(&req.Lane)
	claimed, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Claim, req)
	if abandoned(ctx, err) {
		return nil, g.h.handBack(ctx, err, func(ctx context.Context) { handBackActions(ctx, g.h.parts.Actions, req) })
	}
	back()
	if g.h.namespace != "" {
		for i := range claimed {
			claimed[i].Action = g.outAction(claimed[i].Action)
			claimed[i].Lease.Ref = g.out(claimed[i].Lease.Ref)
		}
	}
	return claimed, err
}

// outAction takes the names in a out of the namespace. Slices of the driver are shared, so they are copied before.
func (g guardedActions) outAction(a Action) Action {
	if g.h.namespace == "" {
		return a
	}
	a.Ref, a.Worker = g.out(a.Ref), g.h.outward(a.Worker)
	a.Failure = g.outFailure(a.Failure)
	if a.Failures != nil {
		failures := make([]ActionFailure, len(a.Failures))
		for i := range a.Failures {
			failures[i] = *g.outFailure(&a.Failures[i])
		}
		a.Failures = failures
	}
	a.Events = g.outChanges(a.Events)
	return a
}

func (g guardedActions) outFailure(f *ActionFailure) *ActionFailure {
	if f == nil {
		return nil
	}
	own := *f
	own.Worker = g.h.outward(own.Worker)
	return &own
}

func (g guardedActions) outChanges(changes []Change) []Change {
	if g.h.namespace == "" || changes == nil {
		return changes
	}
	own := make([]Change, len(changes))
	for i, change := range changes {
		change.Worker, change.Failure = g.h.outward(change.Worker), g.outFailure(change.Failure)
		own[i] = change
	}
	return own
}

func (g guardedActions) Advance(ctx context.Context, req AdvanceRequest) ([]Advanced, error) {
	c := g.call("advance", "", len(req.Moves))
	if err := checkItems(len(req.Moves)); err != nil {
		return nil, c.wrap(err)
	}
	moves := req.Moves
	req.Moves = g.inMoves(moves)
	for i := range req.Moves {
		c.target = moves[i].Lease.Ref.Queue
		if err := checkMove(&req.Moves[i]); err != nil {
			return nil, c.wrap(err)
		}
	}
	defer g.h.lane(&req.Lane)()
	answers, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Advance, req)
	for i := range answers {
		if answers[i].Err != nil {
			c.target = moves[i].Lease.Ref.String()
			answers[i].Err = c.wrap(answers[i].Err)
		}
	}
	return answers, err
}

// inMoves puts moves into the namespace, and bounds what failures say. The caller's own are not written.
func (g guardedActions) inMoves(moves []Move) []Move {
	if g.h.namespace == "" && !slices.ContainsFunc(moves, func(m Move) bool { return m.Kind == Fail }) {
		return moves
	}
	inward := slices.Clone(moves)
	for i := range inward {
		move := &inward[i]
		move.Lease.Ref = g.in(move.Lease.Ref)
		move.Failure.Message, move.Failure.Stack = cut(move.Failure.Message, maxReason), cut(move.Failure.Stack, maxReason)
	}
	return inward
}

func checkMove(m *Move) error {
	if err := m.Lease.Ref.check(); err != nil {
		return err
	}
	switch m.Kind {
	case Renew:
		if m.For == 0 {
			return nil
		}
		return checkDuration("For", m.For, MinLease, MaxLease)
	case SetProgress:
		if !(m.Progress <= 1) { // also NaN
			return Errorf(ErrInvalid, "Progress is %v; it must be from 0 to 1, or negative to leave it", m.Progress)
		}
		return checkJSON("the data", m.Data)
	case AddEvent:
		return first(CheckName("event", m.Event), checkJSON("the data", m.Data))
	case Complete:
		return checkJSON("the output", m.Output)
	case Fail, Giveback:
		return checkDuration("RetryIn", m.RetryIn, 0, MaxDelay)
	case AcceptCancel:
		return nil
	}
	return Errorf(ErrInvalid, "no move: say Renew, SetProgress, AddEvent, Complete, Fail, Giveback or AcceptCancel")
}

func (g guardedActions) Control(ctx context.Context, req ControlRequest) ([]Controlled, error) {
	c := g.call("control", "", len(req.Commands))
	if err := checkItems(len(req.Commands)); err != nil {
		return nil, c.wrap(err)
	}
	commands := req.Commands
	req.Commands = make([]Command, len(commands))
	for i, cmd := range commands {
		c.target = cmd.Ref.Queue
		if err := checkCommand(&cmd); err != nil {
			return nil, c.wrap(err)
		}
		cmd.Ref = g.in(cmd.Ref)
		req.Commands[i] = cmd
	}
	defer g.h.lane(&req.Lane)()
	answers, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Control, req)
	for i := range answers {
		if answers[i].Err != nil {
			c.target = commands[i].Ref.String()
			answers[i].Err = c.wrap(answers[i].Err)
		}
	}
	return answers, err
}

func checkCommand(cmd *Command) error {
	switch cmd.Kind {
	case Pause, Resume:
		if cmd.Ref.ID != "" {
			return Errorf(ErrInvalid, "Pause and Resume are of a queue; leave the id empty")
		}
		return CheckName("queue", cmd.Ref.Queue)
	case Cancel:
		if len(cmd.Reason) > maxReason {
			return Errorf(ErrTooLarge, "the reason has %d bytes (max %d)", len(cmd.Reason), maxReason)
		}
	case Retry, Reschedule:
		if err := checkTime(cmd.Delay, cmd.RunAt); err != nil {
			return err
		}
	case DeleteAction:
	default:
		return Errorf(ErrInvalid, "no command: say Cancel, Retry, DeleteAction, Reschedule, Pause or Resume")
	}
	return cmd.Ref.check()
}

func (g guardedActions) Get(ctx context.Context, refs []ActionRef) ([]GotAction, error) {
	c := g.call("get action", "", len(refs))
	if err := checkItems(len(refs)); err != nil {
		return nil, c.wrap(err)
	}
	inward := make([]ActionRef, len(refs))
	for i, ref := range refs {
		if err := ref.check(); err != nil {
			return nil, c.wrap(err)
		}
		inward[i] = g.in(ref)
	}
	answers, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Get, inward)
	for i := range answers {
		c.target = refs[i].String()
		answers[i].Action, answers[i].Err = g.outAction(answers[i].Action), c.wrap(answers[i].Err)
	}
	return answers, err
}

func (g guardedActions) inFilter(f *ActionFilter) error {
	if len(f.Queues) > MaxBatch {
		return Errorf(ErrTooLarge, "the filter names %d queues (max %d)", len(f.Queues), MaxBatch)
	}
	inward := make([]string, len(f.Queues))
	for i, queue := range f.Queues {
		if err := CheckName("queue", queue); err != nil {
			return err
		}
		inward[i] = g.h.inward(queue)
	}
	for _, state := range f.States {
		if state != Pending && state != Running && !state.Terminal() {
			return Errorf(ErrInvalid, "unknown state %s", QuoteName(string(state)))
		}
	}
	if !f.To.IsZero() && f.To.Before(f.From) {
		return Errorf(ErrInvalid, "the time range is empty: To is before From")
	}
	f.Queues, f.QueuePrefix = inward, g.h.inward(f.QueuePrefix)
	return nil
}

func (g guardedActions) List(ctx context.Context, req ListActions) (ActionsPage, error) {
	c := g.call("list actions", "", 1)
	if err := first(g.inFilter(&req.ActionFilter), pageMax(&req.Max, MaxPage, MaxPage)); err != nil {
		return ActionsPage{}, c.wrap(err)
	}
	page, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.List, req)
	for i := range page.Actions {
		page.Actions[i] = g.outAction(page.Actions[i])
	}
	return page, err
}

func (g guardedActions) Count(ctx context.Context, filter ActionFilter) (map[State]int64, error) {
	c := g.call("count actions", "", 1)
	if err := g.inFilter(&filter); err != nil {
		return nil, c.wrap(err)
	}
	return invoke(ctx, c, g.h.parts.Actions, ActionStore.Count, filter)
}

func (g guardedActions) Queues(ctx context.Context, req QueuesRequest) (QueuesPage, error) {
	c := g.call("queues", "", 1)
	if err := pageMax(&req.Max, MaxPage, MaxPage); err != nil {
		return QueuesPage{}, c.wrap(err)
	}
	req.Prefix = g.h.inward(req.Prefix)
	if req.After != "" {
		req.After = g.h.inward(req.After)
	}
	page, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Queues, req)
	for i := range page.Queues {
		page.Queues[i].Name = g.h.outward(page.Queues[i].Name)
	}
	page.Next = g.h.outward(page.Next)
	return page, err
}

func (g guardedActions) Changes(ctx context.Context, req ChangesRequest) ([]Change, error) {
	c := g.call("changes", req.Ref.String(), 1)
	c.waits = req.Wait > 0
	if err := first(req.Ref.check(), checkWait(req.Wait), pageMax(&req.Max, MaxPage, MaxPage)); err != nil {
		return nil, c.wrap(err)
	}
	req.Ref = g.in(req.Ref)
	changes, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Changes, req)
	return g.outChanges(changes), err
}

func (g guardedActions) Heartbeat(ctx context.Context, hb Heartbeat) ([]Signal, error) {
	c := g.call("heartbeat", hb.Worker.ID, 1)
	c.waits = hb.Wait > 0
	if err := first(checkWorker(&hb.Worker), checkWait(hb.Wait)); err != nil {
		return nil, c.wrap(err)
	}
	if hb.TTL == 0 {
		hb.TTL = DefaultWorkerTTL
	}
	if err := checkDuration("TTL", hb.TTL, MinLease, MaxLease); err != nil {
		return nil, c.wrap(err)
	}
	hb.Worker.ID, hb.Worker.Name = g.h.inward(hb.Worker.ID), g.h.inward(hb.Worker.Name)
	signals, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Heartbeat, hb)
	for i := range signals {
		signals[i].Lease.Ref = g.out(signals[i].Lease.Ref)
	}
	return signals, err
}

func checkWorker(w *WorkerInfo) error {
	if len(w.Meta) > 32 || len(w.Queues) > 100 {
		return Errorf(ErrTooLarge, "the worker has %d meta entries (max 32) and %d queues (max 100)", len(w.Meta), len(w.Queues))
	}
	switch w.Status {
	case WorkerIdle, WorkerBusy, WorkerError, WorkerOffline:
	default:
		return Errorf(ErrInvalid, "unknown worker status %s", QuoteName(string(w.Status)))
	}
	w.Running = w.Running[max(0, len(w.Running)-100):]
	w.Error = cut(w.Error, maxReason)
	size := len(w.Host)
	for key, value := range w.Meta {
		size += len(key) + len(value)
	}
	for _, queue := range w.Queues {
		size += len(queue)
	}
	for _, task := range w.Running {
		size += len(task.Kind) + len(task.Name)
	}
	return first(CheckName("worker id", w.ID), CheckName("worker", w.Name), checkSize("the worker", size))
}

func (g guardedActions) Workers(ctx context.Context, req WorkersRequest) (WorkersPage, error) {
	c := g.call("workers", "", 1)
	if err := pageMax(&req.Max, MaxPage, MaxPage); err != nil {
		return WorkersPage{}, c.wrap(err)
	}
	req.NamePrefix = g.h.inward(req.NamePrefix)
	page, err := invoke(ctx, c, g.h.parts.Actions, ActionStore.Workers, req)
	for i := range page.Workers {
		w := &page.Workers[i]
		w.ID, w.Name = g.h.outward(w.ID), g.h.outward(w.Name)
	}
	return page, err
}

// cut shortens a text to at most n bytes, at a rune boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "… (cut)"
	for n -= len(mark); n > 0 && s[n]&0xC0 == 0x80; n-- {
	}
	return s[:n] + mark
}
