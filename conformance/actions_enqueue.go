package conformance

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func enqueueCases() []testCase {
	return []testCase{
		{"Actions/Enqueue/IsStoredAsGiven", []string{"A1"},
			"An enqueued action is pending, with everything the spec said, seen by every process.", func(e *env) {
				b := e.board()
				spec := rpw.ActionSpec{
					Ref: rpw.ActionRef{Queue: "img", ID: "one"}, Name: "resize",
					Arg: json.RawMessage(`{"w": 9007199254740993, "q": 1e400, "s": "<é&\u2028>"}`), Data: json.RawMessage(`[1]`),
					Timeout: time.Minute, MaxAttempts: 3, Backoff: rpw.Backoff{First: time.Second, Max: time.Minute, Jitter: -1},
					CancelGrace: 7 * time.Second, Unique: "u", Labels: []string{"a", "b c"},
				}
				b.add(spec)
				a := e.boardOf(e.peer()).get(spec.Ref)
				require.Equal(e, spec.Ref, a.Ref)
				require.Equal(e, "resize", a.Name)
				require.Equal(e, rpw.Pending, a.State)
				sameJSON(e, string(spec.Arg), a.Arg)
				sameJSON(e, `[1]`, a.Data)
				require.Equal(e, time.Minute, a.Timeout)
				require.Equal(e, 3, a.MaxAttempts)
				require.Equal(e, spec.Backoff, a.Backoff)
				require.Equal(e, 7*time.Second, a.CancelGrace)
				require.Equal(e, "u", a.Unique)
				require.Equal(e, spec.Labels, a.Labels)
				require.Zero(e, a.Attempt)
				require.False(e, a.Created.IsZero())
				require.False(e, a.RunAt.After(a.Created), "without a delay it runs at once")
				require.True(e, a.Started.IsZero() && a.Finished.IsZero() && a.Until.IsZero() && a.CancelAt.IsZero())
				require.Empty(e, a.Output)
				require.Nil(e, a.Failure)
				require.Equal(e, uint64(1), a.Seq)
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest}, kinds(a.Events))
				require.Equal(e, a.Events, b.history(spec.Ref))
			}},
		{"Actions/Enqueue/Defaults", []string{"A1", "A5"},
			"What a spec leaves out has the documented default.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				a := b.get(job("q", "1").Ref)
				sameJSON(e, "null", a.Arg)
				require.Equal(e, rpw.DefaultMaxAttempts, a.MaxAttempts)
				require.Equal(e, rpw.DefaultCancelGrace, a.CancelGrace)
				require.Zero(e, a.Timeout)
				require.Empty(e, a.Unique)
			}},
		{"Actions/Enqueue/FalsyArguments", []string{"A1"},
			"Null, false, 0, an empty text, list and object are arguments, data and outputs like others.", func(e *env) {
				b := e.board()
				for _, arg := range []string{`null`, `false`, `0`, `""`, `[]`, `{}`, `9007199254740993`, `-0.1e-300`, `"\ud800"`} {
					spec := job("q", "1")
					spec.Arg, spec.Data = json.RawMessage(arg), json.RawMessage(arg)
					b.add(spec)
					claimed := b.next("q")
					sameJSON(e, arg, claimed.Arg)
					sameJSON(e, arg, claimed.Data)
					b.moved(claimed.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(arg)})
					sameJSON(e, arg, b.get(spec.Ref).Output)
					b.commanded(rpw.DeleteAction, spec.Ref)
				}
			}},
		{"Actions/Enqueue/AllOrNonePerQueue", []string{"A13"},
			"The items of one queue are stored together or not at all, and do not touch those of another queue.", func(e *env) {
				b := e.board()
				taken := job("a", "taken")
				b.add(taken)
				taken.Name = "other"
				answers, err := b.Enqueue(e.Context(), []rpw.ActionSpec{job("a", "1"), job("b", "1"), taken, job("b", "2"), job("a", "2")})
				require.NoError(e, err)
				require.Len(e, answers, 5)
				for _, i := range []int{0, 2, 4} {
					e.is(answers[i].Err, rpw.ErrConflict)
				}
				for _, i := range []int{1, 3} {
					require.NoError(e, answers[i].Err)
				}
				for _, id := range []string{"1", "2"} {
					e.is(b.ask(rpw.ActionRef{Queue: "a", ID: id}).Err, rpw.ErrNotFound)
					require.Equal(e, rpw.Pending, b.get(rpw.ActionRef{Queue: "b", ID: id}).State)
				}
				require.Equal(e, "job", b.get(taken.Ref).Name)
				b.add(job("a", "1")) // nothing of the refused batch holds it
			}},
		{"Actions/Enqueue/SameIDIsOneAction", []string{"A1", "A13"},
			"An id that is taken by the same name and argument answers Existing, in any state, also twice in one call; by another, ErrConflict.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.Arg = json.RawMessage(`{"a":1}`)
				answers, err := b.Enqueue(e.Context(), []rpw.ActionSpec{spec, spec})
				require.NoError(e, err)
				require.Equal(e, []rpw.Enqueued{{Ref: spec.Ref}, {Ref: spec.Ref, Existing: true}}, answers)

				again := func() {
					answer := b.offer(spec)
					require.NoError(e, answer.Err)
					require.True(e, answer.Existing)
					require.Equal(e, spec.Ref, answer.Ref)
				}
				again()
				claimed := b.next("q")
				again()
				b.none("q", "a repeated enqueue is no second action")
				b.moved(claimed.Lease, rpw.Move{Kind: rpw.Complete})
				again()
				require.Equal(e, rpw.Completed, b.get(spec.Ref).State)

				other := spec
				other.Arg = json.RawMessage(`{"a":2}`)
				e.is(b.offer(other).Err, rpw.ErrConflict)
				other = spec
				other.Name = "other"
				e.is(b.offer(other).Err, rpw.ErrConflict)
				b.add(job("r", "1")) // ids are unique per queue only
			}},
		{"Actions/Enqueue/DelayIsNeverEarly", []string{"A6"},
			"A delayed action, and one with a time to run at, is not handed out before; one whose time has passed is ready at once.", func(e *env) {
				b := e.board()
				delay := e.units(50)
				began := time.Now()
				late, at, past := job("q", "late"), job("at", "at"), job("past", "past")
				late.Delay = delay
				b.add(late)
				at.RunAt = b.get(late.Ref).Created.Add(delay)
				past.RunAt = at.RunAt.Add(-time.Hour)
				b.add(at, past)
				b.none("q", "not due yet")
				b.none("at", "not due yet")
				require.Equal(e, "past", b.next("past").Ref.ID)

				for _, queue := range []string{"q", "at"} {
					claimed := b.next(queue)
					require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, delay, "handed out early")
					require.Falsef(e, claimed.Started.Before(claimed.RunAt), "started %v, to run at %v", claimed.Started, claimed.RunAt)
				}
				a := b.get(late.Ref)
				require.WithinDuration(e, a.Created.Add(delay), a.RunAt, time.Millisecond)
			}},
		{"Actions/Enqueue/ExpiresIfNotStarted", []string{"A8"},
			"An action that no attempt began in its time fails, seen without any worker, also by who waits for it.", func(e *env) {
				b := e.board()
				for _, id := range []string{"got", "watched", "counted", "claimed"} {
					spec := job(id, id)
					spec.StartWithin = e.units(20)
					b.add(spec)
				}
				final := b.final(job("watched", "watched").Ref)
				a := b.state(job("got", "got").Ref, rpw.Failed)
				require.NotNil(e, a.Failure)
				require.NotEmpty(e, a.Failure.Message)
				require.False(e, a.Finished.Before(a.Created.Add(e.units(20)).Add(-time.Millisecond)), "expired early")
				require.Zero(e, a.Attempt)
				change, err := await(e, final)
				require.NoError(e, err)
				require.Equal(e, rpw.ChangeFailed, change.Kind)
				e.pass(e.units(20)) // of those enqueued last
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest, rpw.ChangeFailed}, kinds(b.history(a.Ref)))
				b.none("claimed", "it has expired")
				count := b.count(rpw.ActionFilter{Queues: []string{"counted"}})
				require.Equal(e, int64(1), count[rpw.Failed])
				require.Zero(e, count[rpw.Pending])
			}},
		{"Actions/Enqueue/ExpiryIsForTheFirstAttempt", []string{"A8", "A5"},
			"An action that was begun in time does not expire: later attempts may begin later.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.StartWithin = e.units(50)
				b.add(spec)
				claimed := b.next("q")
				b.moved(claimed.Lease, rpw.Move{Kind: rpw.Fail, RetryIn: e.units(60)})
				again := b.next("q")
				require.Equal(e, 2, again.Attempt)
				b.moved(again.Lease, rpw.Move{Kind: rpw.Complete})
				require.Equal(e, rpw.Completed, b.get(spec.Ref).State)
			}},
		{"Actions/Enqueue/Limits", []string{"A13", "E2"},
			"A call takes 1 to 1,000 actions, an argument a MiB, all together 8 MiB; beyond is ErrTooLarge and stores nothing.", func(e *env) {
				b := e.board()
				big := job("big", "ok")
				big.Arg = jsonText(rpw.MaxPayload)
				b.add(big)
				require.Len(e, b.get(big.Ref).Arg, rpw.MaxPayload)
				big.Ref.ID, big.Arg = "over", jsonText(rpw.MaxPayload+1)
				e.is(b.offer(big).Err, rpw.ErrTooLarge)
				data := job("big", "data")
				data.Data = jsonText(rpw.MaxPayload + 1)
				e.is(b.offer(data).Err, rpw.ErrTooLarge)

				heavy := jobs("heavy", 9)
				for i := range heavy {
					heavy[i].Arg = jsonText(rpw.MaxPayload)
				}
				_, err := b.Enqueue(e.Context(), heavy)
				e.is(err, rpw.ErrTooLarge)
				_, err = b.Enqueue(e.Context(), jobs("many", rpw.MaxBatch+1))
				e.is(err, rpw.ErrTooLarge)
				_, err = b.Enqueue(e.Context(), nil)
				e.is(err, rpw.ErrInvalid)
				b.add(jobs("many", rpw.MaxBatch)...)

				count := b.count(rpw.ActionFilter{})
				require.Equal(e, int64(rpw.MaxBatch+1), count[rpw.Pending])
			}},
		{"Actions/Enqueue/BadInput", []string{"E2"},
			"A spec that can never work is ErrInvalid (or ErrTooLarge) on every driver, says where it breaks, and stores nothing.", func(e *env) {
				b := e.board()
				invalid := map[string]func(*rpw.ActionSpec){
					"no queue":           func(s *rpw.ActionSpec) { s.Ref.Queue = "" },
					"no id":              func(s *rpw.ActionSpec) { s.Ref.ID = "" },
					"no name":            func(s *rpw.ActionSpec) { s.Name = "" },
					"slash in the id":    func(s *rpw.ActionSpec) { s.Ref.ID = "a/b" },
					"glob in the queue":  func(s *rpw.ActionSpec) { s.Ref.Queue = "q*" },
					"brace in the queue": func(s *rpw.ActionSpec) { s.Ref.Queue = "{q}" },
					"control in name":    func(s *rpw.ActionSpec) { s.Name = "a\x1b[2J" },
					"long id":            func(s *rpw.ActionSpec) { s.Ref.ID = text(rpw.MaxName + 1) },
					"bad UTF-8":          func(s *rpw.ActionSpec) { s.Ref.ID = "a\xff" },
					"bad unique key":     func(s *rpw.ActionSpec) { s.Unique = "a\nb" },
					"bad label":          func(s *rpw.ActionSpec) { s.Labels = []string{""} },
					"unknown policy":     func(s *rpw.ActionSpec) { s.OnUnique = 99 },
					"negative delay":     func(s *rpw.ActionSpec) { s.Delay = -1 },
					"endless delay":      func(s *rpw.ActionSpec) { s.Delay = rpw.MaxDelay + 1 },
					"delay and run-at":   func(s *rpw.ActionSpec) { s.Delay, s.RunAt = 1, time.Now() },
					"run-at of old":      func(s *rpw.ActionSpec) { s.RunAt = time.UnixMilli(-1) },
					"run-at far ahead":   func(s *rpw.ActionSpec) { s.RunAt = time.Now().Add(3 * rpw.MaxDelay / 2).Add(rpw.MaxDelay) },
					"negative expiry":    func(s *rpw.ActionSpec) { s.StartWithin = -1 },
					"negative timeout":   func(s *rpw.ActionSpec) { s.Timeout = -1 },
					"negative attempts":  func(s *rpw.ActionSpec) { s.MaxAttempts = -1 },
					"negative back-off":  func(s *rpw.ActionSpec) { s.Backoff.First = -1 },
					"back-off cap":       func(s *rpw.ActionSpec) { s.Backoff = rpw.Backoff{First: 2, Max: 1} },
					"jitter":             func(s *rpw.ActionSpec) { s.Backoff.Jitter = 1.5 },
					"grace":              func(s *rpw.ActionSpec) { s.CancelGrace = rpw.MaxLease + 1 },
					"retention":          func(s *rpw.ActionSpec) { s.Keep.Completed = -5 },
					"no JSON":            func(s *rpw.ActionSpec) { s.Arg = json.RawMessage(`{"a":1,}`) },
					"empty JSON":         func(s *rpw.ActionSpec) { s.Arg = json.RawMessage{} },
					"cut JSON":           func(s *rpw.ActionSpec) { s.Arg = json.RawMessage(`{"a":`) },
					"two JSON values":    func(s *rpw.ActionSpec) { s.Data = json.RawMessage(`{} {}`) },
				}
				for what, spoil := range invalid {
					spec := job("q", "bad")
					spoil(&spec)
					answers, err := b.Enqueue(e.Context(), []rpw.ActionSpec{job("q", "good"), spec})
					require.ErrorIsf(e, err, rpw.ErrInvalid, "%s", what)
					require.Emptyf(e, answers, "%s", what)
				}
				labels := job("q", "labels")
				for range 17 {
					labels.Labels = append(labels.Labels, "l")
				}
				e.is(b.offer(labels).Err, rpw.ErrTooLarge)

				broken := job("q", "bad")
				broken.Arg = json.RawMessage(`{"a":1,}`)
				require.ErrorContains(e, b.offer(broken).Err, "byte 8")
				count := b.count(rpw.ActionFilter{})
				require.Zero(e, count[rpw.Pending], "something of a refused call was stored")
			}},
		{"Actions/Enqueue/LaterFieldsAreNotIgnored", []string{"A11", "A12", "A15"},
			"A field that the driver does not implement is answered with errors.ErrUnsupported, never with silence.", func(e *env) {
				b := e.board()
				for what, set := range map[string]func(*rpw.ActionSpec){
					"Priority":    func(s *rpw.ActionSpec) { s.Priority = 1 },
					"Concurrency": func(s *rpw.ActionSpec) { s.Concurrency = rpw.Concurrency{Key: "k", Max: 1} },
					"Repeat":      func(s *rpw.ActionSpec) { s.Repeat = rpw.Repeat{Every: time.Hour} },
					"After":       func(s *rpw.ActionSpec) { s.After = []rpw.ActionRef{{Queue: "q", ID: "x"}} },
				} {
					spec := job("q", what)
					set(&spec)
					if answer := b.offer(spec); answer.Err != nil {
						require.ErrorIsf(e, answer.Err, errors.ErrUnsupported, "%s", what)
						e.is(b.ask(spec.Ref).Err, rpw.ErrNotFound)
					} else {
						e.Errorf("%s was accepted; a driver that implements it needs a case of its own", what)
					}
				}
			}},
		{"Actions/Enqueue/DoneContext", []string{"E1"},
			"A context that is done before the call means that nothing is done.", func(e *env) {
				b := e.board()
				ctx := e.done()
				_, err := b.Enqueue(ctx, []rpw.ActionSpec{job("q", "1")})
				require.ErrorIs(e, err, ctx.Err())
				require.NotErrorIs(e, err, rpw.ErrUncertain)
				e.is(b.ask(job("q", "1").Ref).Err, rpw.ErrNotFound)
				_, err = b.Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Wait: rpw.Forever})
				require.ErrorIs(e, err, ctx.Err())
			}},
	}
}

func uniqueCases() []testCase {
	unique := func(id string, policy rpw.UniquePolicy) rpw.ActionSpec {
		spec := job("q", id)
		spec.Unique, spec.OnUnique = "key", policy
		return spec
	}
	return []testCase{
		{"Actions/Unique/JoinAnswersTheOneThatIsThere", []string{"A9"},
			"A second action with a unique key answers the first, pending or running, also within one call.", func(e *env) {
				b := e.board()
				answers, err := b.Enqueue(e.Context(), []rpw.ActionSpec{unique("1", rpw.UniqueJoin), unique("2", rpw.UniqueJoin)})
				require.NoError(e, err)
				first := rpw.ActionRef{Queue: "q", ID: "1"}
				require.Equal(e, []rpw.Enqueued{{Ref: first}, {Ref: first, Existing: true}}, answers)
				b.next("q")
				require.Equal(e, rpw.Enqueued{Ref: first, Existing: true}, b.offer(unique("3", rpw.UniqueJoin)))
				for _, id := range []string{"2", "3"} {
					e.is(b.ask(rpw.ActionRef{Queue: "q", ID: id}).Err, rpw.ErrNotFound)
				}
				other := unique("1", rpw.UniqueReject)
				other.Ref.Queue = "other"
				b.add(other) // keys are per queue
			}},
		{"Actions/Unique/RejectIsConflict", []string{"A9"},
			"With UniqueReject a taken key is ErrConflict; a repeat of the same enqueue is still Existing.", func(e *env) {
				b := e.board()
				b.add(unique("1", rpw.UniqueReject))
				e.is(b.offer(unique("2", rpw.UniqueReject)).Err, rpw.ErrConflict)
				require.True(e, b.offer(unique("1", rpw.UniqueReject)).Existing)
				b.next("q")
				e.is(b.offer(unique("2", rpw.UniqueReject)).Err, rpw.ErrConflict)
			}},
		{"Actions/Unique/ReplaceChangesThePending", []string{"A9"},
			"UniqueReplace gives the pending action argument, options and time of the new spec and keeps its id; a running one is ErrConflict.", func(e *env) {
				b := e.board()
				first := unique("1", rpw.UniqueJoin)
				first.Delay, first.Arg = time.Hour, json.RawMessage(`1`)
				b.add(first)
				created := b.get(first.Ref).Created
				time.Sleep(e.units(2))
				second := unique("2", rpw.UniqueReplace)
				second.Arg, second.MaxAttempts, second.Timeout, second.Labels = json.RawMessage(`2`), 1, time.Minute, []string{"new"}
				require.Equal(e, rpw.Enqueued{Ref: first.Ref, Existing: true}, b.offer(second))
				e.is(b.ask(second.Ref).Err, rpw.ErrNotFound)
				claimed := b.next("q")
				require.Equal(e, "1", claimed.Ref.ID)
				sameJSON(e, `2`, claimed.Arg)
				require.Equal(e, 1, claimed.MaxAttempts)
				require.Equal(e, time.Minute, claimed.Timeout)
				require.Equal(e, []string{"new"}, claimed.Labels)
				require.True(e, created.Equal(claimed.Created), "it is the same action")
				require.Contains(e, kinds(b.history(first.Ref)), rpw.ChangeRescheduled)
				e.is(b.offer(unique("3", rpw.UniqueReplace)).Err, rpw.ErrConflict)
				page, err := b.List(e.Context(), rpw.ListActions{ActionFilter: rpw.ActionFilter{Label: "new"}})
				require.NoError(e, err)
				require.Equal(e, []string{"1"}, ids(page.Actions))
			}},
		{"Actions/Unique/ReplacedTwiceTheLastCounts", []string{"A9"},
			"Of several specs in one call that replace an action, the last one says what it is.", func(e *env) {
				b := e.board()
				first := unique("1", rpw.UniqueJoin)
				first.Delay, first.Data = time.Hour, json.RawMessage(`1`)
				b.add(first)
				for _, last := range []string{`3`, ``} {
					second, third := unique("2", rpw.UniqueReplace), unique("3", rpw.UniqueReplace)
					second.Delay, third.Delay = time.Hour, time.Hour
					if third.Data = json.RawMessage(last); last == "" {
						second.Data, third.Data = json.RawMessage(`2`), nil
					}
					answers, err := b.Enqueue(e.Context(), []rpw.ActionSpec{second, third})
					require.NoError(e, err)
					for _, answer := range answers {
						require.Equal(e, rpw.Enqueued{Ref: first.Ref, Existing: true}, answer)
					}
					require.Equal(e, last, string(b.get(first.Ref).Data))
				}
			}},
		{"Actions/Unique/RescheduleChangesTheTimeOnly", []string{"A9"},
			"UniqueReschedule gives the pending action the time of the new spec and nothing else; a running one is ErrConflict.", func(e *env) {
				b := e.board()
				first := unique("1", rpw.UniqueJoin)
				first.Delay, first.Arg = time.Hour, json.RawMessage(`1`)
				b.add(first)
				second := unique("2", rpw.UniqueReschedule)
				second.Arg, second.MaxAttempts, second.Delay = json.RawMessage(`2`), 1, e.units(10)
				began := time.Now()
				require.Equal(e, rpw.Enqueued{Ref: first.Ref, Existing: true}, b.offer(second))
				claimed := b.next("q")
				require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, e.units(10))
				require.Equal(e, "1", claimed.Ref.ID)
				sameJSON(e, `1`, claimed.Arg)
				require.Equal(e, rpw.DefaultMaxAttempts, claimed.MaxAttempts)
				e.is(b.offer(unique("3", rpw.UniqueReschedule)).Err, rpw.ErrConflict)
			}},
		{"Actions/Unique/KeyIsFreeAgain", []string{"A9"},
			"Completed, failed, cancelled, expired, deleted: each gives the unique key back; waiting for another attempt does not.", func(e *env) {
				b := e.board()
				fresh := func(id string) rpw.ActionSpec { return unique(id, rpw.UniqueReject) }
				b.add(fresh("completed"))
				b.finish("q")
				b.add(fresh("failed"))
				claimed := b.next("q")
				b.moved(claimed.Lease, rpw.Move{Kind: rpw.Fail})
				e.is(b.offer(unique("x", rpw.UniqueReject)).Err, rpw.ErrConflict)
				b.spoil("q")
				b.add(fresh("cancelled"))
				b.commanded(rpw.Cancel, rpw.ActionRef{Queue: "q", ID: "cancelled"})
				b.add(fresh("accepted"))
				claimed = b.next("q")
				b.commanded(rpw.Cancel, claimed.Ref)
				e.is(b.offer(unique("x", rpw.UniqueReject)).Err, rpw.ErrConflict)
				b.moved(claimed.Lease, rpw.Move{Kind: rpw.AcceptCancel})
				b.add(fresh("deleted"))
				b.commanded(rpw.DeleteAction, rpw.ActionRef{Queue: "q", ID: "deleted"})
				expiring := fresh("expired")
				expiring.StartWithin = e.units(5)
				b.add(expiring)
				e.eventually(func() bool { return b.offer(fresh("last")).Err == nil }, "an expired action gives its key back")
				require.Equal(e, rpw.Failed, b.get(expiring.Ref).State)
			}},
		{"Actions/Unique/RetryTakesTheKeyAgain", []string{"A9", "A14"},
			"A retried action holds its unique key again; it cannot be retried while another one has it.", func(e *env) {
				b := e.board()
				b.add(unique("1", rpw.UniqueReject))
				failed := b.spoil("q").Ref
				b.add(unique("2", rpw.UniqueReject))
				e.is(b.command(rpw.Command{Kind: rpw.Retry, Ref: failed}).Err, rpw.ErrConflict)
				require.Equal(e, rpw.Failed, b.get(failed).State)
				b.finish("q")
				b.commanded(rpw.Retry, failed)
				e.is(b.offer(unique("3", rpw.UniqueReject)).Err, rpw.ErrConflict)
			}},
	}
}
