package rpw_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestRetryRule: ErrUnavailable is repeated for every verb, ErrUncertain only where a repeat is safe, nothing else.
func TestRetryRule(t *testing.T) {
	type verb struct {
		name      string
		uncertain bool // is repeated when the outcome is unknown
		call      func(ctx context.Context, hub *rpw.Hub) error
	}
	verbs := []verb{
		{"publish", true, func(ctx context.Context, hub *rpw.Hub) error {
			_, err := publish(ctx, hub, "t")
			return err
		}},
		{"get", true, func(ctx context.Context, hub *rpw.Hub) error {
			_, err := hub.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"k"}})
			return err
		}},
		{"scan", true, func(ctx context.Context, hub *rpw.Hub) error {
			_, err := hub.Cache().Scan(ctx, rpw.ScanRequest{})
			return err
		}},
		{"set", false, func(ctx context.Context, hub *rpw.Hub) error { return rpw.Set(ctx, hub, "k", 1) }},
		{"increment", false, func(ctx context.Context, hub *rpw.Hub) error {
			_, err := rpw.Increment(ctx, hub, "k", 1)
			return err
		}},
		{"health", false, func(ctx context.Context, hub *rpw.Hub) error { return hub.Health(ctx) }},
	}
	for _, v := range verbs {
		for _, s := range append(sentinels, struct {
			err  error
			code string
		}{errors.New("odd"), "internal"}) {
			t.Run(v.name+"/"+s.code, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					calls := 0
					fail := func() error {
						if calls++; calls <= 2 {
							return rpw.Errorf(s.err, "fault %d", calls)
						}
						return nil
					}
					hub := newHub(t, rpw.Parts{
						Streams: &fakeBus{behave: func(context.Context, rpw.Batch) error { return fail() }},
						Cache:   &fakeCache{do: func(context.Context, string) error { return fail() }},
						Health:  func(context.Context) error { return fail() },
					})
					err := v.call(t.Context(), hub)
					if s.err == rpw.ErrUnavailable || s.err == rpw.ErrUncertain && v.uncertain {
						assert.NoError(t, err)
						assert.Equal(t, 3, calls)
						return
					}
					assert.ErrorIs(t, err, s.err)
					assert.Equal(t, s.code, rpw.Code(err))
					assert.Equal(t, 1, calls)
				})
			})
		}
	}
}

// TestRetryIsBounded: a call gives up after 5 s, with the last error; ctx ends it sooner.
func TestRetryIsBounded(t *testing.T) {
	for _, local := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { testRetryIsBounded(t, local) })
	}
}

func testRetryIsBounded(t *testing.T, local bool) {
	calls := 0
	hub := newHub(t, rpw.Parts{Local: local, Cache: &fakeCache{do: func(context.Context, string) error {
		calls++
		return rpw.ErrUnavailable
	}}})
	start := time.Now()
	_, _, err := rpw.Get[int](t.Context(), hub, "k")
	require.ErrorIs(t, err, rpw.ErrUnavailable)
	assert.EqualError(t, err, `rpw: get "k" (fake): unavailable`)
	assert.InDelta(t, 4.5, time.Since(start).Seconds(), 0.5)
	assert.Greater(t, calls, 5)
	assert.Less(t, calls, 60)

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start = time.Now()
	_, _, err = rpw.Get[int](ctx, hub, "k")
	require.Error(t, err)
	assert.LessOrEqual(t, time.Since(start), time.Second)

	_, _, err = rpw.Get[int](ctx, hub, "k")
	assert.Equal(t, context.DeadlineExceeded, err, "a ctx that is done passes through, nothing is asked")
}

// TestTheLastRepeatHasTimeForItsAnswer: E1: what is known of a call is not made unknown by a repeat that has to be cut at once.
func TestTheLastRepeatHasTimeForItsAnswer(t *testing.T) {
	for range 20 { // the pauses have jitter
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			hub := newHub(t, rpw.Parts{Cache: &fakeCache{do: func(ctx context.Context, _ string) error {
				if calls++; calls > 1 {
					end, _ := ctx.Deadline()
					assert.GreaterOrEqual(t, time.Until(end), 500*time.Millisecond)
				}
				return rpw.ErrUnavailable
			}}})
			_, _, err := rpw.Get[int](t.Context(), hub, "k")
			assert.ErrorIs(t, err, rpw.ErrUnavailable)
		})
	}
}

// TestRepeatsAreWithinTheBound: a call to a backend that fails slowly takes no longer than 5 s with its repeats, and the bound is not taken for the caller's. F2, F39.
func TestRepeatsAreWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var end error
		hub := newHub(t, rpw.Parts{Cache: &fakeCache{do: func(ctx context.Context, _ string) error {
			select {
			case <-time.After(3 * time.Second):
				return rpw.Errorf(rpw.ErrUnavailable, "away")
			case <-ctx.Done():
				end = ctx.Err()
				return rpw.Errorf(rpw.ErrUncertain, "%w", end)
			}
		}}})
		start := time.Now()
		_, _, err := rpw.Get[int](t.Context(), hub, "k")
		assert.Equal(t, 5*time.Second, time.Since(start))
		assert.ErrorIs(t, err, rpw.ErrUncertain, "the last try may have reached the backend")
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "away")
		assert.Equal(t, context.DeadlineExceeded, end, "the repeat was cut")
	})
}

// TestDoubtStaysWithItems: neither is it where the next try is refused item by item.
func TestDoubtStaysWithItems(t *testing.T) {
	streams, actions := refusedLater{}, actionsRefusedLater{}
	for verb, call := range map[string]func(ctx context.Context, hub *rpw.Hub) error{
		"publish": func(ctx context.Context, hub *rpw.Hub) error {
			_, err := publish(ctx, hub, "t")
			return err
		},
		"publish for another": func(ctx context.Context, hub *rpw.Hub) error {
			answers, err := hub.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Producer: rpw.Producer{ID: [16]byte{1}, Seq: 1}, Events: []rpw.NewEvent{{Type: "t"}}}})
			require.NoError(t, err)
			return answers[0].Err
		},
		"settle": func(ctx context.Context, hub *rpw.Hub) error {
			errs, err := hub.Streams().Settle(ctx, rpw.SettleRequest{Stream: "s", Group: "g", Settlements: []rpw.Settlement{{Receipt: rpw.Receipt{ID: rpw.ID{MS: 1}, Incarnation: 1, Token: 1}, Verdict: rpw.Ack}}})
			require.NoError(t, err)
			return errs[0]
		},
		"administer": func(ctx context.Context, hub *rpw.Hub) error {
			answers, err := hub.Streams().Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{{Verb: rpw.DeleteGroup, Stream: "s", Group: "g"}}})
			require.NoError(t, err)
			return answers[0].Err
		},
		"enqueue": func(ctx context.Context, hub *rpw.Hub) error {
			answers, err := hub.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: rpw.ActionRef{Queue: "q", ID: "1"}, Name: "n"}})
			require.NoError(t, err)
			return answers[0].Err
		},
		"advance": func(ctx context.Context, hub *rpw.Hub) error {
			lease := rpw.Lease{Ref: rpw.ActionRef{Queue: "q", ID: "1"}, Token: 1}
			answers, err := hub.Actions().Advance(ctx, rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: lease, Kind: rpw.Complete}}})
			require.NoError(t, err)
			return answers[0].Err
		},
		"control": func(ctx context.Context, hub *rpw.Hub) error {
			answers, err := hub.Actions().Control(ctx, rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: rpw.ActionRef{Queue: "q", ID: "1"}}}})
			require.NoError(t, err)
			return answers[0].Err
		},
	} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				lost := func() error {
					if tries++; tries == 1 {
						return rpw.Errorf(rpw.ErrUncertain, "the reply was lost")
					}
					return nil
				}
				streams.lost, actions.lost = lost, lost
				err := call(t.Context(), newHub(t, rpw.Parts{Streams: streams, Actions: actions}))
				assert.Equal(t, 2, tries)
				assert.ErrorIs(t, err, rpw.ErrUncertain)
				assert.NotErrorIs(t, err, rpw.ErrFull)
			})
		})
	}
}

var errRefused = rpw.Errorf(rpw.ErrFull, "no room for this item")

// refusedLater loses the reply of the first call, and refuses every item of the others.
type refusedLater struct {
	rpw.StreamBus
	lost func() error
}

func (r refusedLater) Publish(_ context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	return slices.Repeat([]rpw.Published{{Err: errRefused}}, len(batches)), r.lost()
}

func (r refusedLater) Settle(context.Context, rpw.SettleRequest) ([]error, error) {
	return []error{errRefused}, r.lost()
}

func (r refusedLater) Administer(context.Context, rpw.GroupCommands) ([]rpw.GroupAnswer, error) {
	return []rpw.GroupAnswer{{Err: errRefused}}, r.lost()
}

type actionsRefusedLater struct {
	rpw.ActionStore
	lost func() error
}

func (r actionsRefusedLater) Enqueue(_ context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	return []rpw.Enqueued{{Ref: specs[0].Ref, Err: errRefused}}, r.lost()
}

func (r actionsRefusedLater) Advance(context.Context, rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	return []rpw.Advanced{{Err: errRefused}}, r.lost()
}

func (r actionsRefusedLater) Control(context.Context, rpw.ControlRequest) ([]rpw.Controlled, error) {
	return []rpw.Controlled{{Err: errRefused}}, r.lost()
}

// TestDoubtStays: a try whose outcome is unknown is not forgotten because the next one surely did nothing.
func TestDoubtStays(t *testing.T) {
	for _, c := range []struct {
		after, want error
	}{
		{nil, nil},
		{rpw.ErrUnavailable, rpw.ErrUncertain},
		{rpw.ErrFull, rpw.ErrUncertain},
		{rpw.ErrPermission, rpw.ErrUncertain},
		{rpw.ErrClosed, rpw.ErrUncertain},
		{rpw.ErrUncertain, rpw.ErrUncertain},
		{context.DeadlineExceeded, rpw.ErrUncertain},
		{rpw.ErrConflict, rpw.ErrConflict},
		{rpw.ErrTooLarge, rpw.ErrTooLarge},
		{&rpw.GapError{}, nil},
	} {
		t.Run(rpw.Code(c.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				hub := newHub(t, rpw.Parts{Streams: &fakeBus{behave: func(context.Context, rpw.Batch) error {
					if tries++; tries == 1 {
						return rpw.Errorf(rpw.ErrUncertain, "the reply was lost")
					}
					return c.after
				}}})
				_, err := publish(t.Context(), hub, "t")
				require.Greater(t, tries, 1)
				switch _, gap := errors.AsType[*rpw.GapError](c.after); {
				case gap:
					assert.ErrorAs(t, err, new(*rpw.GapError))
				case c.want == nil:
					assert.NoError(t, err)
				default:
					assert.Equal(t, rpw.Code(c.want), rpw.Code(err), "%v", err)
				}
				for _, s := range sentinels {
					if s.err != c.want && s.err != c.after || s.err == rpw.ErrUnavailable {
						assert.NotErrorIs(t, err, s.err)
					}
				}
				if c.after == context.DeadlineExceeded {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				}
			})
		})
	}
}

func TestGuardRefuses(t *testing.T) {
	hub := newHub(t, rpw.Parts{Cache: &fakeCache{do: func(context.Context, string) error {
		t.Error("the driver was reached")
		return nil
	}}})
	ctx := t.Context()
	//nolint:staticcheck // a nil ctx is the mistake
	assert.ErrorIs(t, rpw.Set(noContext, hub, "k", 1), rpw.ErrInvalid)
	assert.ErrorIs(t, rpw.Set(ctx, hub, "", 1), rpw.ErrInvalid)
	assert.ErrorIs(t, rpw.Set(ctx, hub, "k", 1, rpw.TTL(-time.Second)), rpw.ErrInvalid)
	assert.ErrorIs(t, rpw.Set(ctx, hub, "k", 1, rpw.TTL(100*365*24*time.Hour)), rpw.ErrInvalid)
	assert.ErrorIs(t, rpw.Set(ctx, hub, "k", func() {}), rpw.ErrInvalid)
	assert.ErrorIs(t, rpw.Set(ctx, hub, "k", make([]byte, rpw.MaxPayload)), rpw.ErrTooLarge)
	_, err := hub.Cache().Get(ctx, rpw.GetRequest{})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = hub.Cache().Get(ctx, rpw.GetRequest{Keys: make([]string, rpw.MaxBatch+1)})
	assert.ErrorIs(t, err, rpw.ErrTooLarge)
	_, err = publish(ctx, hub, "t")
	assert.ErrorIs(t, err, errors.ErrUnsupported, "no such part")
	_, err = hub.Logs().Query(ctx, rpw.LogQuery{})
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, hub.Close())
	assert.ErrorIs(t, rpw.Set(ctx, hub, "k", 1), rpw.ErrClosed)
	var zero rpw.Hub
	assert.ErrorIs(t, rpw.Set(ctx, &zero, "k", 1), rpw.ErrClosed, "the zero Hub is closed")
}

func TestBatchLimits(t *testing.T) {
	hub := newHub(t, rpw.Parts{Streams: &fakeBus{}})
	send := func(b rpw.Batch) error {
		b.Stream = "s"
		_, err := hub.Streams().Publish(t.Context(), []rpw.Batch{b})
		return err
	}
	event := rpw.NewEvent{Type: "t"}
	many := func(n int) (events []rpw.NewEvent) {
		for range n {
			events = append(events, event)
		}
		return events
	}
	assert.NoError(t, send(rpw.Batch{Events: many(rpw.MaxBatch)}))
	assert.ErrorIs(t, send(rpw.Batch{Events: many(rpw.MaxBatch + 1)}), rpw.ErrTooLarge)
	assert.ErrorIs(t, send(rpw.Batch{}), rpw.ErrInvalid)
	event.Data = make([]byte, rpw.MaxPayload-1)
	assert.NoError(t, send(rpw.Batch{Events: many(8)}), "8 MiB exactly")
	assert.ErrorIs(t, send(rpw.Batch{Events: many(9)}), rpw.ErrTooLarge)
	event.Data = make([]byte, rpw.MaxPayload)
	assert.ErrorIs(t, send(rpw.Batch{Events: many(1)}), rpw.ErrTooLarge, "the type counts, too")
	event.Data = nil
	assert.ErrorIs(t, send(rpw.Batch{Events: many(1), KeyWindow: 25 * time.Hour}), rpw.ErrInvalid)
	assert.ErrorIs(t, send(rpw.Batch{Events: many(1), Keep: rpw.Retention{Events: -2}}), rpw.ErrInvalid)
}

// TestNamespace: names go in with it and come out without it.
func TestNamespace(t *testing.T) {
	bus, cache := &fakeBus{}, &fakeCache{}
	hub := newHub(t, rpw.Parts{Streams: bus, Cache: cache}, rpw.WithNamespace("tenant"))
	_, err := publish(t.Context(), hub, "t")
	require.NoError(t, err)
	assert.Equal(t, "tenant:s", bus.batches[0].Stream)
	require.NoError(t, rpw.Set(t.Context(), hub, "k", 1))
	assert.Contains(t, cache.values, "tenant:k")

	cache.do = func(context.Context, string) error { return rpw.Errorf(rpw.ErrConflict, "of another kind") }
	_, _, err = rpw.Get[int](t.Context(), hub, "k")
	assert.EqualError(t, err, `rpw: get "k" (fake): conflict: of another kind`)
	bus.behave = func(_ context.Context, b rpw.Batch) error { return &rpw.GapError{Stream: b.Stream} }
	_, err = publish(t.Context(), hub, "t")
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(t, ok)
	assert.Equal(t, "s", gap.Stream)
}

// TestGuardBounds: nothing without a bound reaches a driver.
func TestGuardBounds(t *testing.T) {
	hub := newHub(t, rpw.Parts{Cache: &fakeCache{}, Actions: struct{ rpw.ActionStore }{}})
	ctx := t.Context()
	large := make([]byte, rpw.MaxPayload+1)
	half := make([]byte, rpw.MaxPayload)
	set := func(items ...rpw.CacheSet) error {
		_, err := hub.Cache().Set(ctx, items)
		return err
	}
	item := rpw.CacheSet{Key: "k", TTL: rpw.NoTTL, When: rpw.IfEqual, Old: large}
	assert.ErrorIs(t, set(item), rpw.ErrTooLarge)
	item.Data, item.Old = half, half
	assert.NoError(t, set(slices.Repeat([]rpw.CacheSet{item}, 4)...))
	assert.ErrorIs(t, set(slices.Repeat([]rpw.CacheSet{item}, 5)...), rpw.ErrTooLarge)
	_, err := hub.Cache().Delete(ctx, []rpw.CacheDelete{{Key: "k", When: rpw.IfEqual, Old: large}})
	assert.ErrorIs(t, err, rpw.ErrTooLarge)
	_, err = hub.Cache().Delete(ctx, slices.Repeat([]rpw.CacheDelete{{Key: "k", When: rpw.IfEqual, Old: half}}, 9))
	assert.ErrorIs(t, err, rpw.ErrTooLarge)

	worker := rpw.WorkerInfo{ID: "1", Name: "w", Status: rpw.WorkerIdle, Meta: map[string]string{"m": string(large)}}
	_, err = hub.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: worker})
	assert.ErrorIs(t, err, rpw.ErrTooLarge)
	_, err = hub.Actions().Count(ctx, rpw.ActionFilter{Queues: slices.Repeat([]string{"q"}, rpw.MaxBatch+1)})
	assert.ErrorIs(t, err, rpw.ErrTooLarge)
	_, err = hub.Actions().Enqueue(ctx, []rpw.ActionSpec{{Ref: rpw.ActionRef{Queue: "q", ID: "1"}, Name: "n", Backoff: rpw.Backoff{Jitter: math.NaN()}}})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
}

// nearCache is a Cache that has the values of keys but one in this process.
type nearCache struct{ fakeCache }

func (*nearCache) GetNear(req rpw.GetRequest) ([]rpw.Value, bool) {
	if req.Keys[0] == "ns:far" {
		return nil, false
	}
	return []rpw.Value{{Found: true, Data: []byte("near")}}, true
}

// TestNearValuesNeedNoCall: a Hub asks what holds values in this process first, where that is allowed and nobody watches.
func TestNearValuesNeedNoCall(t *testing.T) {
	get := func(ctx context.Context, hub *rpw.Hub, key string, maxStale time.Duration) (string, error) {
		values, err := hub.Cache().Get(ctx, rpw.GetRequest{Keys: []string{key}, MaxStale: maxStale})
		if err != nil {
			return "", err
		}
		return string(values[0].Data), nil
	}
	far := map[string][]byte{"ns:k": []byte("far"), "ns:far": []byte("far")}
	hub := newHub(t, rpw.Parts{Cache: &nearCache{fakeCache{values: far}}}, rpw.WithNamespace("ns"))
	for _, c := range []struct {
		key      string
		maxStale time.Duration
		want     string
	}{{"k", time.Second, "near"}, {"far", time.Second, "far"}, {"k", 0, "far"}} {
		got, err := get(t.Context(), hub, c.key, c.maxStale)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%s, %v", c.key, c.maxStale)
	}
	_, err := get(t.Context(), hub, "", time.Second)
	require.ErrorIs(t, err, rpw.ErrInvalid)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = get(ended, hub, "k", time.Second)
	require.ErrorIs(t, err, context.Canceled)
	_, err = get(nil, hub, "k", time.Second)
	require.ErrorIs(t, err, rpw.ErrInvalid)
	require.NoError(t, hub.Close())
	_, err = get(t.Context(), hub, "k", time.Second)
	require.ErrorIs(t, err, rpw.ErrClosed)

	var log []string
	watched := newHub(t, rpw.Parts{Cache: &nearCache{fakeCache{values: far}}}, rpw.WithNamespace("ns"), rpw.WithObserver(observer{"a", &log}))
	got, err := get(t.Context(), watched, "k", time.Second)
	require.NoError(t, err)
	assert.Equal(t, "far", got)
	assert.Equal(t, []string{"a begin get", "a end get "}, log)
}
