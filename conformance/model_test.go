package conformance

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// TestModelSeesWhatIsWrong lets the model meet drivers that break one promise of each contract.
func TestModelSeesWhatIsWrong(t *testing.T) {
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "0s", "rapid.checks": "1000"} {
		f := flag.Lookup(name)
		old := f.Value.String()
		require.NoError(t, f.Value.Set(value))
		t.Cleanup(func() { assert.NoError(t, f.Value.Set(old)) })
	}
	for name, breaks := range map[string]func(*rpw.Parts){
		"a gap is swallowed":                 func(p *rpw.Parts) { p.Streams = swallowsGaps{p.Streams} },
		"an expectation is ignored":          func(p *rpw.Parts) { p.Streams = expectsNothing{p.Streams} },
		"retention is ignored":               func(p *rpw.Parts) { p.Streams = keepsEverything{p.Streams} },
		"every verdict is applied":           func(p *rpw.Parts) { p.Streams = settlesAll{p.Streams} },
		"a nack has no delay":                func(p *rpw.Parts) { p.Streams = nacksAtOnce{p.Streams} },
		"a condition is ignored":             func(p *rpw.Parts) { p.Cache = setsAlways{p.Cache} },
		"a value has no end":                 func(p *rpw.Parts) { p.Cache = setsForEver{p.Cache} },
		"a scan returns one page":            func(p *rpw.Parts) { p.Cache = scansOnce{p.Cache} },
		"a superseded holder is obeyed":      func(p *rpw.Parts) { p.Actions = fencesNobody{p.Actions} },
		"an action cannot be cancelled":      func(p *rpw.Parts) { p.Actions = cancelsNothing{p.Actions} },
		"a worker is listed with any status": func(p *rpw.Parts) { p.Actions = listsAll{p.Actions} },
		"a log ignores the level": func(p *rpw.Parts) {
			if p.Logs == nil {
				p.Logs = rpw.NewStreamLogs(p.Streams)
			}
			p.Logs = logsAll{p.Logs}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := Harness{Unit: time.Millisecond, Open: func(testing.TB) Backend {
				store := memory.New(memory.Options{})
				return Backend{Flush: store.Flush, Connect: func() (rpw.Parts, error) {
					parts := store.Parts()
					breaks(&parts)
					return parts, nil
				}}
			}}
			r := &recorder{TB: t}
			r.run(func() { rapid.Check(r, func(rt *rapid.T) { h.replay(t, rt) }) })
			assert.True(t, r.Failed(), "the model fails")
		})
	}
}

type swallowsGaps struct{ rpw.StreamBus }

func (s swallowsGaps) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	events, err := s.StreamBus.Read(ctx, req)
	if gap, ok := errors.AsType[*rpw.GapError](err); ok {
		req.After = gap.Resume
		return s.StreamBus.Read(ctx, req)
	}
	return events, err
}

type expectsNothing struct{ rpw.StreamBus }

func (s expectsNothing) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	for i := range batches {
		batches[i].Expect = rpw.Position{}
	}
	return s.StreamBus.Publish(ctx, batches)
}

type keepsEverything struct{ rpw.StreamBus }

func (s keepsEverything) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	for i := range batches {
		batches[i].Keep = rpw.Retention{}
	}
	return s.StreamBus.Publish(ctx, batches)
}

type settlesAll struct{ rpw.StreamBus }

func (s settlesAll) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	_, err := s.StreamBus.Settle(ctx, req)
	return make([]error, len(req.Settlements)), err
}

type nacksAtOnce struct{ rpw.StreamBus }

func (s nacksAtOnce) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	for i := range req.Settlements {
		if req.Settlements[i].Verdict == rpw.Nack {
			req.Settlements[i].Delay = 0
		}
	}
	return s.StreamBus.Settle(ctx, req)
}

type setsAlways struct{ rpw.Cache }

func (c setsAlways) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	for i := range items {
		items[i].When = rpw.Always
	}
	return c.Cache.Set(ctx, items)
}

type setsForEver struct{ rpw.Cache }

func (c setsForEver) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	for i := range items {
		items[i].TTL = rpw.NoTTL
	}
	return c.Cache.Set(ctx, items)
}

type scansOnce struct{ rpw.Cache }

func (c scansOnce) Scan(ctx context.Context, req rpw.ScanRequest) (rpw.ScanPage, error) {
	page, err := c.Cache.Scan(ctx, req)
	page.Next = ""
	return page, err
}

type fencesNobody struct{ rpw.ActionStore }

func (s fencesNobody) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	answers, err := s.ActionStore.Advance(ctx, req)
	for i := range answers {
		if errors.Is(answers[i].Err, rpw.ErrLeaseLost) {
			answers[i].Err = nil
		}
	}
	return answers, err
}

type cancelsNothing struct{ rpw.ActionStore }

func (s cancelsNothing) Control(ctx context.Context, req rpw.ControlRequest) ([]rpw.Controlled, error) {
	if c := req.Commands[0]; c.Kind == rpw.Cancel {
		got, err := s.Get(ctx, []rpw.ActionRef{c.Ref})
		return []rpw.Controlled{{State: got[0].State, Err: got[0].Err}}, err
	}
	return s.ActionStore.Control(ctx, req)
}

type listsAll struct{ rpw.ActionStore }

func (s listsAll) Workers(ctx context.Context, req rpw.WorkersRequest) (rpw.WorkersPage, error) {
	req.Statuses = nil
	return s.ActionStore.Workers(ctx, req)
}

type logsAll struct{ rpw.LogSink }

func (s logsAll) Query(ctx context.Context, q rpw.LogQuery) (rpw.LogPage, error) {
	q.Level = nil
	return s.LogSink.Query(ctx, q)
}
