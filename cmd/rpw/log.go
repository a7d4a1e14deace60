package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

func newLogCommand(a *app) *cobra.Command {
	return newParent("log", "Follow and search the global log", newLogTailCommand(a), newLogQueryCommand(a))
}

const logHelp = `With --json a line is {"id","time","level","message","source","worker","action","attempt","attrs","position"}. Colours are for
terminals, unless NO_COLOR is set.`

func newLogTailCommand(a *app) *cobra.Command {
	l := &logTail{reader: reader{app: a}}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow the log",
		Long: `Print the records of the log that match, from now on or from where --from or --last say, until interrupted. Missing history is
told on stderr, and the tail goes on.

` + logHelp,
		Example: `  rpw log tail --level warn
  rpw log tail --last 20 --source api --attr http.status=500`,
		Args: positional(0, 0),
		RunE: a.over(l.run),
	}
	flags := cmd.Flags()
	l.register(flags)
	flags.Var(&l.from, "from", "where to begin: now, start, a record's position or its id in the stream (what follows it), a time, or how long ago (10m)")
	flags.IntVar(&l.last, "last", 0, "begin with this many of the newest records that match")
	flags.IntVar(&l.count, "count", 0, "stop after this many records")
	cmd.MarkFlagsMutuallyExclusive("from", "last")
	return cmd
}

func newLogQueryCommand(a *app) *cobra.Command {
	q := &logQuery{reader: reader{app: a}}
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Search the log",
		Long: `Print the records of the log that match, oldest first.

` + logHelp,
		Example: `  rpw log query --since 1h --level error
  rpw log query --action resize/0190f6a2 --last 50 --json
  rpw log query --text timeout --reverse --last 1`,
		Args: positional(0, 0),
		RunE: a.over(q.run),
	}
	flags := cmd.Flags()
	q.register(flags)
	flags.Var(&q.since, "since", "stored then or later: "+momentForms)
	flags.Var(&q.until, "until", "stored before then")
	flags.IntVar(&q.last, "last", 0, "only this many of the newest that match")
	flags.BoolVar(&q.reverse, "reverse", false, "newest first")
	return cmd
}

// reader selects records and shows them.
type reader struct {
	*app
	filter rpw.LogFilter
	level  level
	log    string

	console slog.Handler // made by the first record
}

func (r *reader) register(flags *pflag.FlagSet) {
	flags.Var(&r.level, "level", "this level and above: debug, info, warn, error, warn+2")
	flags.StringVar(&r.filter.Source, "source", "", "only of this program or component")
	flags.StringVar(&r.filter.Worker, "worker", "", "only of this worker")
	flags.StringVar(&r.filter.Action, "action", "", "only of this action, QUEUE/ID")
	flags.StringVar(&r.filter.Text, "text", "", "only with this in the message, in upper or lower case")
	flags.StringToStringVar(&r.filter.Attrs, "attr", nil, "only with this attribute, PATH=VALUE, as in http.status=500")
	flags.StringVar(&r.log, "log", rpw.DefaultLog, "the stream that holds the log")
}

// selection is the filter, complete.
func (r *reader) selection() rpw.LogFilter {
	r.filter.Level = r.level.Level
	return r.filter
}

func (r *reader) show(rec rpw.LogRecord) error {
	if r.json {
		return r.printJSON(struct {
			ID       string          `json:"id"`
			Time     time.Time       `json:"time"`
			Level    string          `json:"level"`
			Message  string          `json:"message"`
			Source   string          `json:"source,omitempty"`
			Worker   string          `json:"worker,omitempty"`
			Action   string          `json:"action,omitempty"`
			Attempt  int             `json:"attempt,omitempty"`
			Attrs    json.RawMessage `json:"attrs,omitempty"`
			Position rpw.Position    `json:"position"`
		}{rec.ID, rec.Time.UTC(), rec.Level.String(), rec.Message, rec.Source, rec.Worker, rec.Action, rec.Attempt, rec.Attrs, rec.Position})
	}
	if r.console == nil {
		opts := []logs.ConsoleOption{logs.ConsoleLevel(slog.Level(-1 << 30)), logs.ConsoleTime("2006-01-02 15:04:05.000")}
		if r.env("NO_COLOR") != "" {
			opts = append(opts, logs.ConsoleColor(false))
		}
		r.console = logs.Console(r.stdout, opts...)
	}
	return r.console.Handle(context.Background(), consoleRecord(rec))
}

// consoleRecord is a record as the console takes it.
func consoleRecord(rec rpw.LogRecord) slog.Record {
	shown := slog.NewRecord(rec.Time, rec.Level, rec.Message, 0)
	for _, origin := range []struct{ name, value string }{{"source", rec.Source}, {"worker", rec.Worker}, {"action", rec.Action}} {
		if origin.value != "" {
			shown.AddAttrs(slog.String(origin.name, origin.value))
		}
	}
	if rec.Attempt > 1 {
		shown.AddAttrs(slog.Int("attempt", rec.Attempt))
	}
	if len(rec.Attrs) > 0 && rec.Attrs[0] != '{' { // someone else's
		shown.AddAttrs(slog.Any("data", rec.Attrs))
		return shown
	}
	fields := json.NewDecoder(bytes.NewReader(rec.Attrs)) // token by token, since a map would lose their order
	for _, err := fields.Token(); err == nil && fields.More(); {
		var key json.Token
		var value json.RawMessage
		if key, err = fields.Token(); err == nil {
			err = fields.Decode(&value)
		}
		if name, ok := key.(string); ok && err == nil {
			shown.AddAttrs(slog.Any(name, value))
		}
	}
	return shown
}

type logTail struct {
	reader
	from        place
	last, count int
}

func (l *logTail) run(ctx context.Context, hub *rpw.Hub, _ []string) error {
	if l.last < 0 || l.count < 0 {
		return misuse("--last and --count are numbers of records, at least 1")
	}
	if l.last > 0 {
		l.from.Start = rpw.Last(l.last)
	}
	if at := l.from.Start; at.Kind == rpw.StartAfter && at.Position.Epoch == 0 { // an id
		var err error
		if l.from.Position, err = hub.Streams().Locate(ctx, l.log, at); err != nil {
			return err
		}
	}
	n := 0
	for rec, err := range logs.Tail(ctx, hub, l.selection(), l.from.Start, logs.FromLog(l.log)) {
		if gap, ok := errors.AsType[*rpw.GapError](err); ok {
			l.warn(gap.Error())
			continue
		}
		if err != nil && l.count == 0 && errors.Is(err, context.Canceled) {
			return nil // it has no other end
		}
		if err == nil {
			err = l.show(rec)
		}
		if err != nil {
			return err
		}
		if n++; n == l.count {
			break
		}
	}
	return nil
}

type logQuery struct {
	reader
	since, until moment
	last         int
	reverse      bool
}

func (q *logQuery) run(ctx context.Context, hub *rpw.Hub, _ []string) error {
	if q.last < 0 {
		return misuse("--last is a number of records, at least 1")
	}
	query := rpw.LogQuery{LogFilter: q.selection(), Log: q.log, Since: q.since.Time, Until: q.until.Time, Reverse: q.reverse || q.last > 0}
	turn := q.last > 0 && !q.reverse // found newest first, shown oldest first
	var found []rpw.LogRecord
	for rec, err := range atMost(q.last, logs.Query(ctx, hub, query)) {
		if gap, ok := errors.AsType[*rpw.GapError](err); ok {
			q.warn(gap.Error())
			continue
		}
		switch {
		case err != nil:
		case turn:
			found = append(found, rec)
		default:
			err = q.show(rec)
		}
		if err != nil {
			return err
		}
	}
	for _, rec := range slices.Backward(found) {
		if err := q.show(rec); err != nil {
			return err
		}
	}
	return nil
}
