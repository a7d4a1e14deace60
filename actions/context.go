package actions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Run is what a handler can know of the action it runs.
type Run struct {
	Ref         rpw.ActionRef
	Name        string
	Token       uint64 // grows with every claim of the action: hand it to whatever is written to, and have smaller ones refused there
	Attempt     int    // its number, from 1
	MaxAttempts int
	Worker      string          // the id of the worker's session
	Created     time.Time       // when the action was started
	Data        json.RawMessage // the progress data at the beginning: what an earlier attempt left; may be nil
}

// Advance moves the action that a handler runs: a SetProgress or AddEvent, to which the worker adds the lease.
type Advance func(ctx context.Context, move rpw.Move) error

type runKey struct{}

type current struct {
	run     Run
	advance Advance
}

// NewContext returns the context that a handler of run gets. Workers call it, and tests of handlers that look at
// their run; advance receives what Progress and Event report, and may be nil.
func NewContext(ctx context.Context, run Run, advance Advance) context.Context {
	return context.WithValue(ctx, runKey{}, &current{run, advance})
}

// Current returns the run of the action that ctx belongs to; ok is false outside a handler.
func Current(ctx context.Context) (run Run, ok bool) {
	if c := from(ctx); c != nil {
		return c.run, true
	}
	return Run{}, false
}

func from(ctx context.Context) *current {
	if ctx == nil {
		return nil
	}
	c, _ := ctx.Value(runKey{}).(*current)
	return c
}

// Progress tells how far the action is, from 0 to 1, to those who watch it; a negative fraction leaves it as it was. data, at most one
// value, becomes its progress data, as JSON: the next attempt finds it if this one fails. The error may be ignored: a
// handler whose lease is lost learns it from its ctx. Outside a worker it only checks what it was given.
func Progress(ctx context.Context, fraction float64, data ...any) error {
	move := rpw.Move{Kind: rpw.SetProgress, Progress: fraction}
	if !(fraction <= 1) { // also NaN
		return fault("progress of", "", rpw.Errorf(rpw.ErrInvalid, "the fraction is %v; it must be from 0 to 1, or negative to leave it", fraction))
	}
	if len(data) > 1 {
		return fault("progress of", "", rpw.Errorf(rpw.ErrInvalid, "there are %d values of progress data; put them into one", len(data)))
	}
	if len(data) == 1 {
		var err error
		if move.Data, err = encodeData(data[0]); err != nil {
			return fault("progress of", "", err)
		}
	}
	return report(ctx, move)
}

// Event adds an event of the handler's own to the action's history; data becomes JSON. The name follows the grammar of
// names. Outside a worker it only checks what it was given.
func Event(ctx context.Context, name string, data any) error {
	move := rpw.Move{Kind: rpw.AddEvent, Event: name}
	err := rpw.CheckName("event", name)
	if err == nil {
		move.Data, err = encodeData(data)
	}
	if err != nil {
		return fault("event of", "", err)
	}
	return report(ctx, move)
}

func report(ctx context.Context, move rpw.Move) error {
	c := from(ctx)
	if c == nil || c.advance == nil {
		return nil
	}
	return c.advance(ctx, move)
}

func encodeData(v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	switch {
	case err != nil:
		return nil, rpw.Errorf(rpw.ErrInvalid, "the data cannot be written as JSON: %w", err)
	case len(data) > rpw.MaxPayload:
		return nil, rpw.Errorf(rpw.ErrTooLarge, "the data has %d bytes (max %d); store it elsewhere and pass a reference", len(data), rpw.MaxPayload)
	}
	return data, nil
}
