package load

import (
	"context"
	"log/slog"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
	"github.com/redis-process-worker/rpw/logs"
)

// logger is a producer of log records, with a process of its own that lives to the end.
type logger struct {
	run     *run
	name    string
	hub     *rpw.Hub
	handler *logs.Handler
	n       int64
}

func (r *run) startLogger(name string) {
	h, err := r.open()
	if err != nil {
		r.t.Fatal(err)
	}
	l := &logger{run: r, name: name, hub: h, handler: logs.NewHandler(h, logs.WithSource(name), logs.WithBuffer(64))}
	r.loggers = append(r.loggers, l)
}

func (l *logger) step(ctx context.Context, a *actor) {
	for range 1 + a.IntN(50) {
		l.n++
		rec := a.record(history.OpLog)
		rec.N = l.n
		l.run.Note(rec)
		slog.New(l.handler).InfoContext(ctx, "m", "n", l.n)
	}
}

// close waits until all is written that is not dropped.
func (l *logger) close() {
	ctx, cancel := context.WithTimeout(context.Background(), l.run.Patience)
	defer cancel()
	if err := l.handler.Flush(ctx); err != nil {
		l.run.t.Errorf("flush the log: %v", err)
	}
	if err := l.hub.Close(); err != nil {
		l.run.t.Errorf("close the hub of the log: %v", err)
	}
}
