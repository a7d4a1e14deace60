package conformance

import (
	"context"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// producerCases are about repeats that the library makes itself.
func producerCases() []testCase {
	return []testCase{
		{"Streams/Producer/LostReplyIsOneEvent", []string{"S3"},
			"When the reply to a publish is lost, the Hub repeats it and the event is stored once.",
			func(e *env) {
				h, faults := e.faulty()
				faults.spoil("Streams.Publish", lost, lost)
				at := e.on(h).publish("s", "a", "b")
				assert.Zero(e, faults.left(), "the faults were met")
				got := e.read("s", rpw.Position{})
				assert.Equal(e, []string{"a", "b"}, texts(got))
				assert.Equal(e, positionsOf(got), at)
			}},
		{"Streams/Producer/CallThatNeverLeftIsRepeated", []string{"S3", "S2"},
			"A publish that did not leave is repeated until it did, and stored once.",
			func(e *env) {
				h, faults := e.faulty()
				faults.spoil("Streams.Publish", refused, lost, refused)
				e.on(h).publish("s", "a")
				e.on(h).publish("s", "b")
				assert.Zero(e, faults.left(), "the faults were met")
				assert.Equal(e, []string{"a", "b"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Producer/DoubtStays", []string{"S3"},
			"A publish that may have been stored is not told as undone because its repeats did not leave.",
			func(e *env) {
				h, faults := e.faulty()
				faults.spoil("Streams.Publish", lost)
				for range 100 {
					faults.spoil("Streams.Publish", refused)
				}
				ctx, cancel := context.WithTimeout(e.Context(), e.prompt()/5)
				defer cancel()
				_, err := rpw.StreamOf[int]("s").Publish(ctx, h, "t", 1)
				e.is(err, rpw.ErrUncertain)
				assert.Less(e, faults.left(), 100, "it was repeated")
				assert.Len(e, e.read("s", rpw.Position{}), 1)
			}},
		{"Streams/Producer/LostRepliesKeepTheOrder", []string{"S2", "S3"},
			"Lost replies among publishes that run at the same time neither duplicate an event nor change a publisher's order.",
			func(e *env) {
				h, faults := e.faulty()
				faults.spoil("Streams.Publish", none, lost, refused, lost, none, lost)
				e.on(h).publishAtOnce("s", 3, 20)
				assert.Zero(e, faults.left(), "the faults were met")
				got := texts(e.read("s", rpw.Position{}))
				require.Len(e, got, 60)
				next := make(map[byte]string)
				for _, text := range got {
					assert.Greater(e, text, next[text[0]])
					next[text[0]] = text
				}
			}},
		{"Streams/Producer/SameSeqAnswersTheSame", []string{"S3"},
			"A batch with the last number of its producer answers what was stored, and appends nothing; also through another process.",
			func(e *env) {
				b := rpw.Batch{Stream: "s", Events: items("a", "b"), Producer: rpw.Producer{ID: [16]byte{1}, Seq: 7}}
				first, err := e.append(b)
				require.NoError(e, err)
				again, err := e.append(b)
				require.NoError(e, err)
				assert.Equal(e, first, again)
				again, err = e.on(e.peer()).append(b)
				require.NoError(e, err)
				assert.Equal(e, first, again)
				assert.Equal(e, []string{"a", "b"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Producer/SmallerSeqIsRefused", []string{"S3", "S2"},
			"A late execution, with a smaller number than its producer's last, is ErrConflict and appends nothing.",
			func(e *env) {
				producer := func(seq uint64) rpw.Producer { return rpw.Producer{ID: [16]byte{1}, Seq: seq} }
				_, err := e.append(rpw.Batch{Stream: "s", Events: items("2"), Producer: producer(2)})
				require.NoError(e, err)
				_, err = e.append(rpw.Batch{Stream: "s", Events: items("1"), Producer: producer(1)})
				e.is(err, rpw.ErrConflict)
				assert.Equal(e, []string{"2"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Producer/GreaterSeqAppendsAlsoWithAHole", []string{"S3"},
			"A greater number appends, with or without a hole before it.",
			func(e *env) {
				for _, seq := range []uint64{1, 2, 5, 1 << 40} {
					_, err := e.append(rpw.Batch{Stream: "s", Events: items("x"), Producer: rpw.Producer{ID: [16]byte{1}, Seq: seq}})
					require.NoError(e, err)
				}
				assert.Len(e, e.read("s", rpw.Position{}), 4)
			}},
		{"Streams/Producer/ProducersAndStreamsAreApart", []string{"S3"},
			"The numbers of a producer say nothing about another producer or another stream.",
			func(e *env) {
				for _, stream := range []string{"s", "t"} {
					for id := range byte(2) {
						_, err := e.append(rpw.Batch{Stream: stream, Events: items("x"), Producer: rpw.Producer{ID: [16]byte{1, id}, Seq: 1}})
						require.NoError(e, err)
					}
					assert.Len(e, e.read(stream, rpw.Position{}), 2)
				}
			}},
		{"Streams/Producer/SeveralProducersInOneCall", []string{"S3"},
			"One call may carry batches of several producers; each is judged for itself.",
			func(e *env) {
				batch := func(id byte, seq uint64) rpw.Batch {
					return rpw.Batch{Stream: "s", Events: items("x"), Producer: rpw.Producer{ID: [16]byte{id}, Seq: seq}}
				}
				_, err := e.append(batch(1, 5))
				require.NoError(e, err)
				answers, err := e.hub.Streams().Publish(e.Context(), []rpw.Batch{batch(1, 4), batch(2, 1), batch(1, 5), batch(1, 6)})
				require.NoError(e, err)
				require.Len(e, answers, 4)
				e.is(answers[0].Err, rpw.ErrConflict)
				for _, a := range answers[1:] {
					require.NoError(e, a.Err)
				}
				assert.Len(e, e.read("s", rpw.Position{}), 3, "5 and 6 of the one, 1 of the other")
			}},
		{"Streams/Producer/RefusedBatchUsesNoSeq", []string{"S3"},
			"A batch that failed its expectation appended nothing; its repeat gives no other answer.",
			func(e *env) {
				end := e.publish("s", "a")[0]
				e.publish("s", "b")
				b := rpw.Batch{Stream: "s", Events: items("no"), Expect: end, Producer: rpw.Producer{ID: [16]byte{1}, Seq: 1}}
				for range 2 {
					_, err := e.append(b)
					e.is(err, rpw.ErrConflict)
				}
				assert.Equal(e, []string{"a", "b"}, texts(e.read("s", rpw.Position{})))
			}},
		{"Streams/Producer/RepeatWithExpectIsNoConflict", []string{"S3", "S2"},
			"The repeat of an applied batch answers its positions although the stream no longer ends where it expected.",
			func(e *env) {
				end := e.publish("s", "a")[0]
				h, faults := e.faulty()
				faults.spoil("Streams.Publish", lost)
				_, err := e.on(h).append(rpw.Batch{Stream: "s", Events: items("b"), Expect: end})
				require.NoError(e, err)
				assert.Equal(e, []string{"a", "b"}, texts(e.read("s", rpw.Position{})))
			}},
	}
}

// retentionCases are about what a stream keeps.
func retentionCases() []testCase {
	return []testCase{
		{"Streams/Retention/HasADefaultBound", []string{"S7"},
			"A stream nobody configured keeps DefaultKeepEvents.",
			func(e *env) {
				e.publish("s", "a")
				assert.Equal(e, rpw.Retention{Events: rpw.DefaultKeepEvents}, e.info("s").Keep)
			}},
		{"Streams/Retention/ByLength", []string{"S7"},
			"With Keep.Events a stream keeps that many of the newest, and up to 1 % or 100 more.",
			func(e *env) {
				keep := rpw.Retention{Events: 50}
				for n := range 10 {
					_, err := e.append(rpw.Batch{Stream: "s", Events: items(numbers(n*100+1, n*100+100)...), Keep: keep})
					require.NoError(e, err)
				}
				got := texts(e.read("s", rpw.Position{}))
				require.GreaterOrEqual(e, len(got), 50)
				require.LessOrEqual(e, len(got), 150)
				assert.Equal(e, numbers(1001-len(got), 1000), got)
				info := e.info("s")
				assert.EqualValues(e, len(got), info.Events)
				assert.EqualValues(e, 1000, info.Added)
				assert.Equal(e, keep, info.Keep)
			}},
		{"Streams/Retention/ZeroKeepsWhatTheStreamHad", []string{"S7"},
			"A publish that says nothing about retention leaves it as it was; Unlimited takes the bound away.",
			func(e *env) {
				_, err := e.append(rpw.Batch{Stream: "s", Events: items("a"), Keep: rpw.Retention{Events: 7}})
				require.NoError(e, err)
				e.publish("s", "b")
				assert.EqualValues(e, 7, e.info("s").Keep.Events)
				_, err = e.append(rpw.Batch{Stream: "s", Events: items("a"), Keep: rpw.Retention{Events: rpw.Unlimited}})
				require.NoError(e, err)
				assert.EqualValues(e, rpw.Unlimited, e.info("s").Keep.Events)
			}},
		{"Streams/Retention/ByAge", []string{"S7", "S5"},
			"With Keep.Age old events go; readers who had not seen them get a gap.",
			func(e *env) {
				keep := rpw.Retention{Age: e.units(20)}
				begin := e.locate("s", rpw.Newest())
				_, err := e.append(rpw.Batch{Stream: "s", Events: items("old"), Keep: keep})
				require.NoError(e, err)
				e.pass(2 * keep.Age)
				young := e.publish("s", "young")[0]
				e.eventually(func() bool {
					got := e.page(rpw.ReadRequest{Stream: "s"})
					return len(got) == 0 || textOf(got[0].Data) != "old"
				}, "the old event is still there")
				_, err = e.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: "s", After: begin})
				gap := e.gap(err)
				assert.Equal(e, rpw.GapTrimmed, gap.Kind)
				assert.Less(e, gap.Oldest.Count, young.Count+1)
			}},
		{"Streams/Retention/TrimByAge", []string{"S7"},
			"Trim takes an age, and returns how many events went.",
			func(e *env) {
				for age := e.units(20); ; age *= 2 {
					e.publish("s", numbers(1, 3)...)
					e.pass(2 * age)
					began := time.Now()
					e.publish("s", "young")
					n, err := e.hub.Streams().Trim(e.Context(), "s", rpw.Retention{Events: rpw.Unlimited, Age: age})
					require.NoError(e, err)
					if time.Since(began) >= age && age < e.patience() { // a slow machine: the young one may have been old, too
						require.NoError(e, e.hub.Streams().DeleteStream(e.Context(), "s"))
						continue
					}
					assert.EqualValues(e, 3, n)
					assert.Equal(e, []string{"young"}, texts(e.read("s", rpw.Position{})))
					return
				}
			}},
	}
}
