package conformance

import (
	"bytes"
	"strings"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func publishCases() []testCase {
	return []testCase{
		{"Streams/Publish/ReturnedMeansStored", []string{"S2"},
			"When Publish returns nil, every process can read the event, with all that it carried.",
			func(e *env) {
				sent := rpw.NewEvent{Type: "created", Data: []byte(`{"n":1}`), Key: "k", Header: map[string]string{"trace": "abc", "empty": ""}}
				at := e.publishEvents("s", sent)
				got := e.on(e.peer()).read("s", rpw.Position{})
				require.Len(e, got, 1)
				assert.Equal(e, sent.Type, got[0].Type)
				assert.Equal(e, sent.Data, got[0].Data)
				assert.Equal(e, sent.Key, got[0].Key)
				assert.Equal(e, sent.Header, got[0].Header)
				assert.Equal(e, at[0], got[0].Position(), "the answered position is the event's")
			}},
		{"Streams/Publish/IDsHaveTheOneForm", []string{"S1"},
			"An event's id is the store's time in milliseconds and a sequence number; it and the position survive as text.",
			func(e *env) {
				at := e.publish("s", "a")[0]
				assert.NotZero(e, at.ID.MS, "the store's time")
				id, err := rpw.ParseID(at.ID.String())
				require.NoError(e, err)
				assert.Equal(e, at.ID, id)
				assert.LessOrEqual(e, len(at.String()), 64)
				e.publish("s", "b")
				stored, err := rpw.ParsePosition(at.String())
				require.NoError(e, err)
				assert.Equal(e, []string{"b"}, texts(e.on(e.peer()).read("s", stored)), "another process goes on from the text of a position")
			}},
		// F19, S1.
		{"Streams/Publish/OrderIsTotalAndStrict", []string{"S1"},
			"All readers see one order, ids and counts grow strictly in it, however many publish at once.",
			func(e *env) {
				e.publishAtOnce("s", 4, 25)
				one, other := e.read("s", rpw.Position{}), e.on(e.peer()).read("s", rpw.Position{})
				require.Len(e, one, 100)
				assert.Equal(e, one, other)
				e.contiguous(positionsOf(one))
			}},
		{"Streams/Publish/OneHubKeepsItsOrder", []string{"S2"},
			"Publishes of one Hub that follow one another's return are stored in that order.",
			func(e *env) {
				e.publishAtOnce("s", 4, 25)
				next := make(map[byte]string)
				for _, text := range texts(e.read("s", rpw.Position{})) {
					assert.Greater(e, text, next[text[0]], "the events of one publisher are in order")
					next[text[0]] = text
				}
			}},
		{"Streams/Publish/ThousandEventsInOneStep", []string{"S2"},
			"A batch of 1,000 events is stored, contiguous and in order, while others publish.",
			func(e *env) {
				other := e.on(e.peer())
				noise := start(func() (struct{}, error) {
					for range 20 {
						if _, err := other.append(rpw.Batch{Stream: "s", Events: items("noise")}); err != nil {
							return struct{}{}, err
						}
					}
					return struct{}{}, nil
				})
				positions := e.publish("s", numbers(1, rpw.MaxBatch)...)
				require.NoError(e, (<-noise).err) // it may take as long as twenty calls do
				e.contiguous(positions)
				var got []string
				for _, ev := range e.read("s", rpw.Position{}) {
					if textOf(ev.Data) != "noise" {
						got = append(got, textOf(ev.Data))
					}
				}
				assert.Equal(e, numbers(1, rpw.MaxBatch), got)
			}},
		{"Streams/Publish/EightMebibytesInOneStep", []string{"S2"},
			"A batch as large as the limits allow is stored as it is; one byte more is ErrTooLarge with nothing stored.",
			func(e *env) {
				full := make([]rpw.NewEvent, rpw.MaxBatchBytes/rpw.MaxPayload)
				for i := range full {
					full[i] = rpw.NewEvent{Type: "t", Data: bytes.Repeat([]byte{byte('1' + i)}, rpw.MaxPayload-1)}
				}
				e.publishEvents("s", full...)
				_, err := e.append(rpw.Batch{Stream: "s", Events: append(full, rpw.NewEvent{Type: "t"})})
				e.is(err, rpw.ErrTooLarge)
				got := e.read("s", rpw.Position{})
				require.Len(e, got, len(full))
				for i := range full {
					assert.True(e, bytes.Equal(full[i].Data, got[i].Data), "event %d", i)
				}
			}},
		// F47, S2.
		{"Streams/Publish/BatchIsAllOrNone", []string{"S2"},
			"A batch with one event that cannot be stored stores none.",
			func(e *env) {
				bad := map[string]rpw.NewEvent{
					"payload too large": {Type: "t", Data: make([]byte, rpw.MaxPayload+1)},
					"bad type":          {Type: "a\nb"},
					"bad key":           {Type: "t", Key: "*"},
					"bad header":        {Type: "t", Header: map[string]string{"": "x"}},
				}
				for what, event := range bad {
					_, err := e.append(rpw.Batch{Stream: "s", Events: append(items("a", "b"), event)})
					assert.Error(e, err, what)
				}
				_, err := e.append(rpw.Batch{Stream: "s", Events: items(numbers(0, rpw.MaxBatch)...)})
				e.is(err, rpw.ErrTooLarge, "more events than a batch may have")
				_, err = e.append(rpw.Batch{Stream: "s"})
				e.is(err, rpw.ErrInvalid, "no events")
				assert.Empty(e, e.read("s", rpw.Position{}))
			}},
		{"Streams/Publish/BatchesOfOneCallAreTakenInOrder", []string{"S2"},
			"The batches of one call are steps of their own, in order; one that fails takes no other with it.",
			func(e *env) {
				end := e.publish("a", "0")[0]
				answers, err := e.hub.Streams().Publish(e.Context(), []rpw.Batch{
					{Stream: "a", Events: items("1")},
					{Stream: "a", Events: items("no"), Expect: end},
					{Stream: "b", Events: items("x")},
					{Stream: "a", Events: items("2")},
				})
				require.NoError(e, err)
				require.Len(e, answers, 4)
				assert.NoError(e, answers[0].Err)
				e.is(answers[1].Err, rpw.ErrConflict)
				assert.Empty(e, answers[1].Positions)
				assert.NoError(e, answers[2].Err)
				assert.NoError(e, answers[3].Err)
				assert.Equal(e, numbers(0, 2), texts(e.read("a", rpw.Position{})))
				assert.Equal(e, []string{"x"}, texts(e.read("b", rpw.Position{})))
			}},
		{"Streams/Publish/AnyBytesSurvive", []string{"S2", "C1"},
			"A payload comes back byte for byte: empty, JSON, any binary.",
			func(e *env) {
				all := make([]byte, 256)
				for i := range all {
					all[i] = byte(i)
				}
				payloads := []string{"", "null", "0", "false", `""`, `{"n":9007199254740993}`, "\xff\xfe", "\r\n$5\r\n", string(all), "'; return redis.call('flushall') --"}
				for _, p := range payloads {
					e.publishEvents("s", rpw.NewEvent{Type: "t", Data: []byte(p)})
				}
				got := e.read("s", rpw.Position{})
				require.Len(e, got, len(payloads))
				for i, p := range payloads {
					assert.Equal(e, p, string(got[i].Data))
				}
			}},
		{"Streams/Publish/CallersBuffersStayTheirs", []string{"S2"},
			"What the caller does to its buffers and maps after Publish returned changes no stored event.",
			func(e *env) {
				data, header := payload("before"), map[string]string{"h": "before"}
				events := []rpw.NewEvent{{Type: "t", Data: data, Header: header}}
				_, err := e.append(rpw.Batch{Stream: "s", Events: events})
				require.NoError(e, err)
				copy(data, "AFTER!")
				header["h"] = "after"
				events[0].Type = "other"
				got := e.read("s", rpw.Position{})
				require.Len(e, got, 1)
				assert.Equal(e, "t", got[0].Type)
				assert.Equal(e, "before", textOf(got[0].Data))
				assert.Equal(e, map[string]string{"h": "before"}, got[0].Header)
			}},
		{"Streams/Publish/SameKeyTwiceIsOneEvent", []string{"S3"},
			"An event key is stored once within its window, whoever publishes; the repeat answers the first position.",
			func(e *env) {
				first := e.publishEvents("s", rpw.NewEvent{Type: "t", Data: payload("1"), Key: "k"})
				e.publish("s", "between")
				again := e.on(e.peer()).publishEvents("s", rpw.NewEvent{Type: "t", Data: payload("2"), Key: "k"})
				assert.Equal(e, first, again)
				assert.Equal(e, []string{"1", "between"}, texts(e.read("s", rpw.Position{})))
				e.publishEvents("another", rpw.NewEvent{Type: "t", Data: payload("3"), Key: "k"})
				assert.Len(e, e.read("another", rpw.Position{}), 1, "keys are of one stream")
			}},
		{"Streams/Publish/SameKeyTwiceInOneBatchIsOneEvent", []string{"S3"},
			"A key that occurs twice in one batch is stored once, and answers one position.",
			func(e *env) {
				positions := e.publishEvents("s", rpw.NewEvent{Type: "t", Key: "k", Data: payload("1")}, rpw.NewEvent{Type: "t", Key: "k", Data: payload("2")})
				assert.Equal(e, positions[0], positions[1])
				assert.Equal(e, []string{"1"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Publish/KnownKeysAnswerAndTheRestIsContiguous", []string{"S3", "S2"},
			"In a batch where some keys are stored already, those answer their old positions and the rest is appended contiguously.",
			func(e *env) {
				keyed := func(key string) rpw.NewEvent { return rpw.NewEvent{Type: "t", Key: key, Data: payload(key)} }
				old := e.publishEvents("s", keyed("a"), keyed("b"))
				got := e.publishEvents("s", keyed("b"), keyed("c"), keyed("a"), keyed("d"))
				assert.Equal(e, old[1], got[0])
				assert.Equal(e, old[0], got[2])
				e.contiguous([]rpw.Position{old[1], got[1], got[3]})
				assert.Equal(e, []string{"a", "b", "c", "d"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Publish/KeyOutlivesItsEvent", []string{"S3"},
			"A key is remembered for its window also when its event was trimmed or deleted.",
			func(e *env) {
				keyed := rpw.NewEvent{Type: "t", Key: "k"}
				at := e.publishEvents("s", keyed)
				_, err := e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{at[0].ID})
				require.NoError(e, err)
				assert.Equal(e, at, e.publishEvents("s", keyed))
				assert.Empty(e, e.read("s", rpw.Position{}))
			}},
		{"Streams/Publish/KeyWindowEnds", []string{"S3"},
			"After its window a key is new again.",
			func(e *env) {
				b := rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Key: "k"}}, KeyWindow: e.units(10)}
				_, err := e.append(b)
				require.NoError(e, err)
				e.pass(b.KeyWindow)
				_, err = e.append(b)
				require.NoError(e, err)
				assert.Len(e, e.read("s", rpw.Position{}), 2)
			}},
		{"Streams/Publish/ManyKeyWindowsEnd", []string{"S3"},
			"However many windows have ended, each of their keys is new again; others stay known.",
			func(e *env) {
				var b rpw.Batch
				for _, n := range numbers(1, 50) {
					b.Events = append(b.Events, rpw.NewEvent{Type: "t", Key: n})
				}
				b.Stream, b.KeyWindow = "s", e.units(10)
				_, err := e.append(b)
				require.NoError(e, err)
				e.publishEvents("s", rpw.NewEvent{Type: "t", Key: "stays"})
				e.pass(b.KeyWindow)
				positions, err := e.append(b)
				require.NoError(e, err)
				e.contiguous(positions)
				e.publishEvents("s", rpw.NewEvent{Type: "t", Key: "stays"})
				assert.Len(e, e.read("s", rpw.Position{}), 101)
			}},
		{"Streams/Publish/ExpectGuardsTheEnd", []string{"S2", "E2"},
			"With Expect a batch is appended only where the stream ends there; of two that race one wins.",
			func(e *env) {
				begin := e.locate("s", rpw.Newest())
				won, err := e.append(rpw.Batch{Stream: "s", Events: items("1"), Expect: begin})
				require.NoError(e, err, "the beginning of an empty stream can be expected")
				_, err = e.append(rpw.Batch{Stream: "s", Events: items("no"), Expect: begin})
				e.is(err, rpw.ErrConflict)
				_, err = e.append(rpw.Batch{Stream: "s", Events: items("2"), Expect: won[0]})
				require.NoError(e, err)
				assert.Equal(e, []string{"1", "2"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Publish/ExpectOfAnotherEpochIsConflict", []string{"S2", "S5"},
			"An expectation from before the stream was deleted does not hold, whatever its id.",
			func(e *env) {
				at := e.publish("s", "1")[0]
				require.NoError(e, e.hub.Streams().DeleteStream(e.Context(), "s"))
				_, err := e.append(rpw.Batch{Stream: "s", Events: items("2"), Expect: at})
				e.is(err, rpw.ErrConflict)
			}},
		{"Streams/Publish/ExpectOfATwinIsConflict", []string{"S2"},
			"An expectation does not hold in another history, although its end may have the same id and count.",
			func(e *env) {
				at := e.publish("s", "1")[0]
				require.NoError(e, e.hub.Streams().DeleteStream(e.Context(), "s"))
				e.publish("s", "1")
				_, err := e.append(rpw.Batch{Stream: "s", Events: items("2"), Expect: at})
				e.is(err, rpw.ErrConflict)
			}},
		{"Streams/Publish/HeadersAreBounded", []string{"E2"},
			"More than 32 headers, or more bytes of header than a payload may have, are ErrTooLarge.",
			func(e *env) {
				many := make(map[string]string)
				for _, n := range numbers(1, 33) {
					many[n] = ""
				}
				_, err := e.append(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Header: many}}})
				e.is(err, rpw.ErrTooLarge)
				_, err = e.append(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Header: map[string]string{"h": strings.Repeat("x", rpw.MaxPayload)}}}})
				e.is(err, rpw.ErrTooLarge)
				delete(many, "1")
				e.publishEvents("s", rpw.NewEvent{Type: "t", Header: many})
				assert.Equal(e, many, e.read("s", rpw.Position{})[0].Header)
			}},
	}
}

// publishAtOnce publishes from several goroutines: "A000", "A001", ..., "B000", ...
func (e *env) publishAtOnce(stream string, publishers, each int) {
	e.Helper()
	errs := make([]error, publishers)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for n := range each {
				text := string(rune('A'+p)) + string([]byte{'0' + byte(n/100%10), '0' + byte(n/10%10), '0' + byte(n%10)})
				if _, err := e.append(rpw.Batch{Stream: stream, Events: items(text)}); err != nil {
					errs[p] = err
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(e, err)
	}
}
