package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func typedCacheCases() []testCase {
	return []testCase{
		{"Cache/Typed/ValuesComeBackEqual", []string{"C7", "C1"},
			"Get returns what Set stored, falsy values and large integers too; a miss is no error and no value.",
			func(e *env) {
				ctx := e.Context()
				roundTrip(e, 0)
				roundTrip(e, "")
				roundTrip(e, false)
				roundTrip(e, int64(9007199254740993))
				roundTrip(e, note{N: -1, Text: "é😀\u2028"})
				roundTrip(e, []string{})
				roundTrip(e, map[string]any{"a": nil})
				v, ok, err := rpw.Get[note](ctx, e.hub, "absent")
				require.NoError(e, err)
				assert.False(e, ok)
				assert.Zero(e, v)
			}},
		{"Cache/Typed/AnotherTypeIsConflict", []string{"C7", "E2"},
			"Text that is no T is ErrConflict; a value that is no JSON is ErrInvalid with nothing stored.",
			func(e *env) {
				ctx := e.Context()
				e.set("k", "{broken")
				_, _, err := rpw.Get[note](ctx, e.hub, "k")
				e.is(err, rpw.ErrConflict)
				_, err = rpw.Load(ctx, e.hub, "k", func(context.Context) (note, error) { return note{}, nil })
				e.is(err, rpw.ErrConflict)
				require.NoError(e, rpw.RepoOf[string]("r").Save(ctx, e.hub, "a", "text"))
				notes := rpw.RepoOf[note]("r")
				_, _, err = notes.Load(ctx, e.hub, "a")
				e.is(err, rpw.ErrConflict)
				_, err = notes.Update(ctx, e.hub, "a", func(*note) error { return nil })
				e.is(err, rpw.ErrConflict)
				for _, err := range notes.All(ctx, e.hub) {
					e.is(err, rpw.ErrConflict)
				}
				err = rpw.Set[any](ctx, e.hub, "new", make(chan int))
				e.is(err, rpw.ErrInvalid)
				assert.False(e, e.get("new").Found)
			}},
		{"Cache/Typed/Options", []string{"C7", "C2", "C3"},
			"TTL, OnlyIf and MaxStale do what they say, and what they cannot do is ErrInvalid with nothing stored; Delete counts what was there.",
			func(e *env) {
				ctx := e.Context()
				require.NoError(e, rpw.Set(ctx, e.hub, "k", 1, rpw.TTL(time.Hour), rpw.OnlyIf(rpw.IfAbsent)))
				assert.Positive(e, e.get("k").TTL)
				e.is(rpw.Set(ctx, e.hub, "k", 2, rpw.OnlyIf(rpw.IfAbsent)), rpw.ErrConflict)
				e.is(rpw.Set(ctx, e.hub, "k", 2, rpw.OnlyIf(rpw.IfEqual)), rpw.ErrInvalid, "there is no value to compare with")
				near, ok, err := rpw.Get[int](ctx, e.hub, "k", rpw.MaxStale(time.Second))
				require.NoError(e, err)
				assert.True(e, ok)
				assert.Equal(e, 1, near)
				_, _, err = rpw.Get[int](ctx, e.hub, "k", rpw.MaxStale(-1))
				e.is(err, rpw.ErrInvalid)
				_, err = rpw.Increment(ctx, e.hub, "new", 1, rpw.OnlyIf(rpw.IfPresent))
				e.is(err, rpw.ErrInvalid)
				assert.False(e, e.get("new").Found)
				e.set("l", "")
				n, err := rpw.Delete(ctx, e.hub, "k", "l", "absent")
				require.NoError(e, err)
				assert.Equal(e, 2, n)
			}},
		{"Cache/Typed/UpdateComparesAndSets", []string{"C7", "C3", "C2"},
			"An update changes what is there, as it is stored, and keeps its time to live; what another process stores meanwhile is not lost but changed in its turn.",
			func(e *env) {
				ctx, other := e.Context(), e.peer()
				require.NoError(e, e.setAll(rpw.CacheSet{Key: "k", Data: []byte(` { "Text": "spaces and order are the writer's",  "N":1, "More":0}`), TTL: time.Hour})[0])
				tries := 0
				stored, err := rpw.Update(ctx, e.hub, "k", func(n *note) error {
					if tries++; tries == 1 {
						_, err := rpw.Update(ctx, other, "k", func(n *note) error { n.N += 10; return nil })
						require.NoError(e, err)
					}
					n.N++
					return nil
				})
				require.NoError(e, err)
				assert.Equal(e, 2, tries)
				assert.EqualValues(e, 12, stored.N)
				got, _, err := rpw.Get[note](ctx, other, "k")
				require.NoError(e, err)
				assert.Equal(e, stored, got)
				assert.Positive(e, e.get("k").TTL, "it still ends")
			}},
		{"Cache/Typed/UpdateOfWhatCannotBeUpdated", []string{"C7", "E2"},
			"An update of no value is ErrNotFound, of one that is no T ErrConflict; an error of the change, or a result that is no JSON, stores nothing.",
			func(e *env) {
				ctx := e.Context()
				_, err := rpw.Update(ctx, e.hub, "absent", func(*note) error { return nil })
				e.is(err, rpw.ErrNotFound)
				for _, text := range []string{"{broken", ""} {
					e.set("k", text)
					_, err = rpw.Update(ctx, e.hub, "k", func(*note) error { return nil })
					e.is(err, rpw.ErrConflict)
				}
				e.set("k", `{"N":1}`)
				refuse := errors.New("refuse")
				_, err = rpw.Update(ctx, e.hub, "k", func(n *note) error { n.N = 2; return refuse })
				require.ErrorIs(e, err, refuse)
				_, err = rpw.Update(ctx, e.hub, "k", func(v *any) error { *v = make(chan int); return nil })
				e.is(err, rpw.ErrInvalid)
				_, err = rpw.Update[note](ctx, e.hub, "k", nil)
				e.is(err, rpw.ErrInvalid)
				e.has("k", `{"N":1}`)
			}},
		// F34, C5.
		{"Cache/Load/OneLoadForMany", []string{"C5"},
			"Callers of one Hub that miss the same key at once share one load; what it made is stored for all.",
			func(e *env) {
				release := make(chan struct{})
				loads := make(chan struct{}, 100)
				ctx := e.Context()
				var calls []<-chan answer[note]
				for range 20 {
					calls = append(calls, start(func() (note, error) {
						return rpw.Load(ctx, e.hub, "k", func(ctx context.Context) (note, error) {
							loads <- struct{}{}
							select {
							case <-release:
								return note{N: 7}, nil
							case <-ctx.Done():
								return note{}, ctx.Err()
							}
						}, rpw.TTL(time.Hour))
					}))
				}
				e.idle()
				close(release)
				for _, c := range calls {
					v, err := await(e, c)
					require.NoError(e, err)
					assert.EqualValues(e, 7, v.N)
				}
				assert.Len(e, loads, 1)
				assert.Positive(e, e.get("k").TTL)
				_, err := rpw.Load(ctx, e.peer(), "k", func(context.Context) (note, error) { return note{}, errors.New("must not load") })
				require.NoError(e, err)
			}},
		{"Cache/Load/ErrorsAreNotStored", []string{"C5"},
			"The error of a load goes to all who wait and is not stored; nor is that of one that panicked.",
			func(e *env) {
				ctx := e.Context()
				broken := errors.New("broken")
				_, err := rpw.Load(ctx, e.hub, "k", func(context.Context) (int, error) { return 0, broken })
				require.ErrorIs(e, err, broken)
				_, err = rpw.Load(ctx, e.hub, "k", func(context.Context) (int, error) { panic("oh") })
				require.Error(e, err)
				v, err := rpw.Load(ctx, e.hub, "k", func(context.Context) (int, error) { return 5, nil })
				require.NoError(e, err)
				assert.Equal(e, 5, v)
			}},
		{"Cache/Load/ContextEndsOneWait", []string{"C5", "E1"},
			"A caller that leaves ends its own wait only; the load goes on for the others, and is cancelled with the last.",
			func(e *env) {
				type loading struct{ began, release, cancelled chan struct{} }
				begin := func(ctx context.Context, key string, l loading) <-chan answer[int] {
					return start(func() (int, error) {
						return rpw.Load(ctx, e.hub, key, func(ctx context.Context) (int, error) {
							close(l.began)
							select {
							case <-l.release:
								return 1, nil
							case <-ctx.Done():
								close(l.cancelled)
								return 0, ctx.Err()
							}
						})
					})
				}
				shared := loading{make(chan struct{}), make(chan struct{}), make(chan struct{})}
				leaves, leave := context.WithCancel(e.Context())
				one := begin(leaves, "k", shared)
				<-shared.began
				other := begin(e.Context(), "k", shared)
				e.idle()
				leave()
				_, err := await(e, one)
				require.ErrorIs(e, err, context.Canceled)
				close(shared.release)
				v, err := await(e, other)
				require.NoError(e, err)
				assert.Equal(e, 1, v)

				alone := loading{make(chan struct{}), make(chan struct{}), make(chan struct{})}
				leaves, leave = context.WithCancel(e.Context())
				last := begin(leaves, "l", alone)
				<-alone.began
				leave()
				_, err = await(e, last)
				require.ErrorIs(e, err, context.Canceled)
				select {
				case <-alone.cancelled:
				case <-time.After(e.prompt()):
					e.Fatal("the load that nobody waits for was not cancelled")
				}
			}},
	}
}

func roundTrip[T any](e *env, value T) {
	e.Helper()
	require.NoError(e, rpw.Set(e.Context(), e.hub, "typed", value))
	got, ok, err := rpw.Get[T](e.Context(), e.peer(), "typed")
	require.NoError(e, err)
	assert.True(e, ok)
	assert.Equal(e, value, got)
}

func repoCases() []testCase {
	notes := rpw.RepoOf[note]("notes")
	all := func(e *env, r rpw.Repo[note]) map[string]note {
		e.Helper()
		got := make(map[string]note)
		for entity, err := range r.All(e.Context(), e.hub) {
			require.NoError(e, err)
			require.NotContains(e, got, entity.ID, "each once")
			got[entity.ID] = entity.Value
		}
		return got
	}
	return []testCase{
		{"Cache/Repo/SaveLoadDelete", []string{"C7"},
			"An entity is saved, loaded by every process, listed, created once, and deleted for good.",
			func(e *env) {
				ctx := e.Context()
				require.NoError(e, notes.Save(ctx, e.hub, "a", note{N: 1}))
				require.NoError(e, notes.Save(ctx, e.hub, "a", note{N: 2}))
				require.NoError(e, notes.Create(ctx, e.hub, "b", note{N: 3}))
				e.is(notes.Create(ctx, e.hub, "b", note{N: 4}), rpw.ErrConflict)
				e.set("notes", "not one of them")
				got, ok, err := notes.Load(ctx, e.peer(), "a")
				require.NoError(e, err)
				assert.True(e, ok)
				assert.EqualValues(e, 2, got.N)
				assert.Equal(e, map[string]note{"a": {N: 2}, "b": {N: 3}}, all(e, notes))
				for _, was := range []bool{true, false} {
					deleted, err := notes.Delete(ctx, e.hub, "a")
					require.NoError(e, err)
					assert.Equal(e, was, deleted)
				}
				_, ok, err = notes.Load(ctx, e.hub, "a")
				require.NoError(e, err)
				assert.False(e, ok)
				assert.Equal(e, map[string]note{"b": {N: 3}}, all(e, notes))
			}},
		{"Cache/Repo/UpdateLosesNothing", []string{"C7", "C3"},
			"Updates that several processes make at once all count; of what is not there it is ErrNotFound; an error of the change stores nothing.",
			func(e *env) {
				ctx := e.Context()
				_, err := notes.Update(ctx, e.hub, "a", func(*note) error { return nil })
				e.is(err, rpw.ErrNotFound)
				require.NoError(e, notes.Save(ctx, e.hub, "a", note{}))
				var calls []<-chan answer[struct{}]
				for _, h := range []*rpw.Hub{e.hub, e.peer(), e.peer()} {
					calls = append(calls, start(func() (none struct{}, err error) {
						for range 10 {
							if _, err = notes.Update(ctx, h, "a", func(n *note) error { n.N++; return nil }); err != nil {
								return none, err
							}
						}
						return none, nil
					}))
				}
				for _, c := range calls {
					select {
					case a := <-c:
						require.NoError(e, a.err)
					case <-time.After(e.patience()):
						e.Fatal("the updates do not end")
					}
				}
				refuse := errors.New("refuse")
				_, err = notes.Update(ctx, e.hub, "a", func(n *note) error { n.N = 1000; return refuse })
				require.ErrorIs(e, err, refuse)
				got, _, err := notes.Load(ctx, e.hub, "a")
				require.NoError(e, err)
				assert.EqualValues(e, 30, got.N)
			}},
		{"Cache/Repo/UpdateStartsAgain", []string{"C7", "C3"},
			"An update that another one came before is made again on what that one stored.",
			func(e *env) {
				ctx, other := e.Context(), e.peer()
				require.NoError(e, notes.Save(ctx, e.hub, "a", note{}))
				tries := 0
				stored, err := notes.Update(ctx, e.hub, "a", func(n *note) error {
					if tries++; tries == 1 {
						_, err := notes.Update(ctx, other, "a", func(n *note) error { n.N += 10; return nil })
						require.NoError(e, err)
					}
					n.N++
					return nil
				})
				require.NoError(e, err)
				assert.Equal(e, 2, tries)
				assert.Equal(e, int64(11), int64(stored.N))
				got, _, err := notes.Load(ctx, other, "a")
				require.NoError(e, err)
				assert.Equal(e, stored, got)
			}},
		{"Cache/Repo/NamesShareNoKeys", []string{"C7", "E2"},
			"The name of a repo holds no \":\" and no \"!\", so that no two repos share the key of an entity or of an index; ids may hold both.",
			func(e *env) {
				ctx := e.Context()
				for _, name := range []string{"notes:b", "notes!index", ""} {
					bad := rpw.RepoOf[note](name)
					e.is(bad.Save(ctx, e.hub, "c", note{}), rpw.ErrInvalid)
					_, _, err := bad.Load(ctx, e.hub, "c")
					e.is(err, rpw.ErrInvalid)
				}
				want := map[string]note{"b:c": {N: 1}, "!index:0": {N: 2}, "b!index:1": {N: 3}}
				for id, n := range want {
					require.NoError(e, notes.Save(ctx, e.hub, id, n))
				}
				assert.Equal(e, want, all(e, notes))
			}},
		{"Cache/Repo/WhatLapsedIsNotListed", []string{"C7", "C2"},
			"Entities with a time to live leave the list when they lapse, and may be created again.",
			func(e *env) {
				short := rpw.RepoOf[note]("short", rpw.TTL(e.ttl()))
				ctx := e.Context()
				require.NoError(e, short.Save(ctx, e.hub, "a", note{N: 1}))
				e.pass(e.ttl())
				assert.Empty(e, all(e, short))
				require.NoError(e, short.Create(ctx, e.hub, "a", note{N: 2}))
				assert.Equal(e, map[string]note{"a": {N: 2}}, all(e, short))
			}},
	}
}
