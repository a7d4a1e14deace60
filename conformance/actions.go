package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// actionCases are the cases of the ActionStore, without sessions.
func actionCases() []testCase {
	return slices.Concat(
		enqueueCases(),
		uniqueCases(),
		claimCases(),
		wakeCases(),
		advanceCases(),
		fenceCases(),
		controlCases(),
		cancelCases(),
		historyCases(),
		listCases(),
		raceCases(),
		repeatCases(),
	)
}

// board is an ActionStore as a case uses it: what must not fail, fails the case.
type board struct {
	*env
	rpw.ActionStore
}

// board is the case's own, on the hub of the process under test.
func (e *env) board() board { return e.boardOf(e.hub) }

func (e *env) boardOf(hub *rpw.Hub) board { return board{e, hub.Actions()} }

// job is a plain action.
func job(queue, id string) rpw.ActionSpec {
	return rpw.ActionSpec{Ref: rpw.ActionRef{Queue: queue, ID: id}, Name: "job"}
}

// jobs are n plain actions, named 000, 001, ...
func jobs(queue string, n int) []rpw.ActionSpec {
	specs := make([]rpw.ActionSpec, n)
	for i := range specs {
		specs[i] = job(queue, fmt.Sprintf("%03d", i))
	}
	return specs
}

// add enqueues actions that are new.
func (b board) add(specs ...rpw.ActionSpec) {
	b.Helper()
	answers, err := b.Enqueue(b.Context(), specs)
	require.NoError(b, err)
	require.Len(b, answers, len(specs))
	for i, answer := range answers {
		require.NoError(b, answer.Err)
		require.Equal(b, specs[i].Ref, answer.Ref)
		require.Falsef(b, answer.Existing, "%s was there before", specs[i].Ref)
	}
}

// offer enqueues one action and returns its answer, also if that is an error.
func (b board) offer(spec rpw.ActionSpec) rpw.Enqueued {
	b.Helper()
	answers, err := b.Enqueue(b.Context(), []rpw.ActionSpec{spec})
	if err != nil {
		return rpw.Enqueued{Err: err}
	}
	require.Len(b, answers, 1)
	return answers[0]
}

// take claims what is ready, without waiting.
func (b board) take(req rpw.ClaimRequest) []rpw.Claimed {
	b.Helper()
	req.Worker = cmp.Or(req.Worker, "worker")
	claimed, err := b.Claim(b.Context(), req)
	require.NoError(b, err)
	return claimed
}

// next claims one action of a queue, waiting for it.
func (b board) next(queue string) rpw.Claimed { b.Helper(); return b.nextFor(queue, rpw.DefaultLease) }

// nextFor is next with a lease of its own length.
func (b board) nextFor(queue string, lease time.Duration) rpw.Claimed {
	b.Helper()
	claimed, err := b.await(rpw.ClaimRequest{Queues: []string{queue}, Worker: "worker", Lease: lease}, b.patience())
	require.NoError(b, err)
	require.Lenf(b, claimed, 1, "nothing to claim in queue %s", queue)
	return claimed[0]
}

// await claims, going on while the answer is empty, as a worker does. It may be called from any goroutine.
func (b board) await(req rpw.ClaimRequest, most time.Duration) ([]rpw.Claimed, error) {
	for deadline := time.Now().Add(most); ; time.Sleep(b.unit) {
		req.Wait = time.Until(deadline)
		if req.Wait <= 0 {
			return nil, nil
		}
		claimed, err := b.Claim(b.Context(), req)
		if err != nil || len(claimed) > 0 {
			return claimed, err
		}
	}
}

// none says that a queue hands out nothing now.
func (b board) none(queue, why string) {
	b.Helper()
	require.Emptyf(b, b.take(rpw.ClaimRequest{Queues: []string{queue}, Max: rpw.MaxPage}), "claimed from %s: %s", queue, why)
}

// move makes one move.
func (b board) move(lease rpw.Lease, m rpw.Move) rpw.Advanced {
	b.Helper()
	m.Lease = lease
	answers, err := b.Advance(b.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{m}})
	if err != nil {
		return rpw.Advanced{Err: err}
	}
	require.Len(b, answers, 1)
	return answers[0]
}

// moved makes one move that must be accepted.
func (b board) moved(lease rpw.Lease, m rpw.Move) rpw.Advanced {
	b.Helper()
	answer := b.move(lease, m)
	require.NoError(b, answer.Err)
	return answer
}

// finish claims and completes what is next in a queue.
func (b board) finish(queue string) rpw.Claimed {
	b.Helper()
	claimed := b.next(queue)
	b.moved(claimed.Lease, rpw.Move{Kind: rpw.Complete})
	return claimed
}

// spoil claims what is next in a queue and fails it for good.
func (b board) spoil(queue string) rpw.Claimed {
	b.Helper()
	claimed := b.next(queue)
	b.moved(claimed.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "spoilt", Permanent: true}})
	return claimed
}

// command gives one command.
func (b board) command(c rpw.Command) rpw.Controlled {
	b.Helper()
	answers, err := b.Control(b.Context(), rpw.ControlRequest{Commands: []rpw.Command{c}})
	if err != nil {
		return rpw.Controlled{Err: err}
	}
	require.Len(b, answers, 1)
	return answers[0]
}

// commanded gives one command that must be accepted.
func (b board) commanded(kind rpw.CommandKind, ref rpw.ActionRef) rpw.Controlled {
	b.Helper()
	answer := b.command(rpw.Command{Kind: kind, Ref: ref})
	require.NoError(b, answer.Err)
	return answer
}

// get returns an action that is there.
func (b board) get(ref rpw.ActionRef) rpw.Action {
	b.Helper()
	got := b.ask(ref)
	require.NoError(b, got.Err)
	return got.Action
}

func (b board) ask(ref rpw.ActionRef) rpw.GotAction {
	b.Helper()
	answers, err := b.Get(b.Context(), []rpw.ActionRef{ref})
	require.NoError(b, err)
	require.Len(b, answers, 1)
	return answers[0]
}

// state waits until an action is in a state, looking at it without any worker alive, and returns it.
func (b board) state(ref rpw.ActionRef, state rpw.State) rpw.Action {
	b.Helper()
	var a rpw.Action
	b.eventually(func() bool {
		a = b.get(ref)
		return a.State == state
	}, "%s is %s", ref, state)
	return a
}

// history returns all changes of an action, and says that they are dense and lawful.
func (b board) history(ref rpw.ActionRef) []rpw.Change {
	b.Helper()
	var all []rpw.Change
	for {
		after := uint64(0)
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		changes, err := b.Changes(b.Context(), rpw.ChangesRequest{Ref: ref, After: after})
		require.NoError(b, err)
		if len(changes) == 0 {
			break
		}
		all = append(all, changes...)
	}
	require.NoError(b, lawful(all))
	return all
}

// kinds are the kinds of changes, for comparing.
func kinds(changes []rpw.Change) []rpw.ChangeKind {
	out := make([]rpw.ChangeKind, len(changes))
	for i, c := range changes {
		out[i] = c.Kind
	}
	return out
}

func ids(actions []rpw.Action) []string {
	out := make([]string, len(actions))
	for i, a := range actions {
		out[i] = a.Ref.ID
	}
	return out
}

func claimedIDs(claimed []rpw.Claimed) []string {
	out := make([]string, len(claimed))
	for i, c := range claimed {
		out[i] = c.Ref.ID
	}
	return out
}

// lawful checks a whole history: dense, and one terminal state at a time. What leaves it is a command only, and no
// attempt begins but from pending.
func lawful(changes []rpw.Change) error {
	state := rpw.State("")
	for i, c := range changes {
		if c.Seq != uint64(i+1) {
			return fmt.Errorf("change %d has the number %d", i+1, c.Seq)
		}
		wrong := func() error { return fmt.Errorf("change %d (%s) leads from %q to %q", c.Seq, c.Kind, state, c.State) }
		if state.Terminal() && c.Kind != rpw.ChangeRescheduled {
			return wrong()
		}
		from, to := state, c.State
		ok := false
		switch c.Kind {
		case rpw.ChangeRequest:
			ok = from == "" && to == rpw.Pending
		case rpw.ChangeClaimed:
			ok = from == rpw.Pending && to == rpw.Running
		case rpw.ChangeData, rpw.ChangeEvent:
			ok = from == rpw.Running && to == rpw.Running
		case rpw.ChangeRetry, rpw.ChangeReleased:
			ok = from == rpw.Running && to == rpw.Pending
		case rpw.ChangeRescheduled:
			ok = to == rpw.Pending && (from == rpw.Pending || from == rpw.Failed || from == rpw.Cancelled)
		case rpw.ChangeCancel:
			ok = from == rpw.Running && to == rpw.Running
		case rpw.ChangeCompleted:
			ok = from == rpw.Running && to == rpw.Completed
		case rpw.ChangeFailed:
			ok = (from == rpw.Running || from == rpw.Pending) && to == rpw.Failed
		case rpw.ChangeCancelled:
			ok = (from == rpw.Running || from == rpw.Pending) && to == rpw.Cancelled
		}
		if !ok {
			return wrong()
		}
		state = to
	}
	return nil
}

// terminals counts the changes to a terminal state.
func terminals(changes []rpw.Change) int {
	n := 0
	for _, c := range changes {
		if c.State.Terminal() {
			n++
		}
	}
	return n
}

// sameJSON says that two texts mean the same JSON, numbers digit by digit.
func sameJSON(e *env, want string, got json.RawMessage) {
	e.Helper()
	require.Equal(e, exactJSON(e, []byte(want)), exactJSON(e, got))
}

func exactJSON(e *env, text []byte) any {
	e.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	require.NoErrorf(e, d.Decode(&v), "not JSON: %.100q", text)
	return v
}

// text is n bytes of text.
func text(n int) string { return strings.Repeat("x", n) }

// jsonText is a JSON string of n bytes, with its quotes.
func jsonText(n int) json.RawMessage { return json.RawMessage(`"` + text(n-2) + `"`) }

// late is how long after its cause something may be seen that nobody polls for.
func (e *env) late() time.Duration {
	if e.bubble {
		return 50 * time.Millisecond
	}
	return e.prompt()
}

// soon says that not more than late has passed since.
func (e *env) soon(since time.Time) {
	e.Helper()
	require.LessOrEqual(e, time.Since(since), e.late(), "it was noticed late")
}

// claim waits for actions on its own; it returns when the wait is under way.
func (b board) claim(req rpw.ClaimRequest) <-chan answer[[]rpw.Claimed] {
	req.Worker = cmp.Or(req.Worker, "worker")
	waiting := start(func() ([]rpw.Claimed, error) { return b.await(req, 2*b.patience()) })
	b.idle()
	return waiting
}

// got is what a waiting claim comes back with, in order: the ids.
func (b board) got(waiting <-chan answer[[]rpw.Claimed], want ...string) []rpw.Claimed {
	b.Helper()
	claimed, err := await(b.env, waiting)
	require.NoError(b, err)
	require.Equal(b, want, claimedIDs(claimed))
	return claimed
}

// final waits on its own for an action's end.
func (b board) final(ref rpw.ActionRef) <-chan answer[rpw.Change] {
	waiting := start(func() (rpw.Change, error) {
		for end := time.Now().Add(b.patience()); time.Now().Before(end); time.Sleep(b.unit) {
			changes, err := b.Changes(b.Context(), rpw.ChangesRequest{Ref: ref, Final: true, Wait: b.patience()})
			if err != nil || len(changes) > 0 {
				return last(changes), err
			}
		}
		return rpw.Change{}, nil
	})
	b.idle()
	return waiting
}

// last is the last of a slice, or zero.
func last[T any](s []T) (v T) {
	if len(s) > 0 {
		v = s[len(s)-1]
	}
	return v
}

// done is a context that has ended.
func (e *env) done() context.Context {
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	return ctx
}

// queues are the queues by name, from all pages.
func (b board) queues() map[string]rpw.QueueInfo {
	b.Helper()
	all := make(map[string]rpw.QueueInfo)
	for req := (rpw.QueuesRequest{}); ; {
		page, err := b.Queues(b.Context(), req)
		require.NoError(b, err)
		for _, q := range page.Queues {
			all[q.Name] = q
		}
		if req.After = page.Next; req.After == "" {
			return all
		}
	}
}

// count counts by state.
func (b board) count(filter rpw.ActionFilter) map[rpw.State]int64 {
	b.Helper()
	count, err := b.Count(b.Context(), filter)
	require.NoError(b, err)
	return count
}

// contextFor is a context that ends after d.
func contextFor(e *env, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.Context(), d)
}
