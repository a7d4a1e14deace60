package rpw_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestSubscriptionClosedWithEventsAtHand: Close may come at any moment of a Next, and what was read ahead goes with it.
func TestSubscriptionClosedWithEventsAtHand(t *testing.T) {
	hub := memoryHub(t)
	numbers := rpw.StreamOf[int]("s")
	for n := range 200 {
		_, err := numbers.Publish(t.Context(), hub, "t", n)
		require.NoError(t, err)
	}
	for range 200 {
		sub, err := numbers.Subscribe(t.Context(), hub, rpw.Oldest())
		require.NoError(t, err)
		_, err = sub.Next(t.Context())
		require.NoError(t, err)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			sub.Close()
		}()
		for err == nil {
			_, err = sub.Next(t.Context())
		}
		assert.ErrorIs(t, err, rpw.ErrClosed)
		<-closed
	}
}

// TestSubscriptionInAnOutage: while the backend is away only ctx, Close and the close of the Hub end a Next, and each says so.
func TestSubscriptionInAnOutage(t *testing.T) {
	tests := map[string]struct {
		end  func(leave context.CancelFunc, sub *rpw.Subscription[int], hub *rpw.Hub)
		want error
	}{
		"ctx":          {func(leave context.CancelFunc, _ *rpw.Subscription[int], _ *rpw.Hub) { leave() }, context.Canceled},
		"subscription": {func(_ context.CancelFunc, sub *rpw.Subscription[int], _ *rpw.Hub) { sub.Close() }, rpw.ErrClosed},
		"hub":          {func(_ context.CancelFunc, _ *rpw.Subscription[int], hub *rpw.Hub) { hub.Close() }, rpw.ErrClosed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := newHub(t, rpw.Parts{Streams: &fakeBus{read: func(context.Context, rpw.ReadRequest) ([]rpw.Event, error) {
					return nil, rpw.ErrUnavailable
				}}})
				sub, err := rpw.StreamOf[int]("s").Subscribe(t.Context(), hub, rpw.Newest())
				require.NoError(t, err)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				done := make(chan error, 1)
				go func() {
					_, err := sub.Next(ctx)
					done <- err
				}()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				require.Empty(t, done, "an outage only makes it wait longer")
				test.end(leave, sub, hub)
				err = <-done
				assert.ErrorIs(t, err, test.want)
				assert.NotErrorIs(t, err, rpw.ErrUnavailable)
			})
		})
	}
}

// TestSubscriptionDoesNotSpin: a driver that answers early with nothing, or one gap after the other, is asked with pauses.
func TestSubscriptionDoesNotSpin(t *testing.T) {
	for name, trouble := range map[string]error{"early": nil, "gaps": &rpw.GapError{Kind: rpw.GapTrimmed, Resume: rpw.Position{Epoch: 1}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				hub := newHub(t, rpw.Parts{Streams: &fakeBus{read: func(ctx context.Context, _ rpw.ReadRequest) ([]rpw.Event, error) {
					if calls++; calls > 10_000 {
						return nil, rpw.ErrPermission
					}
					return nil, trouble
				}}})
				sub, err := rpw.StreamOf[int]("s").Subscribe(t.Context(), hub, rpw.Newest(), rpw.OnGap(rpw.GapContinue))
				require.NoError(t, err)
				ctx, leave := context.WithTimeout(t.Context(), time.Second)
				defer leave()
				_, err = sub.Next(ctx)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}
