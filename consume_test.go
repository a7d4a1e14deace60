package rpw_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// away is a StreamBus that can be taken away, for some verbs.
type away struct {
	rpw.StreamBus
	mu     sync.Mutex
	settle error // of Settle with other verdicts than Extend
}

func (a *away) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle = err
}

func (a *away) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	a.mu.Lock()
	err := a.settle
	a.mu.Unlock()
	if err != nil && req.Settlements[0].Verdict != rpw.Extend {
		return nil, err
	}
	return a.StreamBus.Settle(ctx, req)
}

// awayHub is a Hub over a memory store whose streams can be taken away.
func awayHub(t *testing.T) (*rpw.Hub, *away) {
	parts := memory.New(memory.Options{}).Parts()
	bus := &away{StreamBus: parts.Streams}
	parts.Streams = bus
	return newHub(t, parts), bus
}

// consume runs Consume; stop ends its ctx and returns its answer.
func consume(t *testing.T, hub *rpw.Hub, c rpw.Consumer, handle func(context.Context, rpw.Delivery) error) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rpw.Consume(ctx, hub, "s", c, handle) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

// pending returns how many events of the group are not settled.
func pending(t *testing.T, hub *rpw.Hub) int64 {
	groups, err := hub.Streams().Groups(t.Context(), "s")
	require.NoError(t, err)
	require.Len(t, groups, 1)
	return groups[0].Pending + groups[0].Lag
}

// TestConsumeVerdictsLost: an event whose verdict could not be delivered is delivered again, also if its verdict waited behind another's.
func TestConsumeVerdictsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, bus := awayHub(t)
		stop := consume(t, hub, rpw.Consumer{Group: "g", Concurrency: 2, Lease: 30 * time.Second},
			func(context.Context, rpw.Delivery) error { return nil })
		bus.set(rpw.ErrUnavailable)
		for range 2 {
			_, err := publish(t.Context(), hub, "t")
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		time.Sleep(40 * time.Second)
		bus.set(nil)
		time.Sleep(5 * time.Minute)
		assert.Zero(t, pending(t, hub))
		require.NoError(t, stop())
	})
}

// TestConsumeVerdictsOutlast: verdicts wait for the backend as long as their leases can be kept; the grace is for the end only.
func TestConsumeVerdictsOutlast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, bus := awayHub(t)
		handled := 0
		stop := consume(t, hub, rpw.Consumer{Group: "g", Lease: 30 * time.Second, Grace: time.Second},
			func(context.Context, rpw.Delivery) error {
				handled++
				return nil
			})
		bus.set(rpw.ErrUnavailable)
		_, err := publish(t.Context(), hub, "t")
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		bus.set(nil)
		time.Sleep(time.Minute)
		assert.Equal(t, 1, handled)
		assert.Zero(t, pending(t, hub))
		require.NoError(t, stop())
	})
}

// TestConsumeStopsInTime: within the grace and a second, whatever the backend and the handlers do.
func TestConsumeStopsInTime(t *testing.T) {
	for name, handle := range map[string]func(context.Context, rpw.Delivery) error{
		"handled":  func(context.Context, rpw.Delivery) error { return nil },
		"handling": func(ctx context.Context, _ rpw.Delivery) error { <-ctx.Done(); return ctx.Err() },
	} {
		for _, outage := range []error{nil, rpw.ErrUnavailable} {
			t.Run(name+"/"+rpw.Code(outage), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hub, bus := awayHub(t)
					stop := consume(t, hub, rpw.Consumer{Group: "g", Lease: time.Minute, Grace: 3 * time.Second, Concurrency: 2}, handle)
					bus.set(outage)
					for range 2 {
						_, err := publish(t.Context(), hub, "t")
						require.NoError(t, err)
					}
					synctest.Wait()
					start := time.Now()
					if err := stop(); outage == nil {
						assert.NoError(t, err)
					}
					assert.LessOrEqual(t, time.Since(start), 4*time.Second)
				})
			})
		}
	}
}

// TestConsumeStoppedInAnOutage: with nothing at hand, being asked to stop is no failure.
func TestConsumeStoppedInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, rpw.Parts{Streams: &fakeBus{fetch: func(context.Context, rpw.FetchRequest) ([]rpw.Delivery, error) {
			return nil, rpw.ErrUnavailable
		}}})
		stop := consume(t, hub, rpw.Consumer{Group: "g"}, func(context.Context, rpw.Delivery) error { return nil })
		time.Sleep(5*time.Minute + time.Millisecond)
		assert.NoError(t, stop())
	})
}

// TestConsumeKeepsItsOwnLease: a member asks for the lease that it renews by, whatever others have made of the group's since.
func TestConsumeKeepsItsOwnLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, memory.New(memory.Options{}).Parts())
		stop := consume(t, hub, rpw.Consumer{Group: "g", Lease: 30 * time.Second}, func(context.Context, rpw.Delivery) error {
			time.Sleep(time.Minute)
			return nil
		})
		_, err := hub.Streams().EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "s", Group: "g", Lease: time.Second, Update: true})
		require.NoError(t, err)
		_, err = publish(t.Context(), hub, "t")
		require.NoError(t, err)
		synctest.Wait()
		taken, err := hub.Streams().Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "other", Wait: time.Minute})
		require.NoError(t, err)
		assert.Empty(t, taken)
		require.NoError(t, stop())
	})
}

// TestConsumeRebuildsWhereItWas: a group that vanished begins where its member was, also if the store cannot be asked at once
// whether its history is the same.
func TestConsumeRebuildsWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := rpw.Position{Epoch: 7, ID: rpw.ID{MS: 5}, Count: 5}
		var starts []rpw.Start
		begin := time.Now()
		bus := &fakeBus{
			ensure: func(_ context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error) {
				starts = append(starts, cfg.From)
				return rpw.GroupInfo{GroupConfig: cfg, Incarnation: uint64(len(starts)), Position: at}, nil
			},
			locate: func(context.Context) (rpw.Position, error) {
				if time.Since(begin) < time.Minute {
					return rpw.Position{}, rpw.ErrUnavailable
				}
				return rpw.Position{Epoch: 7, ID: rpw.ID{MS: 9}, Count: 9}, nil
			},
			fetch: func(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
				if req.Incarnation == 1 {
					return nil, rpw.ErrNotFound
				}
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}
		stop := consume(t, newHub(t, rpw.Parts{Streams: bus}), rpw.Consumer{Group: "g", OnGap: rpw.GapContinue},
			func(context.Context, rpw.Delivery) error { return nil })
		time.Sleep(2 * time.Minute)
		require.NoError(t, stop())
		assert.Equal(t, []rpw.Start{rpw.Newest(), rpw.After(at)}, starts)
	})
}

// TestConsumeRebuildsWithPauses: a group that vanishes again and again, or a gap that does not end, is no hot loop; nor is a driver
// that always answers early.
// F8, G5.
func TestConsumeRebuildsWithPauses(t *testing.T) {
	for name, test := range map[string]struct {
		trouble error
		most    int // calls in a minute
	}{
		"vanished": {rpw.ErrNotFound, 300},
		"reset":    {&rpw.GapError{Kind: rpw.GapReset}, 300},
		"trimmed":  {&rpw.GapError{Kind: rpw.GapTrimmed}, 300},
		"early":    {nil, 60_001},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				bus := &fakeBus{fetch: func(ctx context.Context, _ rpw.FetchRequest) ([]rpw.Delivery, error) {
					if calls++; calls > test.most {
						return nil, errors.New("a hot loop")
					}
					return nil, test.trouble
				}}
				stop := consume(t, newHub(t, rpw.Parts{Streams: bus}), rpw.Consumer{Group: "g", OnGap: rpw.GapContinue},
					func(context.Context, rpw.Delivery) error { return nil })
				time.Sleep(time.Minute)
				require.NoError(t, stop())
			})
		})
	}
}

func TestConsumeRefuses(t *testing.T) {
	hub := newHub(t, memory.New(memory.Options{}).Parts())
	handle := func(context.Context, rpw.Delivery) error { return nil }
	for _, c := range []rpw.Consumer{
		{}, {Group: "g", Concurrency: -1}, {Group: "g", Grace: -1}, {Group: "g", Lease: -1},
		{Group: "g", Name: "a*"}, {Group: "g", Backoff: rpw.Backoff{First: -1}}, {Group: "g", Backoff: rpw.Backoff{Jitter: 2}},
		{Group: "g", Backoff: rpw.Backoff{First: time.Minute, Max: time.Second}},
	} {
		assert.ErrorIs(t, rpw.Consume(t.Context(), hub, "s", c, handle), rpw.ErrInvalid, "%+v", c)
	}
	assert.ErrorIs(t, rpw.Consume(t.Context(), hub, "s", rpw.Consumer{Group: "g"}, nil), rpw.ErrInvalid)
	groups, err := hub.Streams().Groups(t.Context(), "s")
	require.NoError(t, err)
	assert.Empty(t, groups, "no group was made")
}

// nilError is an error whose text cannot be asked for when it is nil.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// A handler that returns a nil pointer in an error has failed; the process goes on.
func TestConsumeErrorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := rpw.New(memory.New(memory.Options{}).Parts())
		require.NoError(t, err)
		defer hub.Close()
		stream := rpw.StreamOf[int]("s")
		_, err = stream.Publish(t.Context(), hub, "t", 1)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		consumer := rpw.Consumer{Group: "g", From: rpw.Oldest(), Backoff: rpw.Backoff{First: time.Second, Jitter: -1}}
		require.NoError(t, stream.Consume(ctx, hub, consumer, func(context.Context, rpw.Message[int]) error {
			if attempts++; attempts == 2 {
				cancel()
				return nil
			}
			var failed *nilError
			return failed
		}))
		assert.Equal(t, 2, attempts)
	})
}

// TestConsumeWithAnyConcurrency: however many handlers may run at a time, a member begins at once and hears its context (E1).
func TestConsumeWithAnyConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := rpw.New(memory.New(memory.Options{}).Parts())
		require.NoError(t, err)
		defer h.Close()
		ctx, cancel := context.WithCancel(t.Context())
		_, err = rpw.StreamOf[int]("s").Publish(ctx, h, "e", 1)
		require.NoError(t, err)
		handled := 0
		c := rpw.Consumer{Group: "g", From: rpw.Oldest(), Concurrency: math.MaxInt}
		assert.NoError(t, rpw.Consume(ctx, h, "s", c, func(context.Context, rpw.Delivery) error {
			handled++
			cancel()
			return nil
		}))
		assert.Equal(t, 1, handled)
	})
}

// TestConsumeRunsAsManyAsItMay: handlers that take long run at the same time, also behind some that ended their goroutine.
func TestConsumeRunsAsManyAsItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, memory.New(memory.Options{}).Parts())
		var running atomic.Int32
		stop := consume(t, hub, rpw.Consumer{Group: "g", Concurrency: 10}, func(_ context.Context, d rpw.Delivery) error {
			if d.Type == "ends" {
				runtime.Goexit()
			}
			running.Add(1)
			time.Sleep(time.Second)
			return nil
		})
		batch := slices.Repeat([]rpw.NewEvent{{Type: "ends"}, {Type: "takes long"}, {Type: "takes long"}}, 4)
		_, err := hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: batch}})
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 8, running.Load())
		require.NoError(t, stop())
	})
}
