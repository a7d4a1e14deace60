package conformance

import (
	"slices"
	"strconv"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func conditionCases() []testCase {
	return []testCase{
		{"Cache/Set/IfAbsent", []string{"C3"},
			"IfAbsent stores where nothing is, else it is the item's ErrConflict and changes neither value nor time to live.",
			func(e *env) {
				item := rpw.CacheSet{Key: "k", Data: payload("1"), TTL: time.Hour, When: rpw.IfAbsent}
				require.NoError(e, e.setAll(item)[0])
				item.Data, item.TTL = payload("2"), rpw.NoTTL
				e.is(e.setAll(item)[0], rpw.ErrConflict)
				e.has("k", "1")
				assert.Positive(e, e.get("k").TTL)
				e.set("empty", "")
				item.Key = "empty"
				e.is(e.setAll(item)[0], rpw.ErrConflict, "empty is not absent")
			}},
		{"Cache/Set/IfPresent", []string{"C3"},
			"IfPresent stores where something is, also something empty, else ErrConflict.",
			func(e *env) {
				item := rpw.CacheSet{Key: "k", Data: payload("1"), TTL: rpw.NoTTL, When: rpw.IfPresent}
				e.is(e.setAll(item)[0], rpw.ErrConflict)
				assert.False(e, e.get("k").Found)
				e.set("k", "")
				require.NoError(e, e.setAll(item)[0])
				e.has("k", "1")
			}},
		{"Cache/Set/IfEqual", []string{"C3"},
			"IfEqual stores where exactly these bytes are; absent, empty, longer and other ones are ErrConflict.",
			func(e *env) {
				store := func(text string) {
					e.Helper()
					require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: []byte(text), TTL: rpw.NoTTL})[0])
				}
				item := rpw.CacheSet{Key: "k", Data: payload("new"), TTL: rpw.NoTTL, When: rpw.IfEqual, Old: []byte("\x00old")}
				e.is(e.setAll(item)[0], rpw.ErrConflict, "absent")
				for _, other := range []string{"", "\x00ol", "\x00older", "\x00OLD"} {
					store(other)
					e.is(e.setAll(item)[0], rpw.ErrConflict, "%q", other)
					assert.Equal(e, other, string(e.get("k").Data))
				}
				store("\x00old")
				require.NoError(e, e.setAll(item)[0])
				e.has("k", "new")
				e.set("empty", "")
				item.Key, item.Old = "empty", nil
				require.NoError(e, e.setAll(item)[0], "the empty value can be expected")
				item.Key = "absent"
				e.is(e.setAll(item)[0], rpw.ErrConflict, "absent is not empty")
			}},
		{"Cache/Delete/IfEqual", []string{"C3"},
			"A conditional delete takes the key only with exactly these bytes; otherwise it is ErrConflict, and so is an absent key.",
			func(e *env) {
				e.set("k", "mine")
				other := e.remove(rpw.CacheDelete{Key: "k", When: rpw.IfEqual, Old: payload("yours")})
				e.is(other.Err, rpw.ErrConflict)
				assert.False(e, other.Deleted)
				own := e.remove(rpw.CacheDelete{Key: "k", When: rpw.IfEqual, Old: payload("mine")})
				require.NoError(e, own.Err)
				assert.True(e, own.Deleted)
				e.is(e.remove(rpw.CacheDelete{Key: "k", When: rpw.IfEqual, Old: payload("mine")}).Err, rpw.ErrConflict)
			}},
		{"Cache/Set/OneOfManyWins", []string{"C3"},
			"Of many processes that set a key if absent, or swap it if equal, exactly one wins.",
			func(e *env) {
				hubs := []*env{e, e.on(e.peer()), e.on(e.peer())}
				race := func(item rpw.CacheSet) (won int) {
					var calls []<-chan answer[[]error]
					for i := range 12 {
						cache, ctx, item := hubs[i%len(hubs)].hub.Cache(), e.Context(), item
						item.Data = strconv.AppendInt(slices.Clone(item.Old), int64(10+i), 10) // unlike what is there
						calls = append(calls, start(func() ([]error, error) { return cache.Set(ctx, []rpw.CacheSet{item}) }))
					}
					for _, c := range calls {
						errs, err := await(e, c)
						require.NoError(e, err)
						if errs[0] == nil {
							won++
						} else {
							e.is(errs[0], rpw.ErrConflict)
						}
					}
					return won
				}
				assert.Equal(e, 1, race(rpw.CacheSet{Key: "k", TTL: rpw.NoTTL, When: rpw.IfAbsent}))
				assert.Equal(e, 1, race(rpw.CacheSet{Key: "k", TTL: rpw.NoTTL, When: rpw.IfEqual, Old: e.get("k").Data}))
			}},
		{"Cache/Set/UnknownConditionIsInvalid", []string{"C3", "E2"},
			"A condition that does not exist, or that a delete does not know, is ErrInvalid with nothing done.",
			func(e *env) {
				e.set("k", "v")
				_, err := e.hub.Cache().Set(e.Context(), []rpw.CacheSet{{Key: "k", TTL: rpw.NoTTL, When: 99}})
				e.is(err, rpw.ErrInvalid)
				_, err = e.hub.Cache().Delete(e.Context(), []rpw.CacheDelete{{Key: "k", When: rpw.IfAbsent}})
				e.is(err, rpw.ErrInvalid)
				e.has("k", "v")
			}},
		{"Cache/Set/UnknownOutcomeIsNotRepeated", []string{"C3", "E2"},
			"A cache write whose reply was lost is ErrUncertain and not repeated, since a repeat could undo what another wrote in between.",
			func(e *env) {
				h, faults := e.faulty()
				faults.spoil("Cache.Set", lost)
				faults.spoil("Cache.Increment", lost)
				faults.spoil("Cache.Delete", lost)
				ctx, cache := e.Context(), h.Cache()
				_, err := cache.Set(ctx, []rpw.CacheSet{{Key: "k", Data: payload("v"), TTL: rpw.NoTTL}})
				e.is(err, rpw.ErrUncertain)
				e.has("k", "v")
				_, err = cache.Increment(ctx, []rpw.CacheIncrement{{Key: "n", By: 1, TTL: rpw.NoTTL}})
				e.is(err, rpw.ErrUncertain)
				e.has("n", "1")
				_, err = cache.Delete(ctx, []rpw.CacheDelete{{Key: "k"}})
				e.is(err, rpw.ErrUncertain)
				assert.False(e, e.get("k").Found)
			}},
		{"Cache/Set/CallThatNeverLeftIsRepeated", []string{"C3", "E2"},
			"A cache call that did not leave is repeated by the Hub, as is a read whose reply was lost.",
			func(e *env) {
				h, faults := e.faulty()
				other := e.on(h)
				faults.spoil("Cache.Increment", refused, refused)
				faults.spoil("Cache.Get", lost, refused)
				assert.EqualValues(e, 1, other.increment(rpw.CacheIncrement{Key: "n", By: 1, TTL: rpw.NoTTL}).Value)
				other.has("n", "1")
				assert.Zero(e, faults.left(), "the faults were met")
			}},
	}
}

func counterCases() []testCase {
	return []testCase{
		{"Cache/Increment/CountsFromNothing", []string{"C3"},
			"A counter that is not there is 0; it can be added to, taken from and read, as decimal text.",
			func(e *env) {
				by := func(n int64) int64 {
					c := e.increment(rpw.CacheIncrement{Key: "n", By: n, TTL: rpw.NoTTL})
					require.NoError(e, c.Err)
					return c.Value
				}
				assert.EqualValues(e, 0, by(0))
				e.has("n", "0")
				assert.EqualValues(e, 5, by(5))
				assert.EqualValues(e, -2, by(-7))
				e.has("n", "-2")
				e.set("n", "40")
				assert.EqualValues(e, 42, by(2))
			}},
		{"Cache/Increment/NothingIsLostAmongMany", []string{"C3"},
			"Counters that many processes increment at once lose nothing, and never answer the same value twice.",
			func(e *env) {
				hubs := []*rpw.Hub{e.hub, e.peer(), e.peer()}
				var calls []<-chan answer[[]int64]
				for i := range 6 {
					h, ctx := hubs[i%len(hubs)], e.Context()
					calls = append(calls, start(func() (got []int64, err error) {
						for range 25 {
							n, err := rpw.Increment(ctx, h, "n", 1)
							if err != nil {
								return got, err
							}
							got = append(got, n)
						}
						return got, nil
					}))
				}
				var all []int64
				for _, c := range calls {
					got, err := await(e, c)
					require.NoError(e, err)
					all = append(all, got...)
				}
				slices.Sort(all)
				assert.Len(e, slices.Compact(all), 150)
				e.has("n", "150")
			}},
		{"Cache/Increment/NoCounterIsConflict", []string{"C3", "E2"},
			"Text that is no decimal int64 is ErrConflict, and stays as it is.",
			func(e *env) {
				for _, text := range []string{"", " 1", "1 ", "+1", "01", "1.5", "0x1", "9223372036854775808", "ten", "\x00", "-0"} {
					e.set("k", text)
					e.is(e.increment(rpw.CacheIncrement{Key: "k", By: 1, TTL: rpw.KeepTTL}).Err, rpw.ErrConflict, "%q", text)
					e.has("k", text)
				}
			}},
		{"Cache/Increment/OverflowIsConflict", []string{"C3", "E2"},
			"An addition that does not fit into int64 is ErrConflict, and changes nothing, in both directions.",
			func(e *env) {
				for text, by := range map[string]int64{"9223372036854775807": 1, "9223372036854775800": 8, "-9223372036854775808": -1, "-9": -1 << 63, "1": 1<<63 - 1} {
					e.set("k", text)
					e.is(e.increment(rpw.CacheIncrement{Key: "k", By: by, TTL: rpw.KeepTTL}).Err, rpw.ErrConflict, "%s + %d", text, by)
					e.has("k", text)
				}
				e.set("k", "-1")
				assert.EqualValues(e, -1<<63, e.increment(rpw.CacheIncrement{Key: "k", By: -1<<63 + 1, TTL: rpw.KeepTTL}).Value)
			}},
		{"Cache/Increment/TimeToLive", []string{"C2", "C3"},
			"KeepTTL leaves the end of a counter alone, any other value sets it; a new one gets what is said, and a lapsed one begins at 0.",
			func(e *env) {
				e.increment(rpw.CacheIncrement{Key: "n", By: 1, TTL: time.Hour})
				e.increment(rpw.CacheIncrement{Key: "n", By: 1, TTL: rpw.KeepTTL})
				assert.Positive(e, e.get("n").TTL)
				e.increment(rpw.CacheIncrement{Key: "n", By: 1, TTL: rpw.NoTTL})
				assert.Equal(e, rpw.NoTTL, e.get("n").TTL)
				e.increment(rpw.CacheIncrement{Key: "n", By: 1, TTL: e.ttl()})
				e.pass(e.ttl())
				assert.EqualValues(e, 7, e.increment(rpw.CacheIncrement{Key: "n", By: 7, TTL: rpw.KeepTTL}).Value)
				assert.Equal(e, rpw.NoTTL, e.get("n").TTL)
			}},
		{"Cache/Increment/AnswersComeInOrder", []string{"C3"},
			"The items of one call are counted in order, each with its own answer.",
			func(e *env) {
				e.set("text", "x")
				counters, err := e.hub.Cache().Increment(e.Context(), []rpw.CacheIncrement{
					{Key: "a", By: 1, TTL: rpw.NoTTL}, {Key: "text", By: 1, TTL: rpw.NoTTL}, {Key: "a", By: 2, TTL: rpw.NoTTL}, {Key: "b", By: 9, TTL: rpw.NoTTL},
				})
				require.NoError(e, err)
				require.Len(e, counters, 4)
				assert.EqualValues(e, 1, counters[0].Value)
				e.is(counters[1].Err, rpw.ErrConflict)
				assert.EqualValues(e, 3, counters[2].Value)
				assert.EqualValues(e, 9, counters[3].Value)
			}},
	}
}
