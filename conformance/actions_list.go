package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// list returns all pages of a list, checking that they are in order and hold nothing twice.
func (b board) list(req rpw.ListActions) []rpw.Action {
	b.Helper()
	var all []rpw.Action
	seen := make(map[rpw.ActionRef]bool)
	for {
		page, err := b.List(b.Context(), req)
		require.NoError(b, err)
		require.LessOrEqual(b, len(page.Actions), cmp.Or(req.Max, rpw.MaxPage))
		for _, a := range page.Actions {
			require.Falsef(b, seen[a.Ref], "%s is listed twice", a.Ref)
			seen[a.Ref] = true
			if len(all) > 0 {
				older, newer := last(all).Created, a.Created
				if req.Reverse {
					older, newer = newer, older
				}
				require.False(b, newer.Before(older), "not by time of creation")
			}
			require.Empty(b, a.Events)
			all = append(all, a)
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return all
		}
	}
}

// refTexts are the refs of actions, sorted.
func refTexts(actions []rpw.Action) []string {
	out := make([]string, len(actions))
	for i, a := range actions {
		out[i] = a.Ref.String()
	}
	slices.Sort(out)
	return out
}

// zoo has actions of several queues, names, labels and all states. It returns them as Get does.
func (b board) zoo() []rpw.Action {
	b.Helper()
	var refs []rpw.ActionRef
	for i := range 30 {
		spec := job([]string{"img/a", "img/b", "mail"}[i%3], fmt.Sprintf("%02d", i))
		spec.Name = []string{"resize", "resize-all", "send"}[i/3%3]
		if i%4 == 0 {
			spec.Labels = []string{"red", "x"}
		}
		if i >= 20 {
			spec.Delay = time.Hour
		}
		b.add(spec)
		refs = append(refs, spec.Ref)
		if i%6 == 5 {
			time.Sleep(b.units(1))
		}
	}
	for _, queue := range []string{"img/a", "img/b", "mail"} {
		b.finish(queue)
		b.spoil(queue)
		b.nextFor(queue, rpw.MaxLease)
		b.finish(queue)
	}
	b.commanded(rpw.Cancel, refs[29])
	b.commanded(rpw.Cancel, refs[19])
	actions := make([]rpw.Action, len(refs))
	for i, ref := range refs {
		actions[i] = b.get(ref)
	}
	return actions
}

func listCases() []testCase {
	return []testCase{
		{"Actions/Get/ManyAtOnce", []string{"A14", "E2"},
			"Get answers one entry for each ref, in order; an absent one has ErrNotFound, and spoils no other.", func(e *env) {
				b := e.board()
				b.add(append(jobs("a", 3), jobs("b", 1)...)...)
				ref := func(queue, id string) rpw.ActionRef { return rpw.ActionRef{Queue: queue, ID: id} }
				refs := []rpw.ActionRef{ref("b", "000"), ref("a", "none"), ref("a", "002"), ref("none", "000"), ref("a", "002")}
				answers, err := b.Get(e.Context(), refs)
				require.NoError(e, err)
				require.Len(e, answers, len(refs))
				for i, answer := range answers {
					if i == 1 || i == 3 {
						e.is(answer.Err, rpw.ErrNotFound)
					} else {
						require.NoError(e, answer.Err)
						require.Equal(e, refs[i], answer.Ref)
					}
				}
				_, err = b.Get(e.Context(), nil)
				e.is(err, rpw.ErrInvalid)
				_, err = b.Get(e.Context(), make([]rpw.ActionRef, rpw.MaxBatch+1))
				e.is(err, rpw.ErrTooLarge)
				_, err = b.Get(e.Context(), []rpw.ActionRef{{Queue: "q", ID: "a/b"}})
				e.is(err, rpw.ErrInvalid)
			}},
		{"Actions/List/EveryFilter", []string{"A14"},
			"List and Count select by queue, queue prefix, state, name prefix, label and time, and by all together.", func(e *env) {
				b := e.board()
				zoo := b.zoo()
				mid := zoo[15].Created
				filters := map[string]struct {
					filter rpw.ActionFilter
					has    func(a rpw.Action) bool
				}{
					"all":          {rpw.ActionFilter{}, func(rpw.Action) bool { return true }},
					"queue":        {rpw.ActionFilter{Queues: []string{"mail"}}, func(a rpw.Action) bool { return a.Ref.Queue == "mail" }},
					"queues":       {rpw.ActionFilter{Queues: []string{"mail", "img/b", "none"}}, func(a rpw.Action) bool { return a.Ref.Queue != "img/a" }},
					"queue prefix": {rpw.ActionFilter{QueuePrefix: "img/"}, func(a rpw.Action) bool { return a.Ref.Queue != "mail" }},
					"no queue":     {rpw.ActionFilter{QueuePrefix: "im/"}, func(rpw.Action) bool { return false }},
					"state":        {rpw.ActionFilter{States: []rpw.State{rpw.Running}}, func(a rpw.Action) bool { return a.State == rpw.Running }},
					"states": {rpw.ActionFilter{States: []rpw.State{rpw.Failed, rpw.Cancelled}}, func(a rpw.Action) bool {
						return a.State == rpw.Failed || a.State == rpw.Cancelled
					}},
					"name":  {rpw.ActionFilter{NamePrefix: "resize-"}, func(a rpw.Action) bool { return a.Name == "resize-all" }},
					"names": {rpw.ActionFilter{NamePrefix: "resize"}, func(a rpw.Action) bool { return a.Name != "send" }},
					"label": {rpw.ActionFilter{Label: "red"}, func(a rpw.Action) bool { return len(a.Labels) > 0 }},
					"from":  {rpw.ActionFilter{From: mid}, func(a rpw.Action) bool { return !a.Created.Before(mid) }},
					"to":    {rpw.ActionFilter{To: mid}, func(a rpw.Action) bool { return a.Created.Before(mid) }},
					"at once": {rpw.ActionFilter{QueuePrefix: "img", States: []rpw.State{rpw.Pending}, NamePrefix: "r", Label: "x", From: mid}, func(a rpw.Action) bool {
						return a.Ref.Queue != "mail" && a.State == rpw.Pending && a.Name != "send" && len(a.Labels) > 0 && !a.Created.Before(mid)
					}},
				}
				for name, f := range filters {
					var want []rpw.Action
					count := make(map[rpw.State]int64)
					for _, a := range zoo {
						if f.has(a) {
							want = append(want, a)
							count[a.State]++
						}
					}
					for _, reverse := range []bool{false, true} {
						require.Equalf(e, refTexts(want), refTexts(b.list(rpw.ListActions{ActionFilter: f.filter, Reverse: reverse, Max: 4})), "%s, reverse %v", name, reverse)
					}
					got := b.count(f.filter)
					for _, state := range []rpw.State{rpw.Pending, rpw.Running, rpw.Completed, rpw.Failed, rpw.Cancelled} {
						require.Equalf(e, count[state], got[state], "%s: %s", name, state)
					}
				}
			}},
		{"Actions/List/IsGetWithoutEvents", []string{"A14"},
			"A listed action is what Get returns, but for its events.", func(e *env) {
				b := e.board()
				zoo := b.zoo()
				listed := make(map[rpw.ActionRef]rpw.Action)
				for _, a := range e.boardOf(e.peer()).list(rpw.ListActions{}) {
					listed[a.Ref] = a
				}
				require.Len(e, listed, len(zoo))
				for _, a := range zoo {
					require.NotEmpty(e, a.Events)
					a.Events = nil
					got := listed[a.Ref]
					got.Events = nil
					require.Equal(e, a, got)
				}
			}},
		{"Actions/List/PagesOverChanges", []string{"A14"},
			"Pages are no snapshot, but what was there all the time comes once, also when others come and go between the pages.", func(e *env) {
				b := e.board()
				b.add(append(jobs("a", 40), jobs("b", 40)...)...)
				var got []rpw.Action
				req := rpw.ListActions{Max: 9}
				for page := 0; ; page++ {
					answer, err := b.List(e.Context(), req)
					require.NoError(e, err)
					got = append(got, answer.Actions...)
					if req.Cursor = answer.Next; req.Cursor == "" {
						break
					}
					require.Less(e, page, 100)
					if page == 3 {
						for _, a := range got[:10] { // those are behind the cursor
							b.commanded(rpw.DeleteAction, a.Ref)
						}
						b.add(jobs("c", 5)...)
					}
				}
				seen := make(map[string]int)
				for _, a := range got {
					seen[a.Ref.String()]++
				}
				for _, spec := range append(jobs("a", 40), jobs("b", 40)...) {
					require.Equal(e, 1, seen[spec.Ref.String()], spec.Ref)
				}
			}},
		{"Actions/List/BadInput", []string{"E2"},
			"A filter that can never work is ErrInvalid on every driver, and so is a cursor that List never gave.", func(e *env) {
				b := e.board()
				b.add(jobs("q", 3)...)
				now := time.Now()
				for what, filter := range map[string]rpw.ActionFilter{
					"unknown state": {States: []rpw.State{"done"}},
					"empty state":   {States: []rpw.State{""}},
					"bad queue":     {Queues: []string{"*"}},
					"empty time":    {From: now, To: now.Add(-1)},
				} {
					_, err := b.List(e.Context(), rpw.ListActions{ActionFilter: filter})
					e.is(err, rpw.ErrInvalid, what)
					_, err = b.Count(e.Context(), filter)
					e.is(err, rpw.ErrInvalid, what)
				}
				_, err := b.List(e.Context(), rpw.ListActions{Max: -1})
				e.is(err, rpw.ErrInvalid)
				for _, cursor := range []string{"no cursor", "-1", "\x00", text(1000)} {
					_, err = b.List(e.Context(), rpw.ListActions{Cursor: cursor})
					e.is(err, rpw.ErrInvalid, cursor)
				}
				_, err = b.Queues(e.Context(), rpw.QueuesRequest{Max: -1})
				e.is(err, rpw.ErrInvalid)
			}},
		{"Actions/Queues/AreDescribed", []string{"A14", "A11"},
			"Queues tells, by name and in pages, what is ready, scheduled, running and finished, and how long the oldest has been due.", func(e *env) {
				b := e.board()
				b.zoo()
				e.pass(e.units(3))
				queues := e.boardOf(e.peer()).queues()
				require.Len(e, queues, 3)
				for name, q := range queues {
					require.False(e, q.Paused)
					require.Equal(e, int64(1), q.Running, name)
					require.Equal(e, int64(10), q.Ready+q.Scheduled+q.Running+q.Finished, name)
					require.GreaterOrEqual(e, q.Oldest, e.units(2), name)
					require.Less(e, q.Oldest, time.Hour, name)
				}
				require.Equal(e, rpw.QueueInfo{Name: "img/a", Ready: 3, Scheduled: 3, Running: 1, Finished: 3, Oldest: queues["img/a"].Oldest}, queues["img/a"])
				var names []string
				for req := (rpw.QueuesRequest{Prefix: "img", Max: 1}); ; {
					page, err := b.Queues(e.Context(), req)
					require.NoError(e, err)
					require.LessOrEqual(e, len(page.Queues), 1)
					for _, q := range page.Queues {
						names = append(names, q.Name)
					}
					if req.After = page.Next; req.After == "" {
						break
					}
				}
				require.Equal(e, []string{"img/a", "img/b"}, names)
			}},
		{"Actions/Keep/ByOutcome", []string{"A14"},
			"A finished action is kept for the time of its outcome, not shorter, and then is gone for every verb, without any worker; its id is free.", func(e *env) {
				b := e.board()
				keep := max(e.units(30), 100*time.Millisecond)
				add := func(id string, k rpw.KeepActions) {
					spec := job(id, id)
					spec.Keep = k
					b.add(spec)
				}
				add("completed", rpw.KeepActions{Completed: keep})
				add("failed", rpw.KeepActions{Failed: keep})
				add("cancelled", rpw.KeepActions{Cancelled: keep})
				add("forever", rpw.KeepActions{Completed: rpw.NoTTL, Failed: keep, Cancelled: keep})
				add("default", rpw.KeepActions{Failed: keep})
				add("pending", rpw.KeepActions{Completed: keep, Failed: keep, Cancelled: keep})
				began := time.Now()
				b.finish("completed")
				b.spoil("failed")
				b.commanded(rpw.Cancel, job("cancelled", "cancelled").Ref)
				b.finish("forever")
				b.finish("default")
				for _, id := range []string{"completed", "failed", "cancelled"} {
					ref := job(id, id).Ref
					b.eventually(func() bool {
						err := b.ask(ref).Err
						if err != nil {
							e.is(err, rpw.ErrNotFound)
							require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, keep, "%s was not kept", id)
						}
						return err != nil
					}, "%s is gone", id)
					_, err := b.Changes(e.Context(), rpw.ChangesRequest{Ref: ref})
					e.is(err, rpw.ErrNotFound)
				}
				require.Equal(e, []string{"default/default", "forever/forever", "pending/pending"}, refTexts(b.list(rpw.ListActions{})))
				require.Equal(e, int64(2), b.count(rpw.ActionFilter{})[rpw.Completed])
				b.add(job("completed", "completed"))
			}},
		{"Actions/Keep/ManyEndAtOnce", []string{"A14"},
			"However many actions outlive their retention at once, no verb shows any of them from then on.", func(e *env) {
				b := e.board()
				keep := max(e.units(30), 100*time.Millisecond)
				var specs []rpw.ActionSpec
				for _, id := range numbers(1, 500) {
					spec := job("q", id)
					spec.Keep.Cancelled = keep
					specs = append(specs, spec)
				}
				b.add(specs...)
				for _, spec := range specs {
					b.commanded(rpw.Cancel, spec.Ref)
				}
				e.pass(keep)
				require.Empty(e, b.list(rpw.ListActions{}))
				require.Empty(e, b.count(rpw.ActionFilter{}))
				require.Empty(e, b.queues())
				e.is(b.ask(specs[499].Ref).Err, rpw.ErrNotFound)
			}},
		{"Actions/Namespace/IsClosed", []string{"K2", "A14"},
			"Hubs of different namespaces share a store and see nothing of each other's actions and queues; one without sees them by their full names.", func(e *env) {
				a, other, all := e.boardOf(e.peer(rpw.WithNamespace("a"))), e.boardOf(e.peer(rpw.WithNamespace("b"))), e.board()
				a.add(job("q", "1"), job("only-a", "1"))
				other.add(job("q", "1"))
				held := other.next("q")
				other.none("q", "the rest is in another namespace")
				require.Equal(e, rpw.Pending, a.get(held.Ref).State)
				require.Equal(e, rpw.ActionRef{Queue: "q", ID: "1"}, held.Ref)
				require.Equal(e, "worker", held.Worker)
				require.Equal(e, []string{"only-a/1", "q/1"}, refTexts(a.list(rpw.ListActions{})))
				require.Equal(e, []string{"q/1"}, refTexts(other.list(rpw.ListActions{})))
				require.Equal(e, []string{"a:only-a/1", "a:q/1", "b:q/1"}, refTexts(all.list(rpw.ListActions{Max: 1})))
				require.Len(e, a.queues(), 2)
				require.Equal(e, int64(1), other.queues()["q"].Running)
				require.Equal(e, int64(1), a.count(rpw.ActionFilter{QueuePrefix: "q"})[rpw.Pending])
				e.is(other.command(rpw.Command{Kind: rpw.Cancel, Ref: job("only-a", "1").Ref}).Err, rpw.ErrNotFound)
				lease := held.Lease
				e.is(a.move(lease, rpw.Move{Kind: rpw.Complete}).Err, rpw.ErrLeaseLost)
				other.moved(lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no"}})
				failed := other.get(held.Ref)
				require.Equal(e, "worker", failed.Failures[0].Worker)
				require.Equal(e, "worker", last(failed.Events).Worker)
				require.Equal(e, rpw.Pending, all.get(rpw.ActionRef{Queue: "b:q", ID: "1"}).State)
				a.commanded(rpw.Pause, rpw.ActionRef{Queue: "q"})
				require.Equal(e, 2, other.next("q").Attempt)
			}},
		{"Actions/Namespace/ShowsInNoError", []string{"K2", "E2"},
			"The errors of actions name them as the user does, without the namespace.", func(e *env) {
				b := e.boardOf(e.peer(rpw.WithNamespace("hidden")))
				spec := job("q", "1")
				spec.Unique = "u"
				b.add(spec)
				held := b.next("q")
				absent := job("q", "absent").Ref
				taken, other := spec, spec
				taken.Arg = json.RawMessage(`"another"`)
				other.Ref.ID, other.OnUnique = "2", rpw.UniqueReject
				replaces := other
				replaces.OnUnique = rpw.UniqueReplace
				lost := held.Lease
				lost.Token--
				for _, err := range []error{
					b.offer(taken).Err,
					b.offer(other).Err,
					b.offer(replaces).Err,
					b.ask(absent).Err,
					b.command(rpw.Command{Kind: rpw.Cancel, Ref: absent}).Err,
					b.command(rpw.Command{Kind: rpw.DeleteAction, Ref: held.Ref}).Err,
					b.move(lost, rpw.Move{Kind: rpw.Complete}).Err,
					b.move(rpw.Lease{Ref: absent, Token: 1}, rpw.Move{Kind: rpw.Complete}).Err,
				} {
					require.Error(e, err)
					require.NotContains(e, err.Error(), "hidden")
				}
			}},
	}
}
