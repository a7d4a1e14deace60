package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
				defer func() { require.NoError(e, parts.Close(e.Context())) }()
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
					ctx, cancel := context.WithTimeout(e.Context(), time.Duration(n)*e.unit/10)
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
					other.publish("x", "")
				}
				want := []string{"a:x", "k1", "k2", "k3", "k4"}
				for _, name := range want {
					a.set(name, "")
					a.publish(name, "")
				}
				var keys []string
				for key, err := range rpw.Keys(e.Context(), a.hub, "") {
					require.NoError(e, err)
					keys = append(keys, key)
				}
				assert.ElementsMatch(e, want, keys)
				var streams []string
				for req := (rpw.StreamsRequest{Max: 2}); ; {
					page, err := a.hub.Streams().Streams(e.Context(), req)
					require.NoError(e, err)
					streams = append(streams, page.Names...)
					if req.After = page.Next; req.After == "" {
						break
					}
				}
				assert.Equal(e, want, streams)
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
				e.set("secret", "x")
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
		{"Hub/Namespace/LongNamesFit", []string{"E2"},
			"The longest name works in the longest namespace.",
			func(e *env) {
				a := e.on(e.peer(rpw.WithNamespace(strings.Repeat("p", 64))))
				name := strings.Repeat("n", rpw.MaxName)
				a.set(name, "v")
				a.has(name, "v")
				a.publish(name, "v")
				a.group(name, name)
				a.verdict(name, name, a.fetchOne(name, name, name), rpw.Settlement{Verdict: rpw.Reject})
				assert.Len(e, a.read(rpw.DeadLetter(name, name), rpw.Position{}), 1)
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

func closeCases() []testCase {
	return []testCase{
		{"Hub/Close/LaterCallsAreErrClosed", []string{"E2"},
			"After Close every verb is ErrClosed; closing again is no error; the zero Hub is closed.",
			func(e *env) {
				h := e.peer()
				require.NoError(e, h.Close())
				require.NoError(e, h.Close())
				for which, hub := range map[string]*rpw.Hub{"closed": h, "zero": new(rpw.Hub)} {
					for verb, call := range namedVerbs(hub, "x") {
						e.is(call(e.Context()), rpw.ErrClosed, "%s hub, %s", which, verb)
					}
					e.is(hub.Health(e.Context()), rpw.ErrClosed, which)
				}
				require.NoError(e, new(rpw.Hub).Close())
			}},
		{"Hub/Close/OthersGoOn", []string{"E1"},
			"Closing a Hub touches no other Hub of the backend, and no data.",
			func(e *env) {
				h := e.peer()
				e.on(h).publish("s", "a")
				e.on(h).set("k", "v")
				read := e.waitRead(rpw.ReadRequest{Stream: "other"})
				e.idle()
				require.NoError(e, h.Close())
				e.has("k", "v")
				e.publish("other", "b")
				_, err := await(e, read)
				require.NoError(e, err)
				assert.Equal(e, []string{"a"}, texts(e.on(e.peer()).read("s", rpw.Position{})))
			}},
		{"Hub/Close/HooksRunFirstLastOneFirst", []string{"E1"},
			"What was registered to run at Close runs before the driver closes, the last one first, and can use the Hub.",
			func(e *env) {
				h := e.peer()
				var order []string
				for _, n := range numbers(1, 3) {
					_, err := h.OnClose(func(ctx context.Context) error {
						order = append(order, n)
						return rpw.Set(ctx, h, "hook"+n, true)
					})
					require.NoError(e, err)
				}
				remove, err := h.OnClose(func(context.Context) error { return errors.New("was taken off") })
				require.NoError(e, err)
				remove()
				require.NoError(e, h.Close())
				assert.Equal(e, []string{"3", "2", "1"}, order)
				e.has("hook1", "true")
				_, err = h.OnClose(func(context.Context) error { return nil })
				e.is(err, rpw.ErrClosed)
			}},
		{"Hub/Close/ClosedDriverDoesNotWait", []string{"E1", "E2"},
			"A call that would wait through a driver that was closed is ErrClosed at once.",
			func(e *env) {
				parts, err := e.backend.Connect()
				require.NoError(e, err)
				require.NoError(e, parts.Close(e.Context()))
				ctx := e.Context()
				_, err = await(e, start(func() ([]rpw.Event, error) {
					return parts.Streams.Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
				}))
				require.ErrorIs(e, err, rpw.ErrClosed)
			}},
		{"Hub/Close/PublishersInFlight", []string{"S2", "E2"},
			"Publishes that run while the Hub closes end with nil, and are stored, or with an error; none hangs.",
			func(e *env) {
				h := e.peer()
				var calls []<-chan answer[int]
				for p := range 8 {
					bus, ctx := h.Streams(), e.Context()
					calls = append(calls, start(func() (stored int, err error) {
						for {
							if _, err := bus.Publish(ctx, []rpw.Batch{{Stream: "s", Events: items(fmt.Sprint(p))}}); err != nil {
								return stored, err
							}
							if stored++; stored == 50 && p == 0 {
								h.Close()
							}
						}
					}))
				}
				total := 0
				for _, c := range calls {
					n, err := await(e, c)
					require.Contains(e, []string{"closed", "uncertain"}, rpw.Code(err), "%v", err)
					total += n
				}
				got := len(e.read("s", rpw.Position{}))
				assert.GreaterOrEqual(e, got, total)
				assert.LessOrEqual(e, got, total+len(calls), "those of unknown outcome")
			}},
	}
}

// watcher is an Observer that notes what it is told.
type watcher struct {
	mu      sync.Mutex
	begun   []rpw.Operation
	ended   []rpw.Operation
	out     []rpw.Outcome
	notices []rpw.Notice
}

type watched struct{}

func (w *watcher) Begin(ctx context.Context, op rpw.Operation) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = append(w.begun, op)
	return context.WithValue(ctx, watched{}, op.Verb)
}

func (w *watcher) End(ctx context.Context, op rpw.Operation, out rpw.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, op)
	w.out = append(w.out, out)
}

func (w *watcher) Notify(n rpw.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = append(w.notices, n)
}

func observerCases() []testCase {
	return []testCase{
		{"Hub/Observer/SeesEveryCall", []string{"E5"},
			"An observer is told of every verb that goes to the driver: begin and end, how many items, retries, and the error; no name of a user.",
			func(e *env) {
				w := new(watcher)
				h, faults := e.faulty(rpw.WithObserver(w))
				other := e.on(h)
				faults.spoil("Streams.Publish", refused, lost)
				other.publish("canary", "canary")
				other.set("canary", "canary")
				other.getAll("canary", "canary2")
				_, err := h.Streams().StreamInfo(e.Context(), "canary2")
				require.Error(e, err)
				assert.Equal(e, w.begun, w.ended)
				require.Len(e, w.ended, 4)
				assert.Equal(e, 2, w.out[0].Retries)
				assert.Equal(e, 2, w.ended[2].Items)
				for i, op := range w.ended {
					assert.Equal(e, e.hub.Driver(), op.Driver)
					assert.NotEmpty(e, op.Verb)
					assert.NotContains(e, fmt.Sprint(op), "canary")
					assert.Equal(e, i == 3, w.out[i].Err != nil)
				}
				assert.Equal(e, "not_found", rpw.Code(w.out[3].Err))
				require.Len(e, w.notices, 2)
				for _, n := range w.notices {
					assert.Equal(e, rpw.NoticeRetry, n.Kind)
					assert.Error(e, n.Err)
				}
			}},
		{"Hub/Observer/ItsContextReachesTheDriver", []string{"E5"},
			"What an observer puts into the context, a span for instance, goes to the driver, together with the caller's own values.",
			func(e *env) {
				type own struct{}
				var verb, caller any
				h := e.decorated(func(p rpw.Parts) rpw.Parts {
					p.Cache = cacheSpy{p.Cache, func(ctx context.Context) { verb, caller = ctx.Value(watched{}), ctx.Value(own{}) }}
					return p
				}, rpw.WithObserver(new(watcher)), rpw.WithObserver(new(watcher)))
				_, err := h.Cache().Get(context.WithValue(e.Context(), own{}, "mine"), rpw.GetRequest{Keys: []string{"k"}})
				require.NoError(e, err)
				assert.Equal(e, "get", verb)
				assert.Equal(e, "mine", caller)
			}},
		{"Hub/Observer/WaitsAreMarked", []string{"E5"},
			"A call that waits says so, since its time tells nothing about the backend; it ends also when its context does.",
			func(e *env) {
				w := new(watcher)
				h := e.peer(rpw.WithObserver(w))
				ctx, cancel := context.WithTimeout(e.Context(), e.units(3))
				defer cancel()
				_, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
				require.ErrorIs(e, err, context.DeadlineExceeded)
				require.Len(e, w.ended, 1)
				assert.True(e, w.ended[0].Waits)
				assert.GreaterOrEqual(e, w.out[0].Took, e.units(2))
				assert.ErrorIs(e, w.out[0].Err, context.DeadlineExceeded)
			}},
		{"Hub/Observer/IsToldOfGaps", []string{"E5", "S5"},
			"A subscription that meets a gap tells the observer.",
			func(e *env) {
				w := new(watcher)
				h := e.peer(rpw.WithObserver(w))
				notes := rpw.StreamOf[note]("notes")
				sub, err := notes.Subscribe(e.Context(), h, rpw.Newest(), rpw.OnGap(rpw.GapContinue))
				require.NoError(e, err)
				e.loseHistory(notes)
				_, err = sub.Next(e.promptly())
				require.NoError(e, err)
				require.Len(e, w.notices, 1)
				assert.Equal(e, rpw.NoticeGap, w.notices[0].Kind)
			}},
		{"Hub/Health/ABackendThatAnswersIsWell", []string{"E5"},
			"Health is nil for a backend that answers, and its error for one that does not.",
			func(e *env) {
				require.NoError(e, e.hub.Health(e.promptly()))
				sick := e.decorated(func(p rpw.Parts) rpw.Parts {
					p.Health = func(context.Context) error { return rpw.Errorf(rpw.ErrPermission, "no") }
					return p
				})
				e.is(sick.Health(e.Context()), rpw.ErrPermission)
			}},
	}
}

// cacheSpy shows the context of each Get.
type cacheSpy struct {
	rpw.Cache
	see func(context.Context)
}

func (c cacheSpy) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	c.see(ctx)
	return c.Cache.Get(ctx, req)
}

func errorCases() []testCase {
	return []testCase{
		{"Hub/Errors/OneWrapper", []string{"E2"},
			"An error says the verb, the driver and the target as the user wrote it, and matches one sentinel.",
			func(e *env) {
				_, err := e.on(e.peer(rpw.WithNamespace("ns"))).hub.Streams().StreamInfo(e.Context(), "absent")
				e.is(err, rpw.ErrNotFound)
				wrapped, ok := errors.AsType[*rpw.Error](err)
				require.True(e, ok)
				assert.NotEmpty(e, wrapped.Op)
				assert.Equal(e, e.hub.Driver(), wrapped.Driver)
				assert.Equal(e, "absent", wrapped.Target)
				assert.Equal(e, rpw.ErrNotFound, wrapped.Kind)
			}},
		{"Hub/Errors/WhatIsNotImplementedSaysSo", []string{"E2"},
			"A part that a driver does not have is errors.ErrUnsupported, as it is, and never silence.",
			func(e *env) {
				h := e.decorated(func(p rpw.Parts) rpw.Parts {
					p.Streams, p.Cache = nil, nil
					return p
				})
				for verb, call := range namedVerbs(h, "x") {
					require.ErrorIs(e, call(e.Context()), errors.ErrUnsupported, verb)
				}
			}},
		{"Hub/Errors/WhatIsUnavailableIsRetriedThenSaid", []string{"E2", "E1"},
			"A backend that stays away is ErrUnavailable after some seconds of repeats, sooner if the context ends.",
			func(e *env) {
				h, faults := e.faulty()
				faults.spoil("Cache.Get", slices.Repeat([]fault{refused}, 1000)...)
				ctx, cancel := context.WithTimeout(e.Context(), max(300*time.Millisecond, e.units(5)))
				defer cancel()
				cache := h.Cache()
				_, err := await(e, start(func() ([]rpw.Value, error) { return cache.Get(ctx, rpw.GetRequest{Keys: []string{"k"}}) }))
				e.is(err, rpw.ErrUnavailable)
				assert.Greater(e, faults.count(), 1, "it was tried again")
			}},
		{"Hub/Errors/NoSecretInAnyText", []string{"E6"},
			"No payload, old value, header or argument shows in the text of an error, however it is printed.",
			func(e *env) {
				const canary = "CANARY-6f1c"
				var errs []error
				note := func(err error) {
					e.Helper()
					require.Error(e, err)
					errs = append(errs, err)
				}
				large := make([]byte, rpw.MaxPayload+1)
				copy(large, canary)
				_, err := e.append(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Data: large}}})
				note(err)
				_, err = e.append(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Header: map[string]string{"h": canary + "\x00"}}}})
				note(err)
				e.set("k", canary)
				note(e.setAll(rpw.CacheSet{Key: "k", Data: []byte(canary), TTL: rpw.NoTTL, When: rpw.IfAbsent})[0])
				note(e.setAll(rpw.CacheSet{Key: "k", Data: []byte(canary), TTL: rpw.NoTTL, When: rpw.IfEqual, Old: []byte(canary + "2")})[0])
				note(e.remove(rpw.CacheDelete{Key: "k", When: rpw.IfEqual, Old: []byte(canary + "2")}).Err)
				note(e.increment(rpw.CacheIncrement{Key: "k", By: 1, TTL: rpw.KeepTTL}).Err)
				_, _, err = rpw.Get[int](e.Context(), e.hub, "k")
				note(err)
				e.publish("s", canary)
				_, err = rpw.StreamOf[int]("s").Read(e.Context(), e.hub, rpw.Oldest(), 0)
				note(err)
				for _, err := range errs {
					for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
						assert.NotContains(e, fmt.Sprintf(verb, err), canary)
					}
				}
			}},
		{"Hub/New/BadOptionsAreErrors", []string{"E2"},
			"Nil options, a nil observer and a driver without a name are ErrInvalid, and no panic.",
			func(e *env) {
				for what, open := range map[string]func() (*rpw.Hub, error){
					"nil option":   func() (*rpw.Hub, error) { return rpw.New(rpw.Parts{Name: "x"}, nil) },
					"nil observer": func() (*rpw.Hub, error) { return rpw.New(rpw.Parts{Name: "x"}, rpw.WithObserver(nil)) },
					"no name":      func() (*rpw.Hub, error) { return rpw.New(rpw.Parts{}) },
					"bad name":     func() (*rpw.Hub, error) { return rpw.New(rpw.Parts{Name: "My Driver"}) },
				} {
					_, err := open()
					e.is(err, rpw.ErrInvalid, what)
				}
			}},
	}
}
