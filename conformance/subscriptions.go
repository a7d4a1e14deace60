package conformance

import (
	"context"
	"errors"
	"math"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// Typed streams: what users write.

type note struct {
	N    int64
	Text string
}

func subscriptionCases() []testCase {
	notes := rpw.StreamOf[note]("notes")
	raw := rpw.StreamOf[any]("notes")
	return []testCase{
		{"Streams/Subscribe/NothingAfterItIsMissed", []string{"S4"},
			"What is published after Subscribe returned arrives, without a pause in between and whoever publishes.",
			func(e *env) {
				other := e.peer()
				for n := range 50 {
					sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Newest())
					require.NoError(e, err)
					at, err := notes.Publish(e.Context(), other, "wrote", note{N: int64(n), Text: "ü"})
					require.NoError(e, err)
					m, err := sub.Next(e.promptly())
					require.NoError(e, err)
					assert.Equal(e, note{int64(n), "ü"}, m.Data)
					assert.Equal(e, "wrote", m.Type)
					assert.Equal(e, at, sub.Position())
					require.NoError(e, sub.Close())
				}
			}},
		{"Streams/Subscribe/ResumesFromAStoredPosition", []string{"S4", "S5"},
			"A subscription from the text of a stored position, in another process, goes on with the next event.",
			func(e *env) {
				for n := range 10 {
					_, err := notes.Publish(e.Context(), e.hub, "wrote", note{N: int64(n)})
					require.NoError(e, err)
				}
				sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Oldest())
				require.NoError(e, err)
				for range 4 {
					_, err := sub.Next(e.promptly())
					require.NoError(e, err)
				}
				stored, err := rpw.ParsePosition(sub.Position().String())
				require.NoError(e, err)
				sub, err = notes.Subscribe(e.Context(), e.peer(), rpw.After(stored))
				require.NoError(e, err)
				m, err := sub.Next(e.promptly())
				require.NoError(e, err)
				assert.EqualValues(e, 4, m.Data.N)
			}},
		{"Streams/Subscribe/SurvivesLostRepliesAndOutages", []string{"S3", "S4"},
			"Outages while it reads neither lose an event for a subscription nor give one twice.",
			func(e *env) {
				h, faults := e.faulty()
				sub, err := notes.Subscribe(e.Context(), h, rpw.Newest())
				require.NoError(e, err)
				for n := range 20 {
					faults.spoil("Streams.Read", lost, refused)
					_, err := notes.Publish(e.Context(), e.hub, "wrote", note{N: int64(n)})
					require.NoError(e, err)
					m, err := sub.Next(e.Context())
					require.NoError(e, err)
					assert.EqualValues(e, n, m.Data.N)
				}
			}},
		{"Streams/Subscribe/GapStopsByDefault", []string{"S5"},
			"Without a policy a subscription ends with the gap, again and again, until the user decides.",
			func(e *env) {
				sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Newest())
				require.NoError(e, err)
				e.loseHistory(notes)
				for range 2 {
					_, err = sub.Next(e.promptly())
					assert.Equal(e, rpw.GapTrimmed, e.gap(err).Kind)
				}
				sub, err = notes.Subscribe(e.Context(), e.hub, rpw.After(e.gap(err).Resume))
				require.NoError(e, err)
				m, err := sub.Next(e.promptly())
				require.NoError(e, err)
				assert.Equal(e, e.read("notes", rpw.Position{})[0].ID, m.ID)
			}},
		{"Streams/Subscribe/GapContinueAndReplay", []string{"S5"},
			"GapContinue goes on with the first event not seen, GapReplay with the oldest; the policy sees each gap once.",
			func(e *env) {
				for what, policy := range map[string]rpw.GapPolicy{"continue": rpw.GapContinue, "replay": rpw.GapReplay} {
					stream := rpw.StreamOf[note](what)
					gaps := 0
					sub, err := stream.Subscribe(e.Context(), e.hub, rpw.Newest(), rpw.OnGap(func(gap *rpw.GapError) (rpw.Position, error) {
						gaps++
						assert.Equal(e, what, gap.Stream)
						return policy(gap)
					}))
					require.NoError(e, err)
					e.loseHistory(stream)
					for _, want := range e.read(what, rpw.Position{}) {
						m, err := sub.Next(e.promptly())
						require.NoError(e, err)
						require.Equal(e, want.ID, m.ID)
					}
					assert.Equal(e, 1, gaps, what)
				}
			}},
		{"Streams/Subscribe/GapPolicyMayEndIt", []string{"S5"},
			"The error of a user's own gap policy ends the reading as it is.",
			func(e *env) {
				enough := errors.New("enough")
				sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Newest(), rpw.OnGap(func(*rpw.GapError) (rpw.Position, error) {
					return rpw.Position{}, enough
				}))
				require.NoError(e, err)
				e.loseHistory(notes)
				_, err = sub.Next(e.promptly())
				assert.ErrorIs(e, err, enough)
			}},
		{"Streams/Subscribe/UnreadablePayloadIsPassedOver", []string{"C7", "E2"},
			"A payload of another form is an error that carries the raw event; the next call goes on after it.",
			func(e *env) {
				sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Newest())
				require.NoError(e, err)
				e.publish("notes", "broken", `{"N":7}`)
				m, err := sub.Next(e.promptly())
				e.is(err, rpw.ErrInvalid)
				assert.Equal(e, "broken", textOf(m.Event.Data))
				m, err = sub.Next(e.promptly())
				require.NoError(e, err)
				assert.EqualValues(e, 7, m.Data.N)
			}},
		{"Streams/Subscribe/SlowSubscriberGetsEverything", []string{"S6"},
			"A subscriber that pauses for thousands of events gets them all, in order, and delays nobody.",
			func(e *env) {
				sub, err := notes.Subscribe(e.Context(), e.peer(), rpw.Newest())
				require.NoError(e, err)
				const total = 3000
				for n := 0; n < total; n += 500 {
					var batch []rpw.NewEvent
					for i := range 500 {
						item, err := notes.Item("wrote", note{N: int64(n + i)})
						require.NoError(e, err)
						batch = append(batch, item)
					}
					_, err := notes.PublishBatch(e.promptly(), e.hub, batch...)
					require.NoError(e, err)
				}
				n := int64(0)
				for m, err := range sub.All(e.Context()) {
					require.NoError(e, err)
					require.Equal(e, n, m.Data.N)
					if n++; n == total {
						break
					}
				}
			}},
		{"Streams/Subscribe/CloseEndsIt", []string{"S4", "E1"},
			"Close ends a waiting Next with ErrClosed at once; what is published later reaches nobody by it.",
			func(e *env) {
				sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Newest())
				require.NoError(e, err)
				ctx := e.Context()
				next := start(func() (rpw.Message[note], error) { return sub.Next(ctx) })
				e.idle()
				require.NoError(e, sub.Close())
				_, err = await(e, next)
				e.is(err, rpw.ErrClosed)
				e.publish("notes", `{"N":1}`)
				_, err = sub.Next(e.promptly())
				e.is(err, rpw.ErrClosed)
				require.NoError(e, sub.Close(), "again")
			}},
		{"Streams/Subscribe/ContextEndsOneNextOnly", []string{"E1"},
			"A Next whose context ended loses nothing: the next call goes on.",
			func(e *env) {
				sub, err := notes.Subscribe(e.Context(), e.hub, rpw.Newest())
				require.NoError(e, err)
				for n := range int64(10) {
					ctx, cancel := context.WithTimeout(e.Context(), e.units(2))
					_, err := sub.Next(ctx)
					cancel()
					require.ErrorIs(e, err, context.DeadlineExceeded)
					_, err = notes.Publish(e.Context(), e.hub, "wrote", note{N: n})
					require.NoError(e, err)
					m, err := sub.Next(e.promptly())
					require.NoError(e, err)
					require.Equal(e, n, m.Data.N)
				}
			}},
		{"Streams/Typed/JSONSurvives", []string{"C7"},
			"Falsy values, large integers and Unicode come back equal through the typed helpers.",
			func(e *env) {
				values := []any{nil, false, 0.0, "", "é😀\u2028", []any{}, map[string]any{}}
				for _, v := range values {
					_, err := raw.Publish(e.Context(), e.hub, "t", v)
					require.NoError(e, err)
				}
				got, err := raw.Read(e.Context(), e.peer(), rpw.Oldest(), 0)
				require.NoError(e, err)
				require.Len(e, got, len(values))
				for i, m := range got {
					assert.Equal(e, values[i], m.Data)
				}
				_, err = notes.Publish(e.Context(), e.hub, "t", note{N: 9007199254740993})
				require.NoError(e, err)
				large, err := notes.Read(e.Context(), e.hub, rpw.Last(1), 1)
				require.NoError(e, err)
				assert.EqualValues(e, 9007199254740993, large[0].Data.N)
			}},
		{"Streams/Typed/WhatIsNoJSONIsRefused", []string{"C7", "E2"},
			"A value that cannot be written as JSON is ErrInvalid, with nothing stored and no panic.",
			func(e *env) {
				type loop struct{ Next *loop }
				cyclic := &loop{}
				cyclic.Next = cyclic
				for what, v := range map[string]any{"NaN": math.NaN(), "channel": make(chan int), "func": func() {}, "cycle": cyclic} {
					_, err := raw.Publish(e.Context(), e.hub, "t", v)
					require.Error(e, err, what)
					assert.Equal(e, "invalid", rpw.Code(err), what)
				}
				assert.Empty(e, e.read("notes", rpw.Position{}))
			}},
		{"Streams/Typed/KeyMakesARepeatSafe", []string{"S3", "C7"},
			"After an unknown outcome the caller repeats with the same WithKey, and the event is there once.",
			func(e *env) {
				first, err := notes.Publish(e.Context(), e.hub, "t", note{N: 1}, rpw.WithKey("k"), rpw.WithHeader("trace", "x"))
				require.NoError(e, err)
				again, err := notes.Publish(e.Context(), e.peer(), "t", note{N: 1}, rpw.WithKey("k"))
				require.NoError(e, err)
				assert.Equal(e, first, again)
				got := e.read("notes", rpw.Position{})
				require.Len(e, got, 1)
				assert.Equal(e, map[string]string{"trace": "x"}, got[0].Header)
			}},
	}
}

// loseHistory lets a stream lose events that who is at its beginning has not seen, and keep some.
func (e *env) loseHistory(stream rpw.Stream[note]) {
	e.Helper()
	for n := range 3 {
		var batch []rpw.NewEvent
		for i := range 100 {
			item, err := stream.Item("wrote", note{N: int64(n*100 + i)})
			require.NoError(e, err)
			batch = append(batch, item)
		}
		_, err := stream.PublishBatch(e.Context(), e.hub, batch...)
		require.NoError(e, err)
	}
	require.Positive(e, e.trim(stream.Name(), 10))
}
