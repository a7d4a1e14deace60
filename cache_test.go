package rpw_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestGetAndSet(t *testing.T) {
	cache := &fakeCache{values: map[string][]byte{"text": []byte("no json"), "empty": {}}}
	hub := newHub(t, rpw.Parts{Cache: cache})
	_, ok, err := rpw.Get[int](t.Context(), hub, "absent")
	require.NoError(t, err)
	assert.False(t, ok)
	require.NoError(t, rpw.Set(t.Context(), hub, "n", 5))
	n, ok, err := rpw.Get[int](t.Context(), hub, "n")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, 5, n)
	for _, key := range []string{"text", "empty"} {
		_, _, err = rpw.Get[int](t.Context(), hub, key)
		assert.ErrorIs(t, err, rpw.ErrConflict, key)
	}
}

// TestLoadOnce: those who miss the same key at the same time share one load.
func TestLoadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &fakeCache{}
		hub := newHub(t, rpw.Parts{Cache: cache})
		loads := 0
		load := func(context.Context) (string, error) {
			loads++
			time.Sleep(time.Second)
			return "made", nil
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				got, err := rpw.Load(t.Context(), hub, "k", load, rpw.TTL(time.Minute))
				assert.NoError(t, err)
				assert.Equal(t, "made", got)
			})
		}
		wg.Wait()
		assert.Equal(t, 1, loads)
		assert.Equal(t, `"made"`, string(cache.values["k"]))
		got, err := rpw.Load(t.Context(), hub, "k", load)
		require.NoError(t, err)
		assert.Equal(t, "made", got)
		assert.Equal(t, 1, loads, "now it is there")
	})
}

// TestLoadLeft: ctx ends the caller's own wait; the load ends with the last caller.
func TestLoadLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, rpw.Parts{Cache: &fakeCache{}})
		ended := 0
		load := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended++
			return 0, ctx.Err()
		}
		ask := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := rpw.Load(ctx, hub, "k", load)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		one, leaveOne := context.WithCancel(t.Context())
		two, leaveTwo := context.WithCancel(t.Context())
		first, second := ask(one), ask(two)
		leaveOne()
		assert.ErrorIs(t, <-first, context.Canceled)
		synctest.Wait()
		assert.Zero(t, ended, "the second still waits")
		leaveTwo()
		assert.ErrorIs(t, <-second, context.Canceled)
		synctest.Wait()
		assert.Equal(t, 1, ended)

		third := ask(t.Context())
		require.NoError(t, hub.Close())
		assert.Error(t, <-third)
		assert.Equal(t, 2, ended)
	})
}

// TestIncrementHasNoCondition: an option that would be passed over is refused.
func TestIncrementHasNoCondition(t *testing.T) {
	hub := newHub(t, rpw.Parts{Cache: &fakeCache{}})
	_, err := rpw.Increment(t.Context(), hub, "k", 1, rpw.OnlyIf(rpw.IfAbsent))
	assert.ErrorIs(t, err, rpw.ErrInvalid)
}

// TestLoadNil: a nil in an interface is a value like others.
func TestLoadNil(t *testing.T) {
	cache := &fakeCache{}
	hub := newHub(t, rpw.Parts{Cache: cache})
	got, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (any, error) { return nil, nil })
	require.NoError(t, err)
	assert.Nil(t, got)
	assert.Equal(t, "null", string(cache.values["k"]))
}

// TestLoadOfAnotherType: callers who share a load must agree on its type.
func TestLoadOfAnotherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, rpw.Parts{Cache: &fakeCache{}})
		other := make(chan error, 1)
		_, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (int, error) {
			go func() {
				_, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (string, error) { return "", nil })
				other <- err
			}()
			synctest.Wait()
			return 1, nil
		})
		require.NoError(t, err)
		assert.ErrorIs(t, <-other, rpw.ErrConflict)
	})
}

func TestLoadFailures(t *testing.T) {
	cache := &fakeCache{}
	hub := newHub(t, rpw.Parts{Cache: cache})
	boom := errors.New("boom")
	_, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (int, error) { return 0, boom })
	assert.ErrorIs(t, err, boom)
	_, err = rpw.Load(t.Context(), hub, "k", func(context.Context) (int, error) { panic("in load") })
	assert.ErrorContains(t, err, "in load")
	assert.Empty(t, cache.values, "a failure is not stored")

	cache.do = func(_ context.Context, verb string) error {
		if verb == "set" {
			return rpw.ErrFull
		}
		return nil
	}
	n, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err, "a value that cannot be stored is still a value")
	assert.Equal(t, 7, n)
}

// TestUpdateAfterClose: an update that loses again and again ends with the Hub, and does not pass for done.
func TestUpdateAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &fakeCache{values: map[string][]byte{"k": []byte("1"), "r:k": []byte("1")}}
		cache.do = func(_ context.Context, verb string) error {
			if verb == "set" {
				return rpw.ErrConflict
			}
			return nil
		}
		hub := newHub(t, rpw.Parts{Cache: cache})
		change := func(n *int) error { *n++; return nil }
		errs := make(chan error, 2)
		go func() {
			_, err := rpw.Update(t.Context(), hub, "k", change)
			errs <- err
		}()
		go func() {
			_, err := rpw.RepoOf[int]("r").Update(t.Context(), hub, "k", change)
			errs <- err
		}()
		synctest.Wait() // both pause
		require.NoError(t, hub.Close())
		assert.ErrorIs(t, <-errs, rpw.ErrClosed)
		assert.ErrorIs(t, <-errs, rpw.ErrClosed)
	})
}
