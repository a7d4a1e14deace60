package lease

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errLost    = errors.New("lost")
	errExpired = errors.New("expired")
	errAway    = errors.New("away")
)

// store answers renewals and remembers when they came.
type store struct {
	mu     sync.Mutex
	start  time.Time
	calls  []time.Duration
	sizes  []int
	answer func(key string) error
}

func (s *store) renew(_ context.Context, keys []string) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, time.Since(s.start))
	s.sizes = append(s.sizes, len(keys))
	errs := make([]error, len(keys))
	for i, key := range keys {
		if s.answer != nil {
			errs[i] = s.answer(key)
		}
	}
	return errs
}

func (s *store) keeper() *Keeper[string] {
	s.start = time.Now()
	return New(s.renew, func(err error) bool { return err == errLost }, errExpired, 10)
}

// elapse lets time pass, and what happens in it end.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// must is for leases that are not to be lost.
func must(t *testing.T) func(error) {
	return func(err error) { t.Errorf("lost: %v", err) }
}

func TestRenewsAtAThird(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		k := s.keeper()
		k.Hold("a", time.Now(), 9*time.Second, must(t))
		elapse(10 * time.Second)
		assert.Equal(t, []time.Duration{3 * time.Second, 6 * time.Second, 9 * time.Second}, s.calls)
		k.Drop("a")
		k.Drop("a")
		elapse(time.Hour)
		assert.Len(t, s.calls, 3)
		k.Close()
		k.Hold("late", time.Now(), time.Second, must(t))
		elapse(time.Hour)
		assert.Len(t, s.calls, 3)
	})
}

func TestRenewsInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		k := s.keeper()
		defer k.Close()
		for i := range 25 {
			k.Hold(string(rune('a'+i)), time.Now().Add(time.Duration(i)*time.Millisecond), 9*time.Second, must(t))
		}
		elapse(4 * time.Second)
		assert.Equal(t, []int{10, 10, 5}, s.sizes)
	})
}

// TestShortAfterLong: a lease that is due sooner wakes the keeper.
func TestShortAfterLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		k := s.keeper()
		defer k.Close()
		k.Hold("long", time.Now(), time.Hour, must(t))
		elapse(time.Second)
		k.Hold("short", time.Now(), 300*time.Millisecond, must(t))
		elapse(150 * time.Millisecond)
		assert.Equal(t, []time.Duration{1100 * time.Millisecond}, s.calls)
	})
}

func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{answer: func(key string) error {
			switch key {
			case "lost":
				return errLost
			case "away":
				return errAway
			}
			return nil
		}}
		k := s.keeper()
		defer k.Close()
		start := time.Now()
		type end struct {
			err error
			at  time.Duration
		}
		ends := map[string]end{}
		hold := func(key string) {
			k.Hold(key, start, 9*time.Second, func(err error) { ends[key] = end{err, time.Since(start)} })
		}
		hold("lost")
		hold("away")
		k.Hold("fine", start, 9*time.Second, must(t))
		elapse(time.Minute)
		assert.Equal(t, map[string]end{"lost": {errLost, 3 * time.Second}, "away": {errExpired, 9 * time.Second}}, ends)
	})
}

// TestComesBack: a store that is away for less than the lease costs nothing.
func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		s.answer = func(string) error {
			if at := time.Since(s.start); at > 2*time.Second && at < 8*time.Second {
				return errAway
			}
			return nil
		}
		k := s.keeper()
		defer k.Close()
		k.Hold("a", time.Now(), 9*time.Second, must(t))
		elapse(time.Minute)
	})
}

// TestSilentStore: a renewal that gets no answer is cut in time for another one, and Close cuts it, too.
func TestSilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var ends []time.Duration // of the lease, as its holder learns it
		k := New(func(ctx context.Context, keys []string) []error {
			<-ctx.Done()
			return []error{ctx.Err()}
		}, func(error) bool { return false }, errExpired, 10)
		k.Hold("a", start, 9*time.Second, func(err error) {
			assert.Equal(t, errExpired, err)
			ends = append(ends, time.Since(start))
		})
		elapse(time.Minute)
		assert.Equal(t, []time.Duration{9 * time.Second}, ends)
		k.Hold("b", time.Now(), 9*time.Second, func(error) {})
		elapse(4 * time.Second)
		before := time.Now()
		k.Close()
		assert.Equal(t, before, time.Now())
	})
}
