package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

func newDoctorCommand(a *app) *cobra.Command {
	d := &doctor{app: a}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the backend and what lives in it",
		Long: `Check the backend and what lives in it, and say what to do about each finding:

  backend   does it answer; what it lacks
  redis     version, memory and eviction, persistence, clients, replicas, its clock (needs the commands INFO and
            CONFIG GET; what the user may not run is told)
  streams   groups that nobody consumes, that lag or are about to lose events, old pending events, consumers that are gone,
            dead letters
  actions   queues that are paused, that no worker serves, or where actions wait long; handlers that run long
  workers   workers that are offline or report an error

Nothing is changed. Findings are ok, note, warning or problem; the exit code is 14 if there is a problem, else 13 if there is a
warning, else 0. A backend that cannot be opened is an error, with its exit code.

With --json a line is {"level","check","target","text","do"}.`,
		Example: `  rpw doctor
  rpw doctor --old 1h --json | jq -r 'select(.level=="problem").text'`,
		Args: positional(0, 0),
		RunE: a.over(d.run, rpw.WithObserver(d)),
	}
	cmd.Flags().DurationVar(&d.old, "old", 5*time.Minute, "what waits longer, or was not seen for longer, is told")
	cmd.Flags().Int64Var(&d.lag, "lag", 10_000, "a group that lags by more events is told")
	return cmd
}

// severity is how bad a finding is.
type severity int

const (
	fine severity = iota
	note
	warning
	problem
)

func (s severity) String() string               { return [...]string{"ok", "note", "warning", "problem"}[s] }
func (s severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// finding is one thing that was found.
type finding struct {
	Level  severity `json:"level"`
	Check  string   `json:"check"`  // backend, redis, streams, actions, workers
	Target string   `json:"target"` // the server, stream, queue, ...
	Text   string   `json:"text"`
	Do     string   `json:"do,omitempty"`
}

// doctor checks a backend, and observes its Hub for what the driver says of it.
type doctor struct {
	*app
	old time.Duration
	lag int64

	hub   *rpw.Hub
	ahead time.Duration // the store's clock, of ours
	count [problem + 1]int
	err   error // of writing

	mu       sync.Mutex
	notices  []rpw.Notice
	listened bool // notices have been told
}

func (d *doctor) Begin(ctx context.Context, _ rpw.Operation) context.Context { return ctx }
func (d *doctor) End(context.Context, rpw.Operation, rpw.Outcome)            {}

// Notify keeps what the driver says while it opens.
func (d *doctor) Notify(n rpw.Notice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.Kind == rpw.NoticeDegraded && !d.listened {
		d.notices = append(d.notices, n)
	}
}

func (d *doctor) run(ctx context.Context, hub *rpw.Hub, _ []string) error {
	if d.old <= 0 || d.lag < 0 {
		return misuse("--old must be positive, and --lag not negative")
	}
	d.hub = hub
	if err := d.backend(ctx); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		check func(context.Context) error
	}{{"redis", d.redis}, {"streams", d.streams}, {"actions", d.actions}} {
		switch err := part.check(ctx); {
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, rpw.ErrPermission):
			d.tell(note, part.name, d.hub.Driver(), "not checked to the end: "+bare(err.Error()), "")
		case err != nil:
			return err
		}
	}
	return d.sum()
}

// tell tells of a finding. do says what to do about it.
func (d *doctor) tell(level severity, check, target, text, do string) {
	d.count[level]++
	f := finding{level, check, target, text, do}
	var err error
	switch {
	case d.err != nil:
		return
	case d.json:
		err = d.printJSON(f)
	default:
		err = d.print("%-8s %-8s %s: %s", f.Level, f.Check, logs.Escape(f.Target), logs.Escape(f.Text))
		if err == nil && do != "" {
			err = d.print("%18s→ %s", "", logs.Escape(do))
		}
	}
	d.err = err
}

// sum ends the report. Its error is the exit code.
func (d *doctor) sum() error {
	if d.err == nil && !d.json {
		d.err = d.print("\n%s, %s", counted(d.count[problem], "problem"), counted(d.count[warning], "warning"))
	}
	switch {
	case d.err != nil:
		return d.err
	case d.count[problem] > 0:
		return verdict(exitProblems)
	case d.count[warning] > 0:
		return verdict(exitWarnings)
	}
	return nil
}

func (d *doctor) backend(ctx context.Context) error {
	start := time.Now()
	if err := d.hub.Health(ctx); err != nil {
		return err
	}
	d.tell(fine, "backend", d.hub.Driver(), fmt.Sprintf("it is open, and answers in %v", time.Since(start).Round(10*time.Microsecond)), "")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listened = true
	for _, n := range d.notices {
		d.tell(note, "backend", d.hub.Driver(), bare(n.Err.Error()), "")
	}
	return nil
}

// since is how long ago a time of the store was.
func (d *doctor) since(t time.Time) time.Duration { return time.Since(t) + d.ahead }
