package memory

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestFetchWakesForWhatBecomesDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{Lease: 10 * time.Second})
		b.add("s", 1)
		held := b.fetch(rpw.FetchRequest{Consumer: "holder"})
		start := time.Now()
		got := make(chan string)
		for i := range 100 {
			go func() {
				d, _ := b.tryFetch(rpw.FetchRequest{Consumer: fmt.Sprint(i), Wait: time.Hour})
				got <- fmt.Sprint(len(d), time.Since(start))
			}()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		b.ok(held[0], rpw.Settlement{Verdict: rpw.Nack, Delay: 2 * time.Second}) // earlier than the lease would have lapsed
		assert.Equal(t, "1 3s", <-got)
		assert.Equal(t, "1 13s", <-got)
		b.add("s", 1)
		assert.Equal(t, "1 13s", <-got)
		b.administer(rpw.GroupCommand{Verb: rpw.DeleteGroup})
		for range 97 {
			<-got
		}
	})
}

func TestOneEventWakesOneConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, _ = b.tryFetch(rpw.FetchRequest{Consumer: fmt.Sprint(i), Wait: rpw.Forever})
			})
		}
		synctest.Wait()
		st := b.lock("s")
		g := st.groups["g"]
		waiting := func() (n int) {
			for w := g.waiting.head; w != nil; w = w.next {
				n++
			}
			return n
		}
		assert.Equal(t, 10, waiting())
		st.wake(1)
		assert.Equal(t, 9, waiting())
		st.mu.Unlock()
		synctest.Wait()
		b.add("s", 3)
		synctest.Wait()
		assert.Equal(t, 7, waiting(), "each event has its consumer, the others sleep")
		b.administer(rpw.GroupCommand{Verb: rpw.DeleteGroup})
		wg.Wait()
	})
}

func TestACancelledFetchTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := b.Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "a", Wait: rpw.Forever})
			ended <- err
		}()
		other := make(chan []rpw.Delivery)
		synctest.Wait()
		go func() { other <- b.fetch(rpw.FetchRequest{Consumer: "b", Wait: rpw.Forever}) }()
		synctest.Wait()
		cancel()
		b.add("s", 1) // wakes the one that is about to give up
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.Len(t, <-other, 1)
		assert.EqualValues(t, 1, b.info().Pending)
	})
}

func TestARepeatedFetchGetsTheSameAnswer(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.add("s", 3)
	first := b.fetch(rpw.FetchRequest{Lane: lane(1, 1)})
	assert.Equal(t, first, b.fetch(rpw.FetchRequest{Lane: lane(1, 1)}))
	assert.NotEqual(t, first, b.fetch(rpw.FetchRequest{Lane: lane(1, 2)}))
	_, err := b.tryFetch(rpw.FetchRequest{Lane: lane(1, 1)})
	assert.ErrorIs(t, err, rpw.ErrConflict)

	req := rpw.SettleRequest{Stream: "s", Group: "g", Lane: lane(2, 1), Settlements: []rpw.Settlement{{Receipt: first[0].Receipt, Verdict: rpw.Nack}, {Verdict: rpw.Ack}}}
	for range 2 {
		errs, err := b.Settle(t.Context(), req)
		require.NoError(t, err)
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], rpw.ErrLeaseLost)
		errs[1] = nil // the answer is the caller's
	}
	assert.EqualValues(t, 2, b.info().Pending)

	b.administer(rpw.GroupCommand{Verb: rpw.ResetGroup, From: rpw.Oldest()})
	reset := rpw.GroupCommands{Lane: lane(3, 1), Commands: []rpw.GroupCommand{{Stream: "s", Group: "g", Verb: rpw.ResetGroup}}}
	b.fetch(rpw.FetchRequest{Max: 2})
	for range 2 {
		answers, err := b.Administer(t.Context(), reset)
		require.NoError(t, err)
		assert.EqualValues(t, 2, answers[0].Events)
	}
}

// The slice of answers is the caller's.
func TestARepeatedFetchGetsTheAnswerAsItWas(t *testing.T) {
	b := newBus(t)
	b.group(rpw.GroupConfig{})
	b.add("s", 1)
	for range 3 {
		deliveries := b.fetch(rpw.FetchRequest{Lane: lane(1, 1)})
		require.Len(t, deliveries, 1)
		require.Equal(t, "e", deliveries[0].Type)
		deliveries[0] = rpw.Delivery{}
	}
}
func TestATwinOfAnAnsweredFetchTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		b.group(rpw.GroupConfig{})
		req := rpw.FetchRequest{Lane: lane(1, 1), Wait: time.Minute}
		late := make(chan []rpw.Delivery)
		go func() { late <- b.fetch(req) }()
		synctest.Wait()
		req.Wait = 0
		assert.Empty(t, b.fetch(req))
		b.add("s", 1)
		assert.Empty(t, <-late)
		assert.Zero(t, b.info().Pending)
	})
}
