package conformance

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// goodNames are names that work end to end, each apart from the others.
var goodNames = []string{
	"a", "A", "0", "-", "a:", "a:b", "a::b", ":a", "a/b", "/a", "a//b", "my stream", "a.b", "a..b", "...", "original.log",
	"é", "e\u0301", "日本語", "שלום", "مرحبا", "😀", "👩‍👩‍👧", "ﬁ", "ß", "$", "%s", "'", `"`, "`", "<>", "a=b&c", "KEYS", "null", "true", "s!x", "!", "dead!", "#", "~", "|", "a,b", "a;b",
	strings.Repeat("n", rpw.MaxName), strings.Repeat("é", 127),
}

// badNames are what no name may be, by what is wrong.
var badNames = map[string]string{
	"empty": "", "too long": strings.Repeat("n", rpw.MaxName+1), "a mebibyte": strings.Repeat("n", 1<<20), "too long in bytes": strings.Repeat("é", 128),
	"leading space": " a", "trailing space": "a ", "a space": " ",
	"NUL": "a\x00b", "CR": "a\rb", "LF": "a\nb", "TAB": "a\tb", "ESC": "\x1b[2J", "DEL": "a\x7f", "C1": "a\u0085b",
	"invalid UTF-8": "a\xffb", "cut UTF-8": "a\xc3", "overlong UTF-8": "\xc0\xaf", "surrogate": "\xed\xa0\x80",
	"line separator": "a\u2028b", "bidi override": "a\u202eb", "bidi isolate": "a\u2066b", "bidi mark": "a\u200fb", "byte order mark": "\ufeffa",
	"star": "a*", "question mark": "a?", "bracket": "[a]", "backslash": `a\b`, "caret": "^a", "braces": "{a}", "an open brace": "a{", "a close brace": "}",
	"dots": "..", "dots first": "../a", "dots last": "a/..", "dots between": "a/../b", "dots by colon": "a:..:b",
	"reserved": "a!dead!b!dead!c",
}

// namedVerbs call every verb of streams, groups and cache with a name, each in every place where one goes.
func namedVerbs(h *rpw.Hub, name string) map[string]func(ctx context.Context) error {
	bus, cache := h.Streams(), h.Cache()
	publish := func(b rpw.Batch) func(context.Context) error {
		return func(ctx context.Context) error {
			answers, err := bus.Publish(ctx, []rpw.Batch{b})
			if err == nil {
				err = answers[0].Err
			}
			return err
		}
	}
	fetch := func(req rpw.FetchRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := bus.Fetch(ctx, req); return err }
	}
	ack := []rpw.Settlement{{Verdict: rpw.Ack}}
	settle := func(stream, group string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := bus.Settle(ctx, rpw.SettleRequest{Stream: stream, Group: group, Settlements: ack})
			return err
		}
	}
	administer := func(cmd rpw.GroupCommand) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := bus.Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
			return err
		}
	}
	return map[string]func(ctx context.Context) error{
		"publish to":     publish(rpw.Batch{Stream: name, Events: items("x")}),
		"publish type":   publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: name}}}),
		"publish header": publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Header: map[string]string{name: ""}}}}),
		"locate":         func(ctx context.Context) error { _, err := bus.Locate(ctx, name, rpw.Newest()); return err },
		"read":           func(ctx context.Context) error { _, err := bus.Read(ctx, rpw.ReadRequest{Stream: name}); return err },
		"info":           func(ctx context.Context) error { _, err := bus.StreamInfo(ctx, name); return err },
		"trim":           func(ctx context.Context) error { _, err := bus.Trim(ctx, name, rpw.Retention{Events: 1}); return err },
		"delete events":  func(ctx context.Context) error { _, err := bus.DeleteEvents(ctx, name, []rpw.ID{{MS: 1}}); return err },
		"delete stream":  func(ctx context.Context) error { return bus.DeleteStream(ctx, name) },
		"ensure group": func(ctx context.Context) error {
			_, err := bus.EnsureGroup(ctx, rpw.GroupConfig{Stream: "s", Group: name})
			return err
		},
		"ensure stream": func(ctx context.Context) error {
			_, err := bus.EnsureGroup(ctx, rpw.GroupConfig{Stream: name, Group: "g"})
			return err
		},
		"fetch stream":   fetch(rpw.FetchRequest{Stream: name, Group: "g", Consumer: "c"}),
		"fetch group":    fetch(rpw.FetchRequest{Stream: "s", Group: name, Consumer: "c"}),
		"fetch consumer": fetch(rpw.FetchRequest{Stream: "s", Group: "g", Consumer: name}),
		"settle stream":  settle(name, "g"),
		"settle group":   settle("s", name),
		"groups":         func(ctx context.Context) error { _, err := bus.Groups(ctx, name); return err },
		"pending stream": func(ctx context.Context) error {
			_, err := bus.Pending(ctx, rpw.PendingRequest{Stream: name, Group: "g"})
			return err
		},
		"pending group": func(ctx context.Context) error {
			_, err := bus.Pending(ctx, rpw.PendingRequest{Stream: "s", Group: name})
			return err
		},
		"administer":      administer(rpw.GroupCommand{Stream: name, Group: "g", Verb: rpw.DeleteGroup}),
		"remove consumer": administer(rpw.GroupCommand{Stream: "s", Group: "g", Verb: rpw.RemoveConsumer, Consumer: name}),
		"get": func(ctx context.Context) error {
			_, err := cache.Get(ctx, rpw.GetRequest{Keys: []string{"k", name}})
			return err
		},
		"set": func(ctx context.Context) error {
			_, err := cache.Set(ctx, []rpw.CacheSet{{Key: "k", TTL: rpw.NoTTL}, {Key: name, TTL: rpw.NoTTL}})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := cache.Delete(ctx, []rpw.CacheDelete{{Key: name}})
			return err
		},
		"increment": func(ctx context.Context) error {
			_, err := cache.Increment(ctx, []rpw.CacheIncrement{{Key: name, By: 1, TTL: rpw.NoTTL}})
			return err
		},
		"subscribe": func(ctx context.Context) error {
			_, err := rpw.StreamOf[int](name).Subscribe(ctx, h, rpw.Newest())
			return err
		},
	}
}

func nameCases() []testCase {
	return []testCase{
		{"Names/Bad/RefusedByEveryVerb", []string{"E2", "E6"},
			"A bad name is ErrInvalid from every verb, before anything reaches the driver; the error quotes it, and never echoes raw bytes.",
			func(e *env) {
				h, faults := e.faulty()
				for _, what := range slices.Sorted(maps.Keys(badNames)) {
					for verb, call := range namedVerbs(h, badNames[what]) {
						err := call(e.Context())
						require.Error(e, err, "%s, a name with: %s", verb, what)
						require.Equal(e, "invalid", rpw.Code(err), "%s, a name with: %s: %v", verb, what, err)
						assert.NotContains(e, printable(err.Error()), "\uFFFD", "%s, a name with: %s", verb, what)
						assert.Less(e, len(err.Error()), 2000, "%s, a name with: %s", verb, what)
					}
				}
				assert.Zero(e, faults.count(), "calls that reached the driver")
			}},
		{"Names/Bad/NothingIsDone", []string{"E2", "S2"},
			"A call with one bad name among good ones does nothing for the good ones either.",
			func(e *env) {
				for _, name := range []string{"", "*", "a\nb"} {
					for _, call := range namedVerbs(e.hub, name) {
						require.Error(e, call(e.Context()))
					}
				}
				assert.False(e, e.get("k").Found)
				page, err := e.hub.Streams().Streams(e.Context(), rpw.StreamsRequest{DeadLetters: true})
				require.NoError(e, err)
				assert.Empty(e, page.Names)
			}},
		{"Names/Good/StreamsAreApart", []string{"S1", "C1"},
			"Every good name works for a stream, its type, key and header, is listed as it was given, and is apart from all others.",
			func(e *env) {
				for _, name := range goodNames {
					e.publishEvents(name, rpw.NewEvent{Type: name, Key: name, Data: payload(name), Header: map[string]string{name: name}})
				}
				for _, name := range goodNames {
					got := e.read(name, rpw.Position{})
					require.Len(e, got, 1, "%q", name)
					assert.Equal(e, []string{name, name, name, name}, []string{got[0].Type, got[0].Key, textOf(got[0].Data), got[0].Header[name]})
					assert.Equal(e, name, e.info(name).Name)
				}
				page, err := e.hub.Streams().Streams(e.Context(), rpw.StreamsRequest{})
				require.NoError(e, err)
				assert.Equal(e, slices.Sorted(slices.Values(goodNames)), page.Names, "by name, bytewise")
			}},
		{"Names/Good/KeysAreApart", []string{"C1", "C4"},
			"Every good name works for a key, is scanned as it was given, and is apart from all others.",
			func(e *env) {
				for _, name := range goodNames {
					e.set(name, name)
				}
				for _, name := range goodNames {
					e.has(name, name)
				}
				var got []string
				for key, err := range rpw.Keys(e.Context(), e.hub, "") {
					require.NoError(e, err)
					got = append(got, key)
				}
				assert.ElementsMatch(e, goodNames, got)
			}},
		{"Names/Good/GroupsAndConsumersAreApart", []string{"G1", "G6"},
			"Every good name works for a group and a consumer, with a dead-letter stream of its own.",
			func(e *env) {
				e.publish("s", "a")
				for _, name := range goodNames {
					e.group("s", name, func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
					e.verdict("s", name, e.fetchOne("s", name, name), rpw.Settlement{Verdict: rpw.Reject, Reason: name})
				}
				for _, name := range goodNames {
					dead := e.read(rpw.DeadLetter("s", name), rpw.Position{})
					require.Len(e, dead, 1, "%q", name)
					assert.Equal(e, name, dead[0].Header[rpw.HeaderDeadConsumer])
					assert.Equal(e, name, dead[0].Header[rpw.HeaderDeadReason])
				}
				groups, err := e.hub.Streams().Groups(e.Context(), "s")
				require.NoError(e, err)
				var got []string
				for _, g := range groups {
					got = append(got, g.Group)
				}
				assert.Equal(e, slices.Sorted(slices.Values(goodNames)), got)
			}},
		{"Names/Good/OneNameManyKinds", []string{"E2", "C1"},
			"A stream, a key, a group, a consumer and an event key of one name have nothing to do with each other.",
			func(e *env) {
				e.set("x", "value")
				e.publishEvents("x", rpw.NewEvent{Type: "x", Key: "x", Data: payload("event")})
				e.group("x", "x")
				assert.Equal(e, "event", textOf(e.fetchOne("x", "x", "x").Data))
				e.increment(rpw.CacheIncrement{Key: "n", By: 1, TTL: rpw.NoTTL})
				require.NoError(e, e.hub.Streams().DeleteStream(e.Context(), "x"))
				e.has("x", "value")
				e.publish("x", "again")
				e.remove(rpw.CacheDelete{Key: "x"})
				assert.Equal(e, []string{"again"}, texts(e.read("x", rpw.Position{})))
			}},
		{"Names/Good/DeadLetterStreamsAreReserved", []string{"G4", "E2"},
			"Only a dead-letter name of a good stream and a good group is a stream's name with the reserved mark.",
			func(e *env) {
				_, err := e.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: rpw.DeadLetter("s", "g")})
				require.NoError(e, err)
				for _, name := range []string{rpw.DeadLetter("", "g"), rpw.DeadLetter("s", ""), rpw.DeadLetter("s*", "g"), rpw.DeadLetter("s", " g")} {
					_, err := e.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: name})
					e.is(err, rpw.ErrInvalid, "%q", name)
				}
				_, err = e.hub.Cache().Get(e.Context(), rpw.GetRequest{Keys: []string{rpw.DeadLetter("s", "g")}})
				e.is(err, rpw.ErrInvalid, "a key is no stream")
			}},
		{"Names/Numbers/OutOfRangeIsRefused", []string{"E2"},
			"A number or a time out of its range is ErrInvalid or ErrTooLarge, by the table, before anything reaches the driver.",
			func(e *env) {
				h, faults := e.faulty()
				for what, c := range badNumbers(h) {
					err := c.call(e.Context())
					require.Error(e, err, what)
					assert.Equal(e, rpw.Code(c.kind), rpw.Code(err), "%s: %v", what, err)
				}
				assert.Zero(e, faults.count(), "calls that reached the driver")
			}},
		{"Names/Numbers/PositionsAreParsedStrictly", []string{"S1", "E2"},
			"Text that is no position or id as rpw writes it is ErrInvalid.",
			func(e *env) {
				for _, text := range []string{"0", "x", "1.0.1.1.1", "2.1.1.1.1", "1.1.1.1", "1.1.1.1.1.1", "1.+1.1.1.1", "1.01.1.1.1", "1.A.1.1.1", "1.1.1.1.-1", "1.zzzzzzzzzzzzzz.1.1.1", strings.Repeat("1", 100)} {
					_, err := rpw.ParsePosition(text)
					e.is(err, rpw.ErrInvalid, text)
				}
				for _, text := range []string{"", "1", "1-", "-1", "1-1-1", "01-1", "+1-1", "1-18446744073709551616", "$", "*"} {
					_, err := rpw.ParseID(text)
					e.is(err, rpw.ErrInvalid, text)
				}
				id, err := rpw.ParseID("18446744073709551615-18446744073709551615")
				require.NoError(e, err)
				n, err := e.hub.Streams().DeleteEvents(e.Context(), "s", []rpw.ID{id})
				require.NoError(e, err, "the last possible id is an id like any other")
				assert.Zero(e, n)
			}},
	}
}

// printable shows each raw control, bidi or broken character as U+FFFD.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r <= 0x9f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200f || r == 0xfeff {
			return '\uFFFD'
		}
		return r
	}, s)
}

type badCall struct {
	kind error
	call func(ctx context.Context) error
}

// badNumbers are calls with one number or time out of range.
func badNumbers(h *rpw.Hub) map[string]badCall {
	bus, cache := h.Streams(), h.Cache()
	calls := make(map[string]badCall)
	read := func(what string, req rpw.ReadRequest) {
		req.Stream = "s"
		calls["read "+what] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := bus.Read(ctx, req); return err }}
	}
	at := rpw.Position{Epoch: 1, ID: rpw.ID{MS: 5}, Count: 5}
	read("max", rpw.ReadRequest{Max: -1})
	read("wait", rpw.ReadRequest{Wait: -1})
	read("range", rpw.ReadRequest{After: at, Until: rpw.ID{MS: 4}})
	read("range in reverse", rpw.ReadRequest{After: at, Until: rpw.ID{MS: 6}, Reverse: true})
	read("position without epoch", rpw.ReadRequest{After: rpw.Position{ID: rpw.ID{MS: 5}}})

	locate := func(what string, start rpw.Start) {
		calls["locate "+what] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := bus.Locate(ctx, "s", start); return err }}
	}
	locate("last 0", rpw.Last(0))
	locate("last -1", rpw.Last(-1))
	locate("since zero", rpw.Since(time.Time{}))
	locate("since before 1970", rpw.Since(time.UnixMilli(-1)))
	locate("kind", rpw.Start{Kind: 99})

	publish := func(what string, kind error, batches ...rpw.Batch) {
		calls["publish "+what] = badCall{kind, func(ctx context.Context) error { _, err := bus.Publish(ctx, batches); return err }}
	}
	b := rpw.Batch{Stream: "s", Events: items("x")}
	publish("no batch", rpw.ErrInvalid)
	publish("too many batches", rpw.ErrTooLarge, slices.Repeat([]rpw.Batch{b}, rpw.MaxBatch+1)...)
	publish("keep -2", rpw.ErrInvalid, rpw.Batch{Stream: "s", Events: b.Events, Keep: rpw.Retention{Events: -2}})
	publish("age", rpw.ErrInvalid, rpw.Batch{Stream: "s", Events: b.Events, Keep: rpw.Retention{Age: -1}})
	publish("key window", rpw.ErrInvalid, rpw.Batch{Stream: "s", Events: b.Events, KeyWindow: 24*time.Hour + 1})
	publish("negative key window", rpw.ErrInvalid, rpw.Batch{Stream: "s", Events: b.Events, KeyWindow: -1})
	publish("header with NUL", rpw.ErrInvalid, rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Header: map[string]string{"h": "\x00"}}}})

	group := func(what string, cfg rpw.GroupConfig) {
		cfg.Stream, cfg.Group = "s", "g"
		calls["group "+what] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := bus.EnsureGroup(ctx, cfg); return err }}
	}
	group("short lease", rpw.GroupConfig{Lease: rpw.MinLease - 1})
	group("long lease", rpw.GroupConfig{Lease: rpw.MaxLease + 1})
	group("negative lease", rpw.GroupConfig{Lease: -time.Second})
	group("deliveries", rpw.GroupConfig{MaxDeliveries: -2})
	group("dead letters", rpw.GroupConfig{DeadLetter: rpw.Retention{Events: -2}})

	fetch := func(what string, req rpw.FetchRequest) {
		req.Stream, req.Group, req.Consumer = "s", "g", "c"
		calls["fetch "+what] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := bus.Fetch(ctx, req); return err }}
	}
	fetch("max", rpw.FetchRequest{Max: -1})
	fetch("wait", rpw.FetchRequest{Wait: -1})
	fetch("lease", rpw.FetchRequest{Lease: 1})

	settle := func(what string, kind error, settlements ...rpw.Settlement) {
		calls["settle "+what] = badCall{kind, func(ctx context.Context) error {
			_, err := bus.Settle(ctx, rpw.SettleRequest{Stream: "s", Group: "g", Settlements: settlements})
			return err
		}}
	}
	settle("nothing", rpw.ErrInvalid)
	settle("too many", rpw.ErrTooLarge, slices.Repeat([]rpw.Settlement{{Verdict: rpw.Ack}}, rpw.MaxBatch+1)...)
	settle("no verdict", rpw.ErrInvalid, rpw.Settlement{})
	settle("unknown verdict", rpw.ErrInvalid, rpw.Settlement{Verdict: 99})
	settle("ack with delay", rpw.ErrInvalid, rpw.Settlement{Verdict: rpw.Ack, Delay: 1})
	settle("long nack", rpw.ErrInvalid, rpw.Settlement{Verdict: rpw.Nack, Delay: 24*time.Hour + 1})
	settle("negative nack", rpw.ErrInvalid, rpw.Settlement{Verdict: rpw.Nack, Delay: -1})
	settle("short extension", rpw.ErrInvalid, rpw.Settlement{Verdict: rpw.Extend, Delay: 1})
	settle("long reason", rpw.ErrTooLarge, rpw.Settlement{Verdict: rpw.Reject, Reason: strings.Repeat("x", 16<<10+1)})

	administer := func(what string, kind error, cmd rpw.GroupCommand) {
		cmd.Stream, cmd.Group = "s", "g"
		calls["administer "+what] = badCall{kind, func(ctx context.Context) error {
			_, err := bus.Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
			return err
		}}
	}
	administer("nothing", rpw.ErrInvalid, rpw.GroupCommand{})
	administer("max", rpw.ErrInvalid, rpw.GroupCommand{Verb: rpw.Redrive, Max: -1})
	administer("too many ids", rpw.ErrTooLarge, rpw.GroupCommand{Verb: rpw.Redrive, IDs: make([]rpw.ID, rpw.MaxBatch+1)})
	administer("from", rpw.ErrInvalid, rpw.GroupCommand{Verb: rpw.ResetGroup, From: rpw.Last(-1)})

	get := func(what string, kind error, req rpw.GetRequest) {
		calls["get "+what] = badCall{kind, func(ctx context.Context) error { _, err := cache.Get(ctx, req); return err }}
	}
	get("nothing", rpw.ErrInvalid, rpw.GetRequest{})
	get("too many", rpw.ErrTooLarge, rpw.GetRequest{Keys: slices.Repeat([]string{"k"}, rpw.MaxBatch+1)})
	get("stale", rpw.ErrInvalid, rpw.GetRequest{Keys: []string{"k"}, MaxStale: -1})
	calls["set nothing"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := cache.Set(ctx, nil); return err }}
	calls["set too much together"] = badCall{rpw.ErrTooLarge, func(ctx context.Context) error {
		_, err := cache.Set(ctx, slices.Repeat([]rpw.CacheSet{{Key: "k", Data: make([]byte, rpw.MaxPayload), TTL: rpw.NoTTL}}, 9))
		return err
	}}
	calls["delete nothing"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := cache.Delete(ctx, nil); return err }}
	calls["increment nothing"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := cache.Increment(ctx, nil); return err }}
	calls["streams max"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := bus.Streams(ctx, rpw.StreamsRequest{Max: -1}); return err }}
	calls["pending max"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error {
		_, err := bus.Pending(ctx, rpw.PendingRequest{Stream: "s", Group: "g", Max: -1})
		return err
	}}
	calls["trim bound"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error { _, err := bus.Trim(ctx, "s", rpw.Retention{Events: -5}); return err }}
	calls["nil handler"] = badCall{rpw.ErrInvalid, func(ctx context.Context) error {
		return rpw.Consume(ctx, h, "s", rpw.Consumer{Group: "g"}, nil)
	}}
	calls["nil context"] = badCall{rpw.ErrInvalid, func(context.Context) error {
		var none context.Context
		_, err := bus.Read(none, rpw.ReadRequest{Stream: "s"})
		return err
	}}
	return calls
}
