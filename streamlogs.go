package rpw

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NewStreamLogs keeps the global log in a stream of bus: the LogSink of drivers that have none of their own. An entry has the
// type "log" and the JSON of the original's LogRepo: id, type, level, message, data, timestamp, and beside them source, worker,
// action and attempt. An entry of the stream that is no such record is shown as one, with its text as the message.
func NewStreamLogs(bus StreamBus) LogSink { return streamLogs{bus} }

type streamLogs struct{ bus StreamBus }

const logEventType = "log"

// storedLog is the JSON of an entry, which appendStored writes.
type storedLog struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Level     string          `json:"level"` // debug, info, warn or error
	Severity  *int            `json:"severity,omitempty"`
	Message   string          `json:"message"`
	Data      json.RawMessage `json:"data,omitempty"`
	Timestamp int64           `json:"timestamp"` // ms; 0: none, the time of the entry is shown
	Source    string          `json:"source,omitempty"`
	Worker    string          `json:"worker,omitempty"`
	Action    string          `json:"action,omitempty"`
	Attempt   int             `json:"attempt,omitempty"`
}

// levelNames are the four levels the original knows, highest first. Others keep their number in Severity.
var levelNames = []struct {
	level slog.Level
	name  string
}{{slog.LevelError, "error"}, {slog.LevelWarn, "warn"}, {slog.LevelInfo, "info"}, {slog.LevelDebug, "debug"}}

func levelName(l slog.Level) (name string, exact bool) {
	for _, n := range levelNames {
		if l >= n.level {
			return n.name, l == n.level
		}
	}
	return "debug", false
}

func (s streamLogs) Write(ctx context.Context, req WriteLogs) error {
	size := 0
	for i := range req.Records {
		size += storedOverhead + recordSize(&req.Records[i])
	}
	events, text := make([]NewEvent, len(req.Records)), make([]byte, 0, size)
	for i := range req.Records {
		begin := len(text)
		text = appendStored(text, &req.Records[i])
		events[i] = NewEvent{Type: logEventType, Data: slices.Clip(text[begin:])}
	}
	answers, err := s.bus.Publish(ctx, []Batch{{Stream: req.Log, Events: events, Keep: req.Keep}})
	if err != nil {
		return err
	}
	return answers[0].Err
}

// storedOverhead is about how much longer an entry is than what its record holds.
const storedOverhead = 128

// appendStored writes a record as the JSON of a storedLog: by hand, as this is most of the work of a log. Its attributes are JSON, as the Hub has seen to.
func appendStored(b []byte, r *LogRecord) []byte {
	level, exact := levelName(r.Level)
	b = appendText(append(b, `{"id":`...), r.ID)
	b = appendText(append(b, `,"type":"log","level":`...), level)
	if !exact {
		b = strconv.AppendInt(append(b, `,"severity":`...), int64(r.Level), 10)
	}
	b = appendText(append(b, `,"message":`...), r.Message)
	if len(r.Attrs) > 0 {
		b = append(append(b, `,"data":`...), r.Attrs...)
	}
	ms := int64(0)
	if !r.Time.IsZero() {
		ms = r.Time.UnixMilli()
	}
	b = strconv.AppendInt(append(b, `,"timestamp":`...), ms, 10)
	if r.Source != "" {
		b = appendText(append(b, `,"source":`...), r.Source)
	}
	if r.Worker != "" {
		b = appendText(append(b, `,"worker":`...), r.Worker)
	}
	if r.Action != "" {
		b = appendText(append(b, `,"action":`...), r.Action)
	}
	if r.Attempt != 0 {
		b = strconv.AppendInt(append(b, `,"attempt":`...), int64(r.Attempt), 10)
	}
	return append(b, '}')
}

// appendText writes a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // of a string, it never fails
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func (s streamLogs) Query(ctx context.Context, q LogQuery) (LogPage, error) {
	req := ReadRequest{Stream: q.Log, After: q.After, Max: q.Max, Reverse: q.Reverse, Wait: q.Wait}
	if err := s.bound(ctx, q, &req); err != nil {
		return LogPage{}, err
	}
	events, err := s.bus.Read(ctx, req)
	if err != nil {
		return LogPage{}, err
	}
	page := LogPage{Next: req.After, More: len(events) == req.Max}
	match := newLogMatch(q.LogFilter)
	since := uint64(0)
	if !q.Since.IsZero() {
		since = uint64(q.Since.UnixMilli())
	}
	size := 0
	for _, e := range events {
		size += len(e.Data)
		page.Next = e.Position()
		if r := readLog(e); e.ID.MS >= since && match.matches(&r) { // of a time to come, the store pins what it has
			page.Records = append(page.Records, r)
		}
	}
	page.More = page.More || size > MaxBatchBytes-MaxPayload // a page of events is bounded by bytes, too
	return page, nil
}

// bound turns the times of a query into ids, which the store can jump to.
func (s streamLogs) bound(ctx context.Context, q LogQuery, req *ReadRequest) error {
	from, to := q.Since, q.Until // the page goes from..to, in the direction of reading
	if q.Reverse {
		from, to = q.Until, q.Since
	}
	if !to.IsZero() {
		req.Until = ID{MS: uint64(to.UnixMilli())}
		if !q.Reverse { // exclusive
			req.Until = ID{MS: req.Until.MS - 1, Seq: math.MaxUint64}
		}
	}
	if from.IsZero() {
		return nil
	}
	if after := q.After.ID.MS; !q.After.IsZero() { // a later page is within the bound
		if bound := uint64(from.UnixMilli()); !q.Reverse && after >= bound || q.Reverse && after < bound {
			return nil
		}
	}
	var err error
	if req.After, err = s.bus.Locate(ctx, q.Log, Since(from)); err != nil {
		return err
	}
	switch {
	case q.Reverse:
		req.After.ID = ID{MS: uint64(from.UnixMilli())} // down from the first id of that time, exclusive
	case !to.IsZero() && req.Until.Compare(req.After.ID) < 0: // all of that time is gone
		req.Until = req.After.ID
	}
	return nil
}

// readLog reads an entry, also one that someone else wrote.
func readLog(e Event) LogRecord {
	r := LogRecord{Position: e.Position(), Time: e.ID.Time()}
	var stored storedLog
	if json.Unmarshal(e.Data, &stored) != nil || stored.Level == "" && stored.Message == "" {
		r.ID, r.Source, r.Message = e.ID.String(), "unknown entry of type "+e.Type, string(e.Data)
		return r
	}
	r.ID, r.Message, r.Attrs = stored.ID, stored.Message, stored.Data
	r.Source, r.Worker, r.Action, r.Attempt = stored.Source, stored.Worker, stored.Action, stored.Attempt
	if stored.Timestamp != 0 {
		r.Time = time.UnixMilli(stored.Timestamp)
	}
	for _, n := range levelNames {
		if n.name == stored.Level {
			r.Level = n.level
		}
	}
	if stored.Severity != nil {
		r.Level = slog.Level(*stored.Severity)
	}
	return r
}

// logMatch is a LogFilter, made ready.
type logMatch struct {
	LogFilter
	text string
}

func newLogMatch(f LogFilter) logMatch {
	return logMatch{LogFilter: f, text: strings.ToLower(f.Text)}
}

func (m *logMatch) matches(r *LogRecord) bool {
	return (m.Level == nil || r.Level >= *m.Level) &&
		(m.Source == "" || r.Source == m.Source) &&
		(m.Worker == "" || r.Worker == m.Worker) &&
		(m.Action == "" || r.Action == m.Action) &&
		(m.text == "" || strings.Contains(strings.ToLower(r.Message), m.text)) &&
		(len(m.Attrs) == 0 || matchAttrs(m.Attrs, r.Attrs))
}

// Matches reports whether the filter selects r. Drivers with a log of their own use it, so that a filter means the same on each.
func (f LogFilter) Matches(r LogRecord) bool {
	m := newLogMatch(f)
	return m.matches(&r)
}

func matchAttrs(want map[string]string, attrs json.RawMessage) bool {
	var have map[string]json.RawMessage
	if json.Unmarshal(attrs, &have) != nil {
		return false
	}
	for path, text := range want {
		if got, ok := attrText(have, path); !ok || got != text {
			return false
		}
	}
	return true
}

// attrText finds an attribute by its key, or by a path of groups and key joined with dots.
func attrText(attrs map[string]json.RawMessage, path string) (string, bool) {
	if value, ok := attrs[path]; ok {
		var text string
		if json.Unmarshal(value, &text) == nil {
			return text, true
		}
		return string(value), true
	}
	for i, c := range path {
		if c != '.' {
			continue
		}
		var group map[string]json.RawMessage
		if value, ok := attrs[path[:i]]; ok && json.Unmarshal(value, &group) == nil {
			if text, ok := attrText(group, path[i+1:]); ok {
				return text, true
			}
		}
	}
	return "", false
}
