package conformance

import (
	"context"
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

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
				other.set("canary1", "canary")
				other.getAll("canary1", "canary2")
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
				if e.bubble { // elsewhere the context may be nearly over when the call begins
					assert.Equal(e, e.units(3), w.out[0].Took)
				}
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
