package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func consumeCases() []testCase {
	notes := rpw.StreamOf[note]("notes")
	oldest := func(name string) rpw.Consumer { return rpw.Consumer{Group: "g", Name: name, From: rpw.Oldest()} }
	consume := func(e *env, h *rpw.Hub, c rpw.Consumer, handle func(context.Context, rpw.Message[note]) error) (stop func() error) {
		ctx, cancel := context.WithCancel(e.Context())
		if c.Lease == 0 {
			c.Lease = e.lease()
		}
		done := start(func() (struct{}, error) { return struct{}{}, notes.Consume(ctx, h, c, handle) })
		return func() error {
			e.Helper()
			cancel()
			_, err := await(e, done)
			return err
		}
	}
	publish := func(e *env, n int64) {
		e.Helper()
		_, err := notes.Publish(e.Context(), e.hub, "wrote", note{N: n})
		require.NoError(e, err)
	}
	settled := func(e *env) func() bool {
		return func() bool {
			groups, err := e.hub.Streams().Groups(e.Context(), "notes")
			require.NoError(e, err)
			return len(groups) == 1 && groups[0].Lag == 0 && groups[0].Pending == 0
		}
	}
	return []testCase{
		{"Groups/Consume/HandlesEachEventOnce", []string{"G1", "C7"},
			"Members in several processes handle every event among them, each once while nothing fails.",
			func(e *env) {
				var mu sync.Mutex
				seen := make(map[int64]int)
				handle := func(_ context.Context, m rpw.Message[note]) error {
					mu.Lock()
					defer mu.Unlock()
					seen[m.Data.N]++
					return nil
				}
				for n := range int64(40) {
					publish(e, n)
				}
				c := oldest("a")
				c.Concurrency = 4
				stopA := consume(e, e.hub, c, handle)
				stopB := consume(e, e.peer(), oldest("b"), handle)
				e.eventually(settled(e), "everything is settled")
				require.NoError(e, stopA())
				require.NoError(e, stopB())
				require.Len(e, seen, 40)
				for n, times := range seen {
					assert.Equal(e, 1, times, "event %d", n)
				}
			}},
		// F10, G3.
		{"Groups/Consume/LiveHandlerKeepsItsLease", []string{"G3"},
			"A handler that runs much longer than the lease keeps it: nobody else gets the event.",
			func(e *env) {
				publish(e, 1)
				var mu sync.Mutex
				var attempts []int
				handle := func(ctx context.Context, _ rpw.Message[note]) error {
					d, ok := rpw.DeliveryOf(ctx)
					mu.Lock()
					attempts = append(attempts, d.Attempt)
					mu.Unlock()
					if !ok {
						return errors.New("no delivery in the context")
					}
					select {
					case <-time.After(3 * e.lease()):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				stopA, stopB := consume(e, e.hub, oldest("a"), handle), consume(e, e.peer(), oldest("b"), handle)
				e.eventually(settled(e), "it is handled")
				require.NoError(e, stopA())
				require.NoError(e, stopB())
				assert.Equal(e, []int{1}, attempts)
			}},
		{"Groups/Consume/SupersededHandlerIsTold", []string{"G2", "G3"},
			"The context of a handler whose event was taken over ends with cause ErrLeaseLost, and its verdict is not sent.",
			func(e *env) {
				publish(e, 1)
				told, taken := make(chan error, 10), make(chan struct{})
				release := sync.OnceFunc(func() { close(taken) })
				stop := consume(e, e.hub, oldest("a"), func(ctx context.Context, _ rpw.Message[note]) error {
					if d, _ := rpw.DeliveryOf(ctx); d.Attempt > 1 {
						return nil
					}
					<-ctx.Done()
					told <- context.Cause(ctx)
					<-taken // or the member could be the first to take it again
					return nil
				})
				defer release()
				e.eventually(func() bool { return len(e.pendingOrNone("notes", "g")) == 1 }, "the handler runs")
				e.administer(rpw.GroupCommand{Stream: "notes", Group: "g", Verb: rpw.RemoveConsumer, Consumer: "a"})
				e.ack("notes", "g", e.fetchOne("notes", "g", "thief"))
				release()
				select {
				case err := <-told:
					assert.ErrorIs(e, err, rpw.ErrLeaseLost)
				case <-time.After(e.patience()):
					e.Fatal("the handler was not told")
				}
				require.NoError(e, stop())
			}},
		{"Groups/Consume/ErrorsAreTriedAgainThenDead", []string{"G2", "G4"},
			"An event whose handler fails or panics comes again; a permanent error, or one that is no T, goes to the dead letters at once.",
			func(e *env) {
				publish(e, 1) // fails twice
				publish(e, 2) // is permanent
				publish(e, 3) // panics once
				e.publish("notes", "{broken")
				var mu sync.Mutex
				attempts := make(map[int64]int)
				stop := consume(e, e.hub, oldest("a"), func(ctx context.Context, m rpw.Message[note]) error {
					d, _ := rpw.DeliveryOf(ctx)
					mu.Lock()
					attempts[m.Data.N] = d.Attempt
					mu.Unlock()
					switch {
					case m.Data.N == 1 && d.Attempt < 3:
						return rpw.RetryIn(errors.New("not yet"), e.unit)
					case m.Data.N == 2:
						return rpw.Permanent(errors.New("never"))
					case m.Data.N == 3 && d.Attempt == 1:
						panic("oh")
					}
					return nil
				})
				e.eventually(settled(e), "everything is settled")
				require.NoError(e, stop())
				assert.Equal(e, map[int64]int{1: 3, 2: 1, 3: 2}, attempts)
				dead := e.read(rpw.DeadLetter("notes", "g"), rpw.Position{})
				require.Len(e, dead, 2)
				for _, d := range dead {
					assert.Equal(e, "1", d.Header[rpw.HeaderDeadAttempts])
				}
			}},
		// F8, G5.
		{"Groups/Consume/FlushedGroupIsRebuilt", []string{"G5"},
			"After the store lost everything a member reports one gap, makes the group again and handles what comes.",
			func(e *env) {
				handled, gaps := make(chan int64, 10), make(chan *rpw.GapError, 10)
				c := oldest("a")
				c.OnGap = func(gap *rpw.GapError) (rpw.Position, error) {
					gaps <- gap
					return rpw.GapContinue(gap)
				}
				stop := consume(e, e.hub, c, func(_ context.Context, m rpw.Message[note]) error {
					handled <- m.Data.N
					return nil
				})
				publish(e, 1)
				assert.EqualValues(e, 1, <-handled)
				e.eventually(settled(e), "it is settled")
				e.flush()
				publish(e, 2)
				assert.EqualValues(e, 2, <-handled)
				require.NoError(e, stop())
				require.Len(e, gaps, 1)
				assert.Equal(e, rpw.GapReset, (<-gaps).Kind)
			}},
		{"Groups/Consume/StopHandsBack", []string{"G1", "G2"},
			"A member that stops gives its handlers the grace, then hands back what is not done, which costs no attempt.",
			func(e *env) {
				publish(e, 1)
				began := make(chan struct{}, 1)
				c := oldest("a")
				c.Grace, c.Lease = e.units(5), rpw.MaxLease
				stop := consume(e, e.hub, c, func(ctx context.Context, _ rpw.Message[note]) error {
					began <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				})
				<-began
				require.NoError(e, stop())
				assert.Equal(e, 1, e.fetchOne("notes", "g", "b").Attempt)
			}},
	}
}

// pendingOrNone is pending for a group that may not exist yet.
func (e *env) pendingOrNone(stream, group string) []rpw.PendingEntry {
	page, _ := e.hub.Streams().Pending(e.Context(), rpw.PendingRequest{Stream: stream, Group: group})
	return page.Entries
}
