package conformance

import (
	"maps"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func namespaceCases() []testCase {
	return []testCase{
		{"Hub/Namespace/NamesAreApart", []string{"E2", "C1"},
			"Hubs of different namespaces do not see each other; a Hub without one sees the names of all behind their namespace.",
			func(e *env) {
				a, b := e.on(e.peer(rpw.WithNamespace("a"))), e.on(e.peer(rpw.WithNamespace("b")))
				for text, in := range map[string]*env{"in a": a, "in b": b} {
					in.set("k", text)
					in.publish("s", text)
				}
				a.has("k", "in a")
				b.has("k", "in b")
				assert.Equal(e, []string{"in a"}, texts(a.read("s", rpw.Position{})))
				assert.False(e, e.get("k").Found)
				e.has("a:k", "in a")
				assert.Equal(e, []string{"in b"}, texts(e.read("b:s", rpw.Position{})))
				again := e.on(e.peer(rpw.WithNamespace("a")))
				again.has("k", "in a")
			}},
		{"Hub/Namespace/ListsShowItsOwn", []string{"E2", "C4"},
			"Lists and scans in a namespace return its own names, without it, page by page.",
			func(e *env) {
				a := e.on(e.peer(rpw.WithNamespace("a")))
				for _, other := range []*env{e, e.on(e.peer(rpw.WithNamespace("ab")))} {
					other.set("x", "")
					other.publish("y", "")
				}
				wantKeys, wantStreams := []string{"a:x", "k1", "k2", "k3", "k4"}, []string{"a:y", "s1", "s2", "s3", "s4"}
				for i := range wantKeys {
					a.set(wantKeys[i], "")
					a.publish(wantStreams[i], "")
				}
				var keys []string
				for key, err := range rpw.Keys(e.Context(), a.hub, "") {
					require.NoError(e, err)
					keys = append(keys, key)
				}
				assert.ElementsMatch(e, wantKeys, keys)
				var streams []string
				for req := (rpw.StreamsRequest{Max: 2}); ; {
					page, err := a.hub.Streams().Streams(e.Context(), req)
					require.NoError(e, err)
					streams = append(streams, page.Names...)
					if req.After = page.Next; req.After == "" {
						break
					}
				}
				assert.Equal(e, wantStreams, streams)
			}},
		{"Hub/Namespace/AnswersSpeakTheUsersNames", []string{"E2", "S5", "G4"},
			"Infos, errors, gaps and dead letters in a namespace carry the names as the user gave them.",
			func(e *env) {
				a := e.on(e.peer(rpw.WithNamespace("a")))
				info := a.group("s", "g")
				assert.Equal(e, "s", info.Stream)
				at := a.publish("s", numbers(1, 300)...)
				assert.Equal(e, "s", a.info("s").Name)
				assert.Equal(e, "s", a.groupInfo("s", "g").Stream)
				a.verdict("s", "g", a.fetchOne("s", "g", "c"), rpw.Settlement{Verdict: rpw.Reject})
				assert.Len(e, a.read(rpw.DeadLetter("s", "g"), rpw.Position{}), 1)
				require.Positive(e, a.trim("s", 10))
				assert.Equal(e, "s", a.lostAfter("s", at[0]).Stream)
				_, err := a.hub.Streams().Fetch(e.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c"})
				assert.Equal(e, "s", e.gap(err).Stream)
				_, err = a.hub.Streams().StreamInfo(e.Context(), "absent")
				e.is(err, rpw.ErrNotFound)
				assert.NotContains(e, err.Error(), "a:absent")
			}},
		{"Hub/Namespace/NoWayOut", []string{"E2", "E6"},
			"No name, prefix or cursor leads out of a namespace.",
			func(e *env) {
				e.set("secrets", "x")
				e.publish("secret", "x")
				a := e.on(e.peer(rpw.WithNamespace("a")))
				for _, name := range []string{"../secret", "..", ":..:secret"} {
					_, err := a.hub.Cache().Get(e.Context(), rpw.GetRequest{Keys: []string{name}})
					e.is(err, rpw.ErrInvalid, name)
				}
				for _, prefix := range []string{"", "s", "secret", "*", "\x00"} {
					page, err := a.hub.Cache().Scan(e.Context(), rpw.ScanRequest{Prefix: prefix})
					require.NoError(e, err)
					assert.Empty(e, page.Keys, "prefix %q", prefix)
					streams, err := a.hub.Streams().Streams(e.Context(), rpw.StreamsRequest{Prefix: prefix})
					require.NoError(e, err)
					assert.Empty(e, streams.Names, "prefix %q", prefix)
				}
			}},
		{"Hub/Namespace/LongNamesFit", []string{"E2", "A7"},
			"The longest name works in the longest namespace.",
			func(e *env) {
				a := e.on(e.peer(rpw.WithNamespace(strings.Repeat("p", 64))))
				key, name := strings.Repeat("k", rpw.MaxName), strings.Repeat("n", rpw.MaxName)
				a.set(key, "v")
				a.has(key, "v")
				a.publish(name, "v")
				a.group(name, name)
				a.verdict(name, name, a.fetchOne(name, name, name), rpw.Settlement{Verdict: rpw.Reject})
				assert.Len(e, a.read(rpw.DeadLetter(name, name), rpw.Position{}), 1)
				b := a.board()
				spec := job(name, name)
				b.add(spec)
				beat := rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: name, Name: name, Status: rpw.WorkerIdle}}
				_, err := b.Heartbeat(e.Context(), beat)
				require.NoError(e, err)
				claimed := b.take(rpw.ClaimRequest{Queues: []string{name}, Worker: name})
				require.Len(e, claimed, 1)
				assert.Equal(e, name, claimed[0].Worker)
				assert.Equal(e, name, b.get(spec.Ref).Worker)
				b.commanded(rpw.Cancel, spec.Ref)
				signals, err := b.Heartbeat(e.Context(), beat)
				require.NoError(e, err)
				assert.Len(e, signals, 1)
			}},
		{"Hub/Namespace/BadOnesAreRefused", []string{"E2"},
			"A namespace is a name of at most 64 bytes, or none.",
			func(e *env) {
				bad := maps.Clone(badNames)
				bad["65 bytes"] = strings.Repeat("p", 65)
				delete(bad, "empty")
				for what, namespace := range bad {
					_, err := rpw.New(rpw.Parts{Name: "x"}, rpw.WithNamespace(namespace))
					e.is(err, rpw.ErrInvalid, what)
				}
				e.on(e.peer(rpw.WithNamespace(""))).set("k", "v")
				e.has("k", "v")
			}},
	}
}
