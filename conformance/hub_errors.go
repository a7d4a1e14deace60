package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

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
