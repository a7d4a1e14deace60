package conformance

import (
	"bytes"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func cacheCases() []testCase {
	return slices.Concat(valueCases(), lifeCases(), conditionCases(), counterCases(), scanCases(), typedCacheCases(), repoCases())
}

// What cases say about the cache.

func (e *env) setAll(items ...rpw.CacheSet) []error {
	e.Helper()
	errs, err := e.hub.Cache().Set(e.Context(), items)
	require.NoError(e, err)
	require.Len(e, errs, len(items), "one answer for each item")
	return errs
}

// set stores a value until it is deleted.
func (e *env) set(key, value string) {
	e.Helper()
	require.NoError(e, e.setAll(rpw.CacheSet{Key: key, Data: payload(value), TTL: rpw.NoTTL})[0])
}

func (e *env) getAll(keys ...string) []rpw.Value {
	e.Helper()
	values, err := e.hub.Cache().Get(e.Context(), rpw.GetRequest{Keys: keys})
	require.NoError(e, err)
	require.Len(e, values, len(keys), "one answer for each key")
	return values
}

func (e *env) get(key string) rpw.Value { e.Helper(); return e.getAll(key)[0] }

// has wants a key to hold a value.
func (e *env) has(key, want string) {
	e.Helper()
	v := e.get(key)
	require.True(e, v.Found, "key %s", key)
	assert.Equal(e, want, textOf(v.Data), "key %s", key)
}

func (e *env) increment(item rpw.CacheIncrement) rpw.Counter {
	e.Helper()
	counters, err := e.hub.Cache().Increment(e.Context(), []rpw.CacheIncrement{item})
	require.NoError(e, err)
	require.Len(e, counters, 1)
	return counters[0]
}

func (e *env) remove(item rpw.CacheDelete) rpw.CacheDeleted {
	e.Helper()
	answers, err := e.hub.Cache().Delete(e.Context(), []rpw.CacheDelete{item})
	require.NoError(e, err)
	require.Len(e, answers, 1)
	return answers[0]
}

// ttl is long enough that a case sees a value live, and short enough to let it die.
func (e *env) ttl() time.Duration { return e.units(25) }

func valueCases() []testCase {
	return []testCase{
		{"Cache/Get/SameBytesBack", []string{"C1"},
			"What was set is read back byte for byte, by every process; a set replaces what was there.",
			func(e *env) {
				all := make([]byte, 256)
				for i := range all {
					all[i] = byte(i)
				}
				other := e.on(e.peer())
				for _, value := range []string{"a", "", "null", "\xff\xfe\x00", string(all), `{"n":9007199254740993}`, "\r\n", "-1"} {
					require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: []byte(value), TTL: rpw.NoTTL})[0])
					assert.Equal(e, value, string(other.get("k").Data))
				}
			}},
		{"Cache/Get/EmptyIsNotAbsent", []string{"C1"},
			"An empty value is found; a key that is not there is an answer and no error.",
			func(e *env) {
				e.set("empty", "")
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "nil", TTL: rpw.NoTTL})[0])
				values := e.getAll("empty", "nil", "absent")
				assert.Equal(e, []bool{true, true, false}, []bool{values[0].Found, values[1].Found, values[2].Found})
				for _, v := range values {
					assert.Empty(e, v.Data)
				}
			}},
		{"Cache/Get/AnswersComeInOrder", []string{"C1"},
			"A batch of 1,000 keys is answered in its order, with misses and repeats in their places.",
			func(e *env) {
				var sets []rpw.CacheSet
				var keys []string
				for _, n := range numbers(1, rpw.MaxBatch) {
					sets = append(sets, rpw.CacheSet{Key: n, Data: payload("v" + n), TTL: rpw.NoTTL})
					keys = append(keys, n)
				}
				for _, err := range e.setAll(sets...) {
					require.NoError(e, err)
				}
				slices.Reverse(keys)
				keys[7], keys[8] = "absent", keys[9]
				for i, v := range e.getAll(keys...) {
					if keys[i] == "absent" {
						assert.False(e, v.Found)
					} else {
						assert.Equal(e, "v"+keys[i], textOf(v.Data))
					}
				}
			}},
		{"Cache/Get/MebibyteFits", []string{"C1", "E2"},
			"A value of MaxPayload is stored; one byte more is ErrTooLarge, and the old value stays.",
			func(e *env) {
				large := bytes.Repeat([]byte("1"), rpw.MaxPayload+1)
				large[rpw.MaxPayload-1] = '7'
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: large[:rpw.MaxPayload], TTL: rpw.NoTTL})[0])
				_, err := e.hub.Cache().Set(e.Context(), []rpw.CacheSet{{Key: "k", Data: large, TTL: rpw.NoTTL}})
				e.is(err, rpw.ErrTooLarge)
				assert.Equal(e, large[:rpw.MaxPayload], e.get("k").Data)
			}},
		{"Cache/Get/BuffersAreNotShared", []string{"C1"},
			"What the caller does to its buffer after Set, or appends to a value it got, changes nothing stored.",
			func(e *env) {
				data := payload("before")
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: data, TTL: rpw.NoTTL}, rpw.CacheSet{Key: "l", Data: payload("next"), TTL: rpw.NoTTL})[0])
				copy(data, "AFTER!")
				e.has("k", "before")
				_ = append(e.get("k").Data, "XXXX"...)
				e.has("k", "before")
				e.has("l", "next")
			}},
		{"Cache/Get/ReadersAppendApart", []string{"C1"},
			"What one reader appends to a value is not in what another one appends.",
			func(e *env) {
				e.set("k", "17")
				one := append(e.get("k").Data, " of one"...)
				two := append(e.get("k").Data, " of two"...)
				assert.Equal(e, "17 of one", string(one))
				assert.Equal(e, "17 of two", string(two))
			}},
		{"Cache/Set/LaterItemsWin", []string{"C1"},
			"The items of one call are applied in order: of two for one key the later wins.",
			func(e *env) {
				errs := e.setAll(rpw.CacheSet{Key: "k", Data: payload("1"), TTL: rpw.NoTTL}, rpw.CacheSet{Key: "k", Data: payload("2"), TTL: rpw.NoTTL},
					rpw.CacheSet{Key: "k", Data: payload("no"), TTL: rpw.NoTTL, When: rpw.IfAbsent})
				require.NoError(e, errs[0])
				require.NoError(e, errs[1])
				e.is(errs[2], rpw.ErrConflict)
				e.has("k", "2")
			}},
		{"Cache/Delete/SaysWhatWasThere", []string{"C1", "C3"},
			"Delete says of each key whether it was there; what it deleted is gone for everybody.",
			func(e *env) {
				e.set("a", "1")
				e.set("b", "")
				answers, err := e.on(e.peer()).hub.Cache().Delete(e.Context(), []rpw.CacheDelete{{Key: "a"}, {Key: "absent"}, {Key: "b"}, {Key: "a"}})
				require.NoError(e, err)
				var deleted []bool
				for _, a := range answers {
					require.NoError(e, a.Err)
					deleted = append(deleted, a.Deleted)
				}
				assert.Equal(e, []bool{true, false, true, false}, deleted)
				assert.False(e, e.get("a").Found)
			}},
		{"Cache/Near/OwnWritesReadBackAtOnce", []string{"C6"},
			"Also with MaxStale a Hub reads back at once what it wrote itself, by any verb.",
			func(e *env) {
				near := func() rpw.Value {
					values, err := e.hub.Cache().Get(e.Context(), rpw.GetRequest{Keys: []string{"k"}, MaxStale: time.Minute})
					require.NoError(e, err)
					return values[0]
				}
				assert.False(e, near().Found)
				for _, n := range numbers(1, 20) {
					e.set("k", n)
					require.Equal(e, n, textOf(near().Data))
				}
				e.increment(rpw.CacheIncrement{Key: "k", By: 1, TTL: rpw.KeepTTL})
				assert.Equal(e, "21", textOf(near().Data))
				e.remove(rpw.CacheDelete{Key: "k"})
				assert.False(e, near().Found)
			}},
		{"Cache/Near/OthersWritesAreSeenWithinTheBound", []string{"C6"},
			"With MaxStale the writes of others are seen within it, and within 3.5 s; a value that lapsed is not served.",
			func(e *env) {
				bus := e.hub.Cache()
				near := func() string {
					values, err := bus.Get(e.Context(), rpw.GetRequest{Keys: []string{"k"}, MaxStale: time.Hour})
					require.NoError(e, err)
					return textOf(values[0].Data)
				}
				e.set("k", "1")
				assert.Equal(e, "1", near())
				e.on(e.peer()).set("k", "2")
				written := time.Now()
				e.eventually(func() bool { return near() == "2" }, "the other's write is seen")
				assert.Less(e, time.Since(written), 3500*time.Millisecond+e.prompt())
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: payload("3"), TTL: e.ttl()})[0])
				near()
				e.pass(e.ttl())
				assert.Empty(e, near())
			}},
	}
}

func lifeCases() []testCase {
	return []testCase{
		{"Cache/TTL/ValueDiesWhenItEnds", []string{"C2"},
			"A value lives for its time and not longer, whether or not anybody looks.",
			func(e *env) {
				e.setAll(rpw.CacheSet{Key: "k", Data: payload("v"), TTL: e.ttl()}, rpw.CacheSet{Key: "stays", Data: payload("v"), TTL: rpw.NoTTL})
				e.pass(e.ttl())
				assert.False(e, e.get("k").Found)
				assert.False(e, e.remove(rpw.CacheDelete{Key: "k"}).Deleted, "it is as if it had never been")
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: payload("new"), TTL: rpw.NoTTL, When: rpw.IfAbsent})[0])
				e.has("stays", "v")
			}},
		{"Cache/TTL/RemainingCanBeRead", []string{"C2"},
			"A value tells what remains of its time: less and less, at least 1 ms; NoTTL if it has no end.",
			func(e *env) {
				e.setAll(rpw.CacheSet{Key: "k", TTL: time.Hour}, rpw.CacheSet{Key: "for ever", TTL: rpw.NoTTL}, rpw.CacheSet{Key: "most", TTL: rpw.MaxTTL})
				first := e.get("k").TTL
				assert.Greater(e, first, time.Hour-e.patience())
				assert.LessOrEqual(e, first, time.Hour)
				e.pass(e.units(2))
				later := e.get("k").TTL
				assert.Less(e, later, first)
				assert.Equal(e, later, later.Truncate(time.Millisecond), "whole milliseconds")
				assert.Equal(e, rpw.NoTTL, e.get("for ever").TTL)
				assert.Greater(e, e.get("most").TTL, rpw.MaxTTL-e.patience())
			}},
		{"Cache/TTL/FractionsAreRoundedUp", []string{"C2"},
			"A time to live below a millisecond is one millisecond, not none and not for ever; so is what remains of one.",
			func(e *env) {
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "ending", TTL: e.ttl()})[0])
				time.Sleep(e.ttl() - time.Millisecond/2)
				if v := e.get("ending"); v.Found {
					assert.GreaterOrEqual(e, v.TTL, time.Millisecond)
				}
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", TTL: 1})[0])
				if v := e.get("k"); v.Found {
					assert.Equal(e, time.Millisecond, v.TTL)
				}
				e.pass(max(e.unit, time.Millisecond))
				assert.False(e, e.get("k").Found)
			}},
		{"Cache/TTL/KeepLeavesItAsItIs", []string{"C2"},
			"KeepTTL leaves the end of the value it replaces; NoTTL takes it away; without a value KeepTTL is NoTTL.",
			func(e *env) {
				e.setAll(rpw.CacheSet{Key: "k", Data: payload("1"), TTL: time.Hour})
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: payload("2"), TTL: rpw.KeepTTL})[0])
				e.has("k", "2")
				assert.Positive(e, e.get("k").TTL)
				e.set("k", "3")
				assert.Equal(e, rpw.NoTTL, e.get("k").TTL)
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "new", TTL: rpw.KeepTTL})[0])
				assert.Equal(e, rpw.NoTTL, e.get("new").TTL)
				e.setAll(rpw.CacheSet{Key: "lapsed", TTL: e.ttl()})
				e.pass(e.ttl())
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "lapsed", TTL: rpw.KeepTTL})[0])
				assert.Equal(e, rpw.NoTTL, e.get("lapsed").TTL, "what lapsed left nothing to keep")
			}},
		{"Cache/TTL/MustBeSaid", []string{"C2", "E2"},
			"A time to live of 0, a negative one that is no constant, or one above MaxTTL is ErrInvalid, with nothing stored.",
			func(e *env) {
				for _, ttl := range []time.Duration{0, -3, -time.Second, rpw.MaxTTL + 1, 1<<63 - 1} {
					_, err := e.hub.Cache().Set(e.Context(), []rpw.CacheSet{{Key: "k", TTL: ttl}})
					e.is(err, rpw.ErrInvalid, "TTL %v", ttl)
					_, err = e.hub.Cache().Increment(e.Context(), []rpw.CacheIncrement{{Key: "k", By: 1, TTL: ttl}})
					e.is(err, rpw.ErrInvalid, "TTL %v", ttl)
				}
				assert.False(e, e.get("k").Found)
			}},
	}
}

func scanCases() []testCase {
	scan := func(e *env, req rpw.ScanRequest, each func(page int)) (keys []string) {
		for n := 0; ; n++ {
			page, err := e.hub.Cache().Scan(e.Context(), req)
			require.NoError(e, err)
			require.Less(e, n, 1000, "a scan ends")
			keys = append(keys, page.Keys...)
			if req.Cursor = page.Next; req.Cursor == "" {
				return keys
			}
			each(n)
		}
	}
	idle := func(int) {}
	return []testCase{
		{"Cache/Scan/ReturnsWhatIsThere", []string{"C4"},
			"A scan returns every key that is there, in bounded pages, and none that was deleted or has lapsed.",
			func(e *env) {
				assert.Empty(e, scan(e, rpw.ScanRequest{}, idle), "an empty cache")
				var want []string
				for _, n := range numbers(1, 700) {
					e.set("k"+n, "")
					want = append(want, "k"+n)
				}
				e.setAll(rpw.CacheSet{Key: "lapsed", TTL: e.ttl()})
				e.set("gone", "")
				e.remove(rpw.CacheDelete{Key: "gone"})
				e.publish("stream", "x")
				e.pass(e.ttl())
				got := scan(e, rpw.ScanRequest{Max: 50}, idle)
				slices.Sort(got)
				slices.Sort(want)
				assert.Equal(e, want, slices.Compact(got))
			}},
		{"Cache/Scan/PrefixIsLiteral", []string{"C4"},
			"A prefix chooses the keys that begin so, byte for byte; glob characters in it mean themselves.",
			func(e *env) {
				for _, key := range []string{"a:1", "a:2", "ab", "b", "a", "A:1"} {
					e.set(key, "")
				}
				for prefix, want := range map[string][]string{
					"a:": {"a:1", "a:2"}, "a": {"a", "a:1", "a:2", "ab"}, "a*": nil, "?": nil, "[ab]": nil, `\a`: nil, "*": nil, "b": {"b"}, "c": nil,
				} {
					got := scan(e, rpw.ScanRequest{Prefix: prefix}, idle)
					assert.ElementsMatch(e, want, got, "prefix %q", prefix)
				}
			}},
		{"Cache/Scan/WhatLivesThroughItIsReturned", []string{"C4"},
			"Each key that lives from the first page to the last is returned at least once, however many come and go meanwhile.",
			func(e *env) {
				var stay []string
				for _, n := range numbers(1, 300) {
					e.set("stay"+n, "")
					e.set("go"+n, "")
					stay = append(stay, "stay"+n)
				}
				got := scan(e, rpw.ScanRequest{Max: 20}, func(page int) {
					var sets []rpw.CacheSet
					var deletes []rpw.CacheDelete
					for _, n := range numbers(page*20, page*20+20) {
						sets = append(sets, rpw.CacheSet{Key: "new" + n, TTL: rpw.NoTTL})
						deletes = append(deletes, rpw.CacheDelete{Key: "go" + n})
					}
					e.setAll(sets...)
					_, err := e.hub.Cache().Delete(e.Context(), deletes)
					require.NoError(e, err)
				})
				for _, key := range stay {
					require.Contains(e, got, key)
				}
			}},
		{"Cache/Scan/WhatIsOverwrittenIsReturned", []string{"C4"},
			"A key that is set again, and again, while a scan goes on lives through it, and is returned.",
			func(e *env) {
				keys := numbers(1, 300)
				var sets []rpw.CacheSet
				for _, key := range keys {
					sets = append(sets, rpw.CacheSet{Key: key, TTL: rpw.NoTTL})
				}
				e.setAll(sets...)
				got := scan(e, rpw.ScanRequest{Max: 20}, func(int) { e.setAll(sets...) })
				slices.Sort(keys)
				slices.Sort(got)
				assert.Equal(e, keys, slices.Compact(got))
			}},
		{"Cache/Scan/IteratorReturnsEachOnce", []string{"C4", "C7"},
			"The iterator Keys returns each key once, and can be left at any time.",
			func(e *env) {
				for _, n := range numbers(1, 600) {
					e.set("k:"+n, "")
				}
				e.set("other", "")
				seen := make(map[string]int)
				for key, err := range rpw.Keys(e.Context(), e.hub, "k:") {
					require.NoError(e, err)
					seen[key]++
				}
				assert.Len(e, seen, 600)
				for key, n := range seen {
					require.Equal(e, 1, n, key)
				}
				for range rpw.Keys(e.Context(), e.hub, "") {
					break
				}
			}},
		{"Cache/Scan/NegativeMaxIsInvalid", []string{"C4", "E2"},
			"A negative Max is ErrInvalid; a huge one is the largest page.",
			func(e *env) {
				_, err := e.hub.Cache().Scan(e.Context(), rpw.ScanRequest{Max: -1})
				e.is(err, rpw.ErrInvalid)
				e.set("k", "")
				assert.Equal(e, []string{"k"}, scan(e, rpw.ScanRequest{Max: 1 << 30}, idle))
			}},
	}
}
