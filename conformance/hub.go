package conformance

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func hubCases() []testCase {
	return slices.Concat(contextCases(), namespaceCases(), closeCases(), observerCases(), errorCases())
}

func contextCases() []testCase {
	return []testCase{
		{"Hub/Context/DoneBeforeTheCallDoesNothing", []string{"E1"},
			"With a context that is done before the call every verb is the context's error, and nothing reaches the driver.",
			func(e *env) {
				h, faults := e.faulty()
				ctx, cancel := context.WithCancel(e.Context())
				cancel()
				for verb, call := range namedVerbs(h, "x") {
					require.ErrorIs(e, call(ctx), context.Canceled, verb)
				}
				assert.Zero(e, faults.count())
			}},
		{"Hub/Context/DriverHonoursItToo", []string{"E1"},
			"A driver that is called with a context that is done does nothing, and answers its error.",
			func(e *env) {
				parts, err := e.backend.Connect()
				require.NoError(e, err)
				if parts.Close != nil {
					defer func() { require.NoError(e, parts.Close(e.Context())) }()
				}
				ctx, cancel := context.WithCancel(e.Context())
				cancel()
				_, err = parts.Streams.Publish(ctx, []rpw.Batch{{Stream: "s", Events: items("x")}})
				require.ErrorIs(e, err, context.Canceled)
				_, err = parts.Streams.Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
				require.ErrorIs(e, err, context.Canceled)
				_, err = parts.Cache.Set(ctx, []rpw.CacheSet{{Key: "k", TTL: rpw.NoTTL}})
				require.ErrorIs(e, err, context.Canceled)
				_, err = parts.Cache.Increment(ctx, []rpw.CacheIncrement{{Key: "k", By: 1, TTL: rpw.NoTTL}})
				require.ErrorIs(e, err, context.Canceled)
				assert.Empty(e, e.read("s", rpw.Position{}))
				assert.False(e, e.get("k").Found)
			}},
		{"Hub/Context/NilIsInvalid", []string{"E1", "E2"},
			"A nil context is ErrInvalid from every verb, and no panic.",
			func(e *env) {
				var none context.Context
				for verb, call := range namedVerbs(e.hub, "x") {
					e.is(call(none), rpw.ErrInvalid, verb)
				}
			}},
		{"Hub/Context/CutCallsLeaveTheHubWell", []string{"E1"},
			"Contexts that end in the middle of calls neither break the Hub nor the calls of others.",
			func(e *env) {
				bus := e.hub.Streams()
				for n := range 50 {
					ctx, cancel := context.WithTimeout(e.Context(), time.Duration(n)*e.unit/30)
					stop := start(func() (struct{}, error) {
						for ctx.Err() == nil {
							if _, err := bus.Publish(ctx, []rpw.Batch{{Stream: "s", Events: items("x")}}); err != nil {
								return struct{}{}, err
							}
							if _, err := bus.Read(ctx, rpw.ReadRequest{Stream: "quiet", Wait: rpw.Forever}); err != nil {
								return struct{}{}, err
							}
						}
						return struct{}{}, ctx.Err()
					})
					_, err := await(e, stop)
					cancel()
					require.ErrorIs(e, err, context.DeadlineExceeded)
				}
				e.publish("s", "last")
				got := texts(e.read("s", rpw.Position{}))
				assert.Equal(e, "last", got[len(got)-1])
			}},
		{"Hub/Context/CutWriteSaysSo", []string{"E1", "E2"},
			"A write that a context cut after it may have left matches ErrUncertain and the context's error; it is stored at most once.",
			func(e *env) {
				h := e.decorated(func(p rpw.Parts) rpw.Parts {
					p.Streams = &slowPublish{StreamBus: p.Streams}
					return p
				})
				ctx, cancel := context.WithTimeout(e.Context(), e.units(5))
				defer cancel()
				bus := h.Streams()
				_, err := await(e, start(func() ([]rpw.Published, error) {
					return bus.Publish(ctx, []rpw.Batch{{Stream: "s", Events: items("cut")}})
				}))
				e.is(err, rpw.ErrUncertain)
				require.ErrorIs(e, err, context.DeadlineExceeded)
				e.on(h).publish("s", "next")
				assert.Contains(e, [][]string{{"next"}, {"cut", "next"}}, texts(e.read("s", rpw.Position{})))
			}},
		{"Hub/Context/CutWhileOthersShareTheBatch", []string{"E1", "E2", "S2"},
			"A publish that waits for those before it is withdrawn when its context ends; once it left, with others in one batch, its outcome is unknown to it.",
			func(e *env) {
				gate := make(chan struct{})
				h := e.decorated(func(p rpw.Parts) rpw.Parts {
					p.Streams = gatedPublish{p.Streams, gate}
					return p
				})
				publish := func(data string) (<-chan answer[[]rpw.Published], context.CancelFunc) {
					ctx, cancel := context.WithCancel(e.Context())
					e.Cleanup(cancel)
					c := start(func() ([]rpw.Published, error) {
						return h.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Events: items(data)}})
					})
					e.idle()
					return c, cancel
				}
				first, _ := publish("first")
				withdrawn, withdraw := publish("withdrawn")
				cut, cutOff := publish("cut")
				last, _ := publish("last")
				withdraw()
				_, err := await(e, withdrawn)
				assert.Equal(e, context.Canceled, err)

				gate <- struct{}{}
				_, err = await(e, first)
				require.NoError(e, err)
				e.idle() // the others are on their way
				cutOff()
				_, err = await(e, cut)
				e.is(err, rpw.ErrUncertain)
				require.ErrorIs(e, err, context.Canceled)
				gate <- struct{}{}
				_, err = await(e, last)
				require.NoError(e, err)
				assert.Equal(e, []string{"first", "cut", "last"}, texts(e.read("s", rpw.Position{})))
			}},
	}
}

// gatedPublish lets one call pass for each value from the gate.
type gatedPublish struct {
	rpw.StreamBus
	gate <-chan struct{}
}

func (g gatedPublish) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	select {
	case <-g.gate:
		return g.StreamBus.Publish(ctx, batches)
	case <-ctx.Done():
		return nil, rpw.Errorf(rpw.ErrUncertain, "the gate stayed closed: %w", ctx.Err())
	}
}

// slowPublish stores the first batch and then keeps its reply until the caller leaves.
type slowPublish struct {
	rpw.StreamBus
	once sync.Once
}

func (s *slowPublish) Publish(ctx context.Context, batches []rpw.Batch) (answers []rpw.Published, err error) {
	first := false
	s.once.Do(func() { first = true })
	answers, err = s.StreamBus.Publish(ctx, batches)
	if first && err == nil {
		<-ctx.Done()
		return nil, rpw.Errorf(rpw.ErrUncertain, "the reply did not come: %w", ctx.Err())
	}
	return answers, err
}
