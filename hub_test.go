package rpw_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestOnClose(t *testing.T) {
	var order []string
	hook := func(name string, err error) func(context.Context) error {
		return func(context.Context) error {
			order = append(order, name)
			return err
		}
	}
	boom := errors.New("boom")
	hub := newHub(t, rpw.Parts{Cache: &fakeCache{}, Close: hook("driver", nil)})
	_, err := hub.OnClose(hook("first", boom))
	require.NoError(t, err)
	remove, err := hub.OnClose(hook("removed", nil))
	require.NoError(t, err)
	_, err = hub.OnClose(func(ctx context.Context) error {
		order = append(order, "last")
		return rpw.Set(ctx, hub, "k", 1) // the Hub still works
	})
	require.NoError(t, err)
	_, err = hub.OnClose(func(context.Context) error { panic("bang") })
	require.NoError(t, err)
	remove()
	remove()
	err = hub.Close()
	assert.ErrorIs(t, err, boom)
	assert.ErrorContains(t, err, "bang")
	assert.Equal(t, []string{"last", "first", "driver"}, order)
	assert.Equal(t, err, hub.Close(), "once, with the same answer")
	_, err = hub.OnClose(hook("late", nil))
	assert.ErrorIs(t, err, rpw.ErrClosed)
	assert.Len(t, order, 3)
	var none *rpw.Hub
	assert.NoError(t, none.Close())
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, rpw.Parts{Close: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		start := time.Now()
		assert.ErrorIs(t, hub.Close(), context.DeadlineExceeded)
		assert.Equal(t, rpw.CloseTimeout, time.Since(start))
	})
}

func TestNative(t *testing.T) {
	type client struct{}
	hub := newHub(t, rpw.Parts{Native: &client{}})
	_, ok := rpw.Native[*client](hub)
	assert.True(t, ok)
	_, ok = rpw.Native[int](hub)
	assert.False(t, ok)
}

// observer records what it sees.
type observer struct {
	name string
	log  *[]string
}

func (o observer) Begin(ctx context.Context, op rpw.Operation) context.Context {
	*o.log = append(*o.log, o.name+" begin "+op.Verb)
	return ctx
}

func (o observer) End(_ context.Context, op rpw.Operation, out rpw.Outcome) {
	*o.log = append(*o.log, o.name+" end "+op.Verb+" "+rpw.Code(out.Err))
}

func (o observer) Notify(n rpw.Notice) { *o.log = append(*o.log, o.name+" "+string(n.Kind)) }

func TestObservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		errs := []error{rpw.ErrUnavailable, rpw.ErrFull}
		cache := &fakeCache{do: func(context.Context, string) error {
			err := errs[0]
			errs = errs[1:]
			return err
		}}
		hub := newHub(t, rpw.Parts{Cache: cache}, rpw.WithObserver(observer{"a", &log}), rpw.WithObserver(observer{"b", &log}))
		assert.ErrorIs(t, rpw.Set(t.Context(), hub, "k", 1), rpw.ErrFull)
		assert.Equal(t, []string{"a begin set", "b begin set", "a retry", "b retry", "a end set full", "b end set full"}, log)
		_, err := rpw.New(rpw.Parts{Name: "fake"}, rpw.WithObserver(nil))
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	})
}

// A nil Hub is a closed one: a clear error, no panic.
func TestNilHub(t *testing.T) {
	var hub *rpw.Hub
	ctx := t.Context()
	stream := rpw.StreamOf[int]("s")
	_, published := stream.Publish(ctx, hub, "t", 1)
	_, subscribed := stream.Subscribe(ctx, hub, rpw.Newest())
	_, loaded := rpw.Load(ctx, hub, "k", func(context.Context) (int, error) { return 1, nil })
	_, claimed := hub.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w"})
	_, registered := hub.OnClose(nil)
	for name, err := range map[string]error{
		"publish": published, "subscribe": subscribed, "load": loaded, "claim": claimed, "hook": registered,
		"consume": stream.Consume(ctx, hub, rpw.Consumer{Group: "g"}, func(context.Context, rpw.Message[int]) error { return nil }),
		"set":     rpw.Set(ctx, hub, "k", 1), "health": hub.Health(ctx),
		"log": hub.Logs().Write(ctx, rpw.WriteLogs{Records: []rpw.LogRecord{{Message: "m"}}}),
	} {
		assert.ErrorIs(t, err, rpw.ErrClosed, name)
	}
	assert.NoError(t, hub.Close())
	assert.Empty(t, hub.Driver())
}

// TestCloseDoesNotWaitForLoads: a load that does not mind its ctx holds up neither Close nor who waits for it.
func TestCloseDoesNotWaitForLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := false
		hub := newHub(t, rpw.Parts{Cache: &fakeCache{}, Close: func(context.Context) error {
			closed = true
			return nil
		}})
		gate := make(chan struct{})
		loaded := make(chan error, 1)
		go func() {
			_, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (int, error) {
				<-gate
				return 1, nil
			})
			loaded <- err
		}()
		synctest.Wait()
		start := time.Now()
		assert.ErrorIs(t, hub.Close(), context.DeadlineExceeded)
		assert.Equal(t, rpw.CloseTimeout, time.Since(start))
		assert.True(t, closed, "the driver is closed all the same")
		assert.ErrorIs(t, <-loaded, rpw.ErrClosed)
		close(gate)
	})
}

// TestOnCloseWhileClosing: what is registered by a hook is called, too; what a hook takes off is not.
func TestOnCloseWhileClosing(t *testing.T) {
	var order []string
	hub := newHub(t, rpw.Parts{})
	hook := func(name string) func(context.Context) error {
		return func(context.Context) error {
			order = append(order, name)
			return nil
		}
	}
	remove, err := hub.OnClose(hook("removed"))
	require.NoError(t, err)
	_, err = hub.OnClose(func(context.Context) error {
		remove()
		_, err := hub.OnClose(hook("late"))
		return err
	})
	require.NoError(t, err)
	require.NoError(t, hub.Close())
	assert.Equal(t, []string{"late"}, order)
}

// TestShutdownTwice: who repeats it waits for the first no longer than his own ctx.
func TestShutdownTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, rpw.Parts{Close: func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}})
		go hub.Close()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		assert.ErrorIs(t, hub.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		assert.NoError(t, hub.Close())
	})
}

// TestHealthIsBounded: 5 s together, whatever fails; the bound is not the caller's, so it is no error of a context.
func TestHealthIsBounded(t *testing.T) {
	for name, sign := range map[string]func(context.Context) error{
		"silent": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"slow": func(ctx context.Context) error {
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
			return rpw.ErrUnavailable
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := newHub(t, rpw.Parts{Health: sign})
				start := time.Now()
				err := hub.Health(t.Context())
				assert.ErrorIs(t, err, rpw.ErrUnavailable)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.LessOrEqual(t, time.Since(start), 5*time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				assert.Error(t, hub.Health(ctx))
			})
		})
	}
}

// TestNothingPanics: nil options, functions and contexts are errors or defaults.
func TestNothingPanics(t *testing.T) {
	hub := memoryHub(t)
	ctx := t.Context()
	stream := rpw.StreamOf[int]("s", nil)
	_, err := stream.Publish(ctx, hub, "t", 1, nil)
	assert.NoError(t, err)
	_, err = stream.Subscribe(ctx, hub, rpw.Newest(), nil)
	assert.NoError(t, err)
	assert.NoError(t, rpw.Set(ctx, hub, "k", 1, nil))
	_, err = rpw.Increment(ctx, hub, "n", 1, nil)
	assert.NoError(t, err)
	repo := rpw.RepoOf[int]("r", nil)
	assert.NoError(t, repo.Save(ctx, hub, "1", 1))
	_, err = repo.Update(ctx, hub, "1", nil)
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = rpw.Update[int](ctx, hub, "k", nil)
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = rpw.Load[int](ctx, hub, "l", nil)
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = hub.OnClose(nil)
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	assert.ErrorIs(t, hub.Shutdown(noContext), rpw.ErrInvalid)
	for _, err := range rpw.Keys(noContext, hub, "") {
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	}
}
