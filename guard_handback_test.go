package rpw_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// fakeLeases leases one action and one event to the first call, which then waits for its context to end and answers as ended says. A repeat of it
// answers what was leased. It notes what was called.
type fakeLeases struct {
	rpw.ActionStore
	ended func(error) error

	lanes   []rpw.Lane // of claims and fetches
	waits   []time.Duration
	back    []rpw.Lease
	release []rpw.Receipt
}

var (
	someLease   = rpw.Lease{Ref: rpw.ActionRef{Queue: "q", ID: "1"}, Token: 7}
	someReceipt = rpw.Receipt{Token: 9}
)

// call answers true if it is the repeat of the first call.
func (f *fakeLeases) call(ctx context.Context, lane rpw.Lane, wait time.Duration) (again bool, err error) {
	f.lanes, f.waits = append(f.lanes, lane), append(f.waits, wait)
	if len(f.lanes) == 1 {
		<-ctx.Done()
		return false, f.ended(ctx.Err())
	}
	return lane == f.lanes[0], nil
}

func (f *fakeLeases) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	again, err := f.call(ctx, req.Lane, req.Wait)
	if !again {
		return nil, err
	}
	return []rpw.Claimed{{Lease: someLease}}, nil
}

func (f *fakeLeases) Advance(_ context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	for _, m := range req.Moves {
		if m.Kind == rpw.Giveback {
			f.back = append(f.back, m.Lease)
		}
	}
	return make([]rpw.Advanced, len(req.Moves)), nil
}

func (f *fakeLeases) fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	again, err := f.call(ctx, req.Lane, req.Wait)
	if !again {
		return nil, err
	}
	return []rpw.Delivery{{Receipt: someReceipt}}, nil
}

func (f *fakeLeases) settle(_ context.Context, req rpw.SettleRequest) ([]error, error) {
	for _, s := range req.Settlements {
		if s.Verdict == rpw.Release {
			f.release = append(f.release, s.Receipt)
		}
	}
	return make([]error, len(req.Settlements)), nil
}

// uncertain is what a driver answers whose backend was at it.
func uncertain(err error) error { return rpw.Errorf(rpw.ErrUncertain, "cut: %w", err) }

// TestWhoLeavesTakesNoLeaseAlong: what a claim or a fetch has leased whose caller has left is handed back at once, if the caller cannot come back for it.
func TestWhoLeavesTakesNoLeaseAlong(t *testing.T) {
	for name, c := range map[string]struct {
		ended    func(error) error
		cause    error
		handback bool
		want     error // what the caller gets
		not      error
	}{
		"the backend was at it":           {uncertain, nil, true, context.Canceled, rpw.ErrUncertain},
		"with a cause":                    {uncertain, errors.New("enough"), true, context.Canceled, rpw.ErrUncertain},
		"nothing was done":                {func(err error) error { return err }, nil, false, context.Canceled, rpw.ErrUncertain},
		"he was cut off, and may be back": {uncertain, rpw.Errorf(rpw.ErrUnavailable, "no connection"), false, rpw.ErrUncertain, nil},
	} {
		for verb, call := range map[string]func(context.Context, *rpw.Hub) error{
			"claim": func(ctx context.Context, hub *rpw.Hub) error {
				_, err := hub.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Wait: rpw.Forever})
				return err
			},
			"fetch": func(ctx context.Context, hub *rpw.Hub) error {
				_, err := hub.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: rpw.Forever})
				return err
			},
		} {
			t.Run(verb+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &fakeLeases{ended: c.ended}
					hub := newHub(t, rpw.Parts{Actions: f, Streams: &fakeBus{fetch: f.fetch, settle: f.settle}})
					ctx, cancel := context.WithCancelCause(t.Context())
					done := make(chan error, 1)
					go func() { done <- call(ctx, hub) }()
					synctest.Wait()
					cancel(c.cause)
					err := <-done
					require.ErrorIs(t, err, c.want)
					if c.not != nil {
						require.NotErrorIs(t, err, c.not)
					}
					synctest.Wait()
					handed := len(f.back) + len(f.release)
					if !c.handback {
						assert.Len(t, f.lanes, 1)
						assert.Zero(t, handed)
					} else {
						require.Len(t, f.lanes, 2)
						assert.Equal(t, f.lanes[0], f.lanes[1], "it is the same call")
						assert.Zero(t, f.waits[1])
						assert.Equal(t, 1, handed)
						assert.True(t, verb == "claim" && f.back[0] == someLease || verb == "fetch" && f.release[0] == someReceipt)
					}
					require.NoError(t, call(t.Context(), hub))
					assert.NotEqual(t, f.lanes[0].ID, f.lanes[len(f.lanes)-1].ID, "the lane of a call that was cut may still be in use")
				})
			})
		}
	}
}

// TestCloseWaitsForWhatIsHandedBack: a process that stops its workers and closes its Hub leaves no lease behind.
func TestCloseWaitsForWhatIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLeases{ended: uncertain}
		hub := newHub(t, rpw.Parts{Actions: f})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := hub.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Wait: rpw.Forever})
			done <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, hub.Close())
		assert.Equal(t, []rpw.Lease{someLease}, f.back)
	})
}

// TestAGapIsHeardThoughTheAnswerWasLost: S5: a fetch of unknown outcome was told a gap, which a store tells once. The next fetch of the same consumer tells it, and no
// other one.
func TestAGapIsHeardThoughTheAnswerWasLost(t *testing.T) {
	for name, leaves := range map[string]bool{"the caller has left": true, "the caller goes on": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told rpw.Lane    // of the fetch that was told
				var back atomic.Bool // the store
				bus := &fakeBus{fetch: func(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
					switch {
					case req.Consumer != "c":
					case told == (rpw.Lane{}):
						told = req.Lane
						if leaves {
							<-ctx.Done()
						}
						return nil, uncertain(context.DeadlineExceeded)
					case !back.Load():
						return nil, uncertain(context.DeadlineExceeded)
					case req.Lane == told:
						time.Sleep(time.Second)
						return nil, &rpw.GapError{Stream: req.Stream, Group: "g", Kind: rpw.GapTrimmed, Missed: 3}
					}
					return []rpw.Delivery{{Receipt: someReceipt}}, nil
				}}
				hub := newHub(t, rpw.Parts{Streams: bus}, rpw.WithNamespace("n"))
				fetch := func(consumer string) ([]rpw.Delivery, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					return hub.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: consumer, Wait: rpw.Forever})
				}
				_, err := fetch("c")
				if leaves {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.ErrorIs(t, err, rpw.ErrUncertain)
					_, err = fetch("c")
					require.ErrorIs(t, err, rpw.ErrUncertain, "it is not known yet")
				}
				back.Store(true)
				got, err := fetch("other")
				require.NoError(t, err)
				require.Len(t, got, 1)
				_, err = fetch("c")
				gap, ok := errors.AsType[*rpw.GapError](err)
				require.True(t, ok, "no gap, but %v", err)
				assert.Equal(t, "s", gap.Stream)
				got, err = fetch("c")
				require.NoError(t, err, "it is told once")
				require.Len(t, got, 1)
			})
		})
	}
}
