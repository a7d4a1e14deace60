package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// A repeat of what is stored under its key adds nothing, so it is answered also when the store is over its bound.
func TestKnownKeyInFullStore(t *testing.T) {
	s := New(Options{MaxBytes: 4000})
	batch := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Key: "k"}}}}
	first, err := s.streams.Publish(t.Context(), batch)
	require.NoError(t, err)
	s.charge(4000)
	again, err := s.streams.Publish(t.Context(), batch)
	require.NoError(t, err)
	require.NoError(t, again[0].Err)
	assert.Equal(t, first[0].Positions, again[0].Positions)
}

// What time has ended makes room, wherever it lies and whatever needs it.
func TestExpiredMakesRoom(t *testing.T) {
	const half, tooMuch = 5_000, 8_000
	type write func(t *testing.T, s *Store, name string, size int) error
	writes := map[string]write{
		"Event": func(t *testing.T, s *Store, name string, size int) error {
			answers, err := s.streams.Publish(t.Context(), []rpw.Batch{{Stream: name, Keep: rpw.Retention{Age: time.Minute}, Events: []rpw.NewEvent{{Type: "t", Data: make([]byte, size)}}}})
			require.NoError(t, err)
			return answers[0].Err
		},
		"EventKey": func(t *testing.T, s *Store, name string, size int) error {
			key := string(make([]byte, size/2))
			answers, err := s.streams.Publish(t.Context(), []rpw.Batch{{Stream: name, KeyWindow: time.Minute, Keep: rpw.Retention{Age: time.Minute}, Events: []rpw.NewEvent{{Type: "t", Key: key}}}})
			require.NoError(t, err)
			return answers[0].Err
		},
		"Value": func(t *testing.T, s *Store, name string, size int) error {
			errs, err := s.cache.Set(t.Context(), []rpw.CacheSet{{Key: name, Data: make([]byte, size), TTL: time.Minute}})
			require.NoError(t, err)
			return errs[0]
		},
		"Action": func(t *testing.T, s *Store, name string, size int) error {
			sp := spec(name)
			sp.Ref.Queue, sp.Data, sp.StartWithin, sp.Keep.Failed = name, make([]byte, size), time.Second, 59*time.Second
			answers, err := s.actions.Enqueue(t.Context(), []rpw.ActionSpec{sp})
			require.NoError(t, err)
			return answers[0].Err
		},
	}
	for first, fill := range writes {
		for second, need := range writes {
			t.Run(first+"Then"+second, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := New(Options{MaxBytes: 10_000})
					require.NoError(t, fill(t, s, "a", half))
					assert.ErrorIs(t, need(t, s, "b", tooMuch), rpw.ErrFull)
					time.Sleep(2 * time.Minute)
					assert.NoError(t, need(t, s, "b", tooMuch))
				})
			})
		}
	}
}
