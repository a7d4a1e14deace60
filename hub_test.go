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
	remove()
	remove()
	err = hub.Close()
	assert.ErrorIs(t, err, boom)
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
