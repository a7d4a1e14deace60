package conformance

import (
	"context"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func waitCases() []testCase {
	return []testCase{
		{"Streams/Wait/WakesAtOnce", []string{"S4"},
			"A waiting read returns as soon as another process publishes, also on a stream that did not exist.",
			func(e *env) {
				read := e.waitRead(rpw.ReadRequest{Stream: "s"})
				e.idle()
				e.on(e.peer()).publish("s", "a")
				events, err := await(e, read)
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(events))
			}},
		{"Streams/Wait/WakesEveryReader", []string{"S4", "S6"},
			"One publish wakes all who wait on the stream, in every process.",
			func(e *env) {
				other := e.on(e.peer())
				after := e.locate("s", rpw.Newest())
				var reads []<-chan answer[[]rpw.Event]
				for range 25 {
					reads = append(reads, e.waitRead(rpw.ReadRequest{Stream: "s", After: after}), other.waitRead(rpw.ReadRequest{Stream: "s", After: after}))
				}
				e.idle()
				e.publish("s", "a")
				for _, read := range reads {
					events, err := await(e, read)
					require.NoError(e, err)
					assert.Equal(e, []string{"a"}, texts(events))
				}
			}},
		{"Streams/Wait/StreamsDoNotHoldEachOtherUp", []string{"S6"},
			"A wait on one stream delays no wait on another stream of the same Hub.",
			func(e *env) {
				silent := e.waitRead(rpw.ReadRequest{Stream: "silent"})
				read := e.waitRead(rpw.ReadRequest{Stream: "s"})
				e.idle()
				e.publish("s", "a")
				events, err := await(e, read)
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(events))
				e.publish("silent", "b")
				events, err = await(e, silent)
				require.NoError(e, err)
				assert.Equal(e, []string{"b"}, texts(events))
			}},
		{"Streams/Wait/NothingInTimeIsNoError", []string{"S4", "E2"},
			"A wait that ends without an event is an empty answer.",
			func(e *env) {
				events, err := e.hub.Streams().Read(e.promptly(), rpw.ReadRequest{Stream: "s", Wait: e.units(5)})
				require.NoError(e, err)
				assert.Empty(e, events)
			}},
		{"Streams/Wait/WhatIsThereComesAtOnce", []string{"S4"},
			"A read with Wait returns what is there without waiting for more.",
			func(e *env) {
				e.publish("s", "a")
				events, err := e.hub.Streams().Read(e.promptly(), rpw.ReadRequest{Stream: "s", Max: 10, Wait: rpw.Forever})
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(events))
			}},
		{"Streams/Wait/ContextEndsTheWaitOnly", []string{"E1"},
			"A context that ends a wait is its error, at once; the Hub and its other waits go on.",
			func(e *env) {
				ctx, cancel := context.WithCancel(e.Context())
				bus := e.hub.Streams()
				cut := start(func() ([]rpw.Event, error) {
					return bus.Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
				})
				stays := e.waitRead(rpw.ReadRequest{Stream: "s"})
				e.idle()
				cancel()
				_, err := await(e, cut)
				require.ErrorIs(e, err, context.Canceled)
				e.publish("s", "a")
				events, err := await(e, stays)
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(events))
			}},
		{"Streams/Wait/DeadlineEndsTheWait", []string{"E1"},
			"A deadline shorter than Wait ends the wait with context.DeadlineExceeded.",
			func(e *env) {
				ctx, cancel := context.WithTimeout(e.Context(), e.units(5))
				defer cancel()
				bus := e.hub.Streams()
				_, err := await(e, start(func() ([]rpw.Event, error) {
					return bus.Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
				}))
				require.ErrorIs(e, err, context.DeadlineExceeded)
			}},
		{"Streams/Wait/ClosingHubEndsWaits", []string{"E1", "E2"},
			"Closing a Hub ends its waits with ErrClosed, and no wait of another Hub.",
			func(e *env) {
				h := e.peer()
				ends := e.on(h).waitRead(rpw.ReadRequest{Stream: "s"})
				stays := e.waitRead(rpw.ReadRequest{Stream: "s"})
				e.idle()
				require.NoError(e, h.Close())
				_, err := await(e, ends)
				e.is(err, rpw.ErrClosed)
				e.publish("s", "a")
				_, err = await(e, stays)
				require.NoError(e, err)
			}},
		{"Streams/Wait/DeletingTheStreamWakes", []string{"S5"},
			"A reader that waits on a stream that is deleted gets the gap, it does not wait for ever.",
			func(e *env) {
				after := e.publish("s", "a")[0]
				read := e.waitRead(rpw.ReadRequest{Stream: "s", After: after})
				e.idle()
				require.NoError(e, e.on(e.peer()).hub.Streams().DeleteStream(e.Context(), "s"))
				e.publish("s", "b")
				_, err := await(e, read)
				assert.Equal(e, rpw.GapReset, e.gap(err).Kind)
			}},
		{"Streams/Wait/EveryEventReachesEveryTail", []string{"S1", "S4", "S6"},
			"Readers that follow a stream while several processes publish see every event once, in one order.",
			func(e *env) {
				const total = 200
				begin := e.locate("s", rpw.Newest())
				tails := []*env{e, e.on(e.peer()), e.on(e.peer())}
				var follows []<-chan answer[[]string]
				for _, tail := range tails {
					bus, ctx := tail.hub.Streams(), e.Context()
					follows = append(follows, start(func() (got []string, err error) {
						for after := begin; len(got) < total; {
							events, err := bus.Read(ctx, rpw.ReadRequest{Stream: "s", After: after, Wait: rpw.Forever})
							if err != nil {
								return got, err
							}
							if len(events) > 0 {
								after = events[len(events)-1].Position()
							}
							got = append(got, texts(events)...)
						}
						return got, nil
					}))
				}
				for _, publisher := range tails[1:] {
					publisher.publishAtOnce("s", 2, total/4)
				}
				want := texts(e.read("s", begin))
				require.Len(e, want, total)
				for _, follow := range follows {
					got, err := await(e, follow)
					require.NoError(e, err)
					assert.Equal(e, want, got)
				}
			}},
	}
}
