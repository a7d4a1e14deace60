package conformance

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// logModel is the log: a slice of records.
type logModel struct {
	*world
	records []rpw.LogRecord
}

func newLogModel(w *world) *logModel { return &logModel{world: w} }

func (m *logModel) verbs() map[string]func() {
	return map[string]func(){"log write": m.write, "log query": m.query}
}

func (m *logModel) flushed() { m.records = nil }

func (m *logModel) write() {
	records := make([]rpw.LogRecord, m.number("records", 1, 3))
	for i := range records {
		records[i] = rpw.LogRecord{
			ID: fmt.Sprint(len(m.records) + i), Time: time.UnixMilli(1_700_000_000_000 + int64(i)),
			Level:   pick(m.world, "level", slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.Level(2)),
			Message: pick(m.world, "message", "", "Disk full", "a\x1b[31m\r\nb", "ok"),
			Source:  pick(m.world, "source", "", "a", "b"),
			Worker:  pick(m.world, "worker", "", "w"),
			Action:  pick(m.world, "action", "", "queue/1"),
			Attempt: m.number("attempt", 0, 1),
		}
		if attrs := pick(m.world, "attrs", "", `{"n":9007199254740993}`, `{"http":{"status":"500"}}`); attrs != "" {
			records[i].Attrs = json.RawMessage(attrs)
		}
	}
	m.code("", m.hub.Logs().Write(m.ctx, rpw.WriteLogs{Records: records}))
	m.records = append(m.records, records...)
}

func (m *logModel) query() {
	var q rpw.LogQuery
	q.Source = pick(m.world, "source", "", "", "a")
	q.Worker = pick(m.world, "worker", "", "", "w")
	q.Action = pick(m.world, "action", "", "", "queue/1")
	q.Text = pick(m.world, "text", "", "", "disk")
	if m.number("leveled", 0, 2) == 0 {
		q.Level = new(pick(m.world, "level", slog.LevelInfo, slog.Level(2), slog.LevelError))
	}
	q.Attrs = pick(m.world, "attrs", nil, nil, map[string]string{"http.status": "500"}, map[string]string{"n": "9007199254740993"})
	want := slices.Clone(m.records)
	if n := len(want); n > 0 && m.number("bounded", 0, 1) == 1 {
		q.Since, q.Until = want[m.number("since", 0, n-1)].Position.ID.Time(), want[m.number("until", 0, n-1)].Position.ID.Time()
		if q.Until.Before(q.Since) {
			_, err := m.hub.Logs().Query(m.ctx, q)
			m.code("invalid", err, "query", q)
			return
		}
		want = slices.DeleteFunc(want, func(r rpw.LogRecord) bool {
			at := r.Position.ID.Time()
			return at.Before(q.Since) || !at.Before(q.Until)
		})
	}
	want = slices.DeleteFunc(want, func(r rpw.LogRecord) bool { return !selects(q.LogFilter, r) })
	if q.Reverse = m.number("reverse", 0, 1) == 1; q.Reverse {
		slices.Reverse(want)
	}
	q.Max = m.number("max", 1, 4)
	m.pages(q, want)
}

// selects says, without the library's help, what a filter means.
func selects(f rpw.LogFilter, r rpw.LogRecord) bool {
	for path, text := range f.Attrs {
		in := map[string]string{"n": `{"n":` + text + `}`, "http.status": `{"http":{"status":"` + text + `"}}`}
		if string(r.Attrs) != in[path] {
			return false
		}
	}
	return (f.Level == nil || *f.Level <= r.Level) &&
		(f.Source == "" || f.Source == r.Source) && (f.Worker == "" || f.Worker == r.Worker) && (f.Action == "" || f.Action == r.Action) &&
		strings.Contains(strings.ToLower(r.Message), strings.ToLower(f.Text))
}

// pages reads page by page and compares with what must come.
func (m *logModel) pages(q rpw.LogQuery, want []rpw.LogRecord) (got []rpw.LogRecord) {
	for more := true; more; {
		page, err := m.hub.Logs().Query(m.ctx, q)
		m.code("", err, "query", q)
		got = append(got, page.Records...)
		q.After, more = page.Next, page.More
	}
	require.Len(m, got, len(want), q)
	for i, w := range want {
		g := got[i]
		require.Equal(m, []any{w.ID, w.Time.UnixMilli(), w.Level, w.Message, w.Source, w.Worker, w.Action, w.Attempt, string(w.Attrs)},
			[]any{g.ID, g.Time.UnixMilli(), g.Level, g.Message, g.Source, g.Worker, g.Action, g.Attempt, string(g.Attrs)})
	}
	return got
}

// check also learns where the records are.
func (m *logModel) check() { m.records = m.pages(rpw.LogQuery{}, m.records) }
