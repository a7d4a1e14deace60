package rpw_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

func memoryHub(t *testing.T) *rpw.Hub {
	t.Helper()
	hub, err := rpw.New(memory.New(memory.Options{}).Parts())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Close()) })
	return hub
}

// TestLogEntryForm: what is stored reads as an entry of the original's LogRepo.
func TestLogEntryForm(t *testing.T) {
	bus := &fakeBus{}
	at := time.UnixMilli(1795399404264)
	err := rpw.NewStreamLogs(bus).Write(t.Context(), rpw.WriteLogs{Log: rpw.DefaultLog, Keep: rpw.Retention{Age: time.Hour}, Records: []rpw.LogRecord{
		{ID: "1", Time: at, Level: slog.LevelWarn, Message: "hello", Attrs: json.RawMessage(`{"foo":1}`)},
		{ID: "2", Time: at, Level: slog.LevelInfo + 1, Message: "m", Source: "s", Worker: "w", Action: "q/1", Attempt: 2},
		{ID: "3", Level: slog.LevelDebug - 4},
		{ID: "4", Message: "a\n\"é\xff", Attrs: json.RawMessage{}},
	}})
	require.NoError(t, err)
	require.Len(t, bus.batches, 1, "one step")
	b := bus.batches[0]
	assert.Equal(t, "logQueue", b.Stream)
	assert.Equal(t, time.Hour, b.Keep.Age)
	for i, want := range []string{
		`{"id":"1","type":"log","level":"warn","message":"hello","data":{"foo":1},"timestamp":1795399404264}`,
		`{"id":"2","type":"log","level":"info","severity":1,"message":"m","timestamp":1795399404264,"source":"s","worker":"w","action":"q/1","attempt":2}`,
		`{"id":"3","type":"log","level":"debug","severity":-8,"message":"","timestamp":0}`,
		`{"id":"4","type":"log","level":"info","message":"a\n\"é\ufffd","timestamp":0}`,
	} {
		assert.Equal(t, "log", b.Events[i].Type)
		assert.Equal(t, want, string(b.Events[i].Data))
	}
}

// TestForeignLogEntries: entries of the original, and of anyone else, are shown.
func TestForeignLogEntries(t *testing.T) {
	hub := memoryHub(t)
	_, err := hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: rpw.DefaultLog, Events: []rpw.NewEvent{
		{Type: "log", Data: []byte(`{"id":"48a6","type":"info","level":"warn","message":"hello","data":{"foo":1},"timestamp":1795399404264}`)},
		{Type: "other", Data: []byte(`{"a":1}`)},
		{Type: "log", Data: []byte(`no json`)},
		{Type: "log", Data: []byte(`{"level":"odd","message":5}`)},
		{Type: "log", Data: nil},
	}}})
	require.NoError(t, err)
	page, err := hub.Logs().Query(t.Context(), rpw.LogQuery{})
	require.NoError(t, err)
	require.Len(t, page.Records, 5)
	r := page.Records[0]
	assert.Equal(t, []any{"48a6", slog.LevelWarn, "hello", `{"foo":1}`}, []any{r.ID, r.Level, r.Message, string(r.Attrs)})
	assert.True(t, time.UnixMilli(1795399404264).Equal(r.Time))
	for i, message := range []string{`{"a":1}`, `no json`, `{"level":"odd","message":5}`, ``} {
		r := page.Records[i+1]
		assert.Equal(t, message, r.Message)
		assert.Contains(t, r.Source, "unknown entry of type")
		assert.Equal(t, r.Position.ID.String(), r.ID)
		assert.False(t, r.Time.IsZero())
	}
}

func TestLogFilter(t *testing.T) {
	warn := slog.LevelWarn
	r := rpw.LogRecord{Level: slog.LevelWarn, Message: "Disk FULL é", Source: "s", Worker: "w", Action: "q/1",
		Attrs: json.RawMessage(`{"a":1,"b":"text","http":{"status":500,"h":{"x":true}},"dotted.key":"d","http.status":"flat"}`)}
	attrs := func(path, text string) rpw.LogFilter { return rpw.LogFilter{Attrs: map[string]string{path: text}} }
	for i, f := range []rpw.LogFilter{
		{}, {Level: &warn}, {Source: "s"}, {Worker: "w"}, {Action: "q/1"}, {Text: "disk full"}, {Text: "É"},
		attrs("a", "1"), attrs("b", "text"), attrs("http.h.x", "true"), attrs("dotted.key", "d"), attrs("http.status", "flat"),
		{Level: &warn, Source: "s", Text: "full", Attrs: map[string]string{"a": "1", "b": "text"}},
	} {
		assert.True(t, f.Matches(r), i)
	}
	high := slog.LevelError
	for i, f := range []rpw.LogFilter{
		{Level: &high}, {Source: "S"}, {Worker: "x"}, {Action: "q/2"}, {Text: "empty"},
		attrs("a", "2"), attrs("c", ""), attrs("http.none", "x"), attrs("a.b", "x"), attrs("", ""),
		{Source: "s", Attrs: map[string]string{"a": "1", "b": "other"}},
	} {
		assert.False(t, f.Matches(r), i)
	}
	assert.False(t, attrs("a", "1").Matches(rpw.LogRecord{}))
}

// TestLogPagesMove: also pages that matched nothing, and those that are full by bytes.
func TestLogPagesMove(t *testing.T) {
	hub := memoryHub(t)
	records := make([]rpw.LogRecord, 20)
	for i := range records {
		records[i].Message = strings.Repeat("x", 900_000)
	}
	for _, r := range records {
		require.NoError(t, hub.Logs().Write(t.Context(), rpw.WriteLogs{Records: []rpw.LogRecord{r}}))
	}
	none := rpw.LogQuery{LogFilter: rpw.LogFilter{Source: "nobody"}}
	pages := 0
	for more := true; more; pages++ {
		page, err := hub.Logs().Query(t.Context(), none)
		require.NoError(t, err)
		assert.Empty(t, page.Records)
		assert.NotEqual(t, none.After, page.Next)
		none.After, more = page.Next, page.More
	}
	assert.Equal(t, 3, pages)
	assert.EqualValues(t, 20, none.After.Count, "to the end")

	assert.ErrorIs(t, hub.Logs().Write(t.Context(), rpw.WriteLogs{Records: []rpw.LogRecord{{Attrs: json.RawMessage(`{`)}}}), rpw.ErrInvalid)
	assert.ErrorIs(t, hub.Logs().Write(t.Context(), rpw.WriteLogs{}), rpw.ErrInvalid)
}

// TestLogInAnOutage: the log in a stream is repeated for as long as any call, and its errors say what was tried once.
func TestLogInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := rpw.Errorf(rpw.ErrUnavailable, "it is away")
		hub := newHub(t, rpw.Parts{Streams: &fakeBus{
			behave: func(context.Context, rpw.Batch) error { return away },
			read:   func(context.Context, rpw.ReadRequest) ([]rpw.Event, error) { return nil, away },
		}})
		start := time.Now()
		err := hub.Logs().Write(t.Context(), rpw.WriteLogs{Records: []rpw.LogRecord{{Message: "m"}}})
		assert.EqualError(t, err, `rpw: write log "logQueue" (fake): unavailable: it is away`)
		assert.LessOrEqual(t, time.Since(start), 5*time.Second)
		start = time.Now()
		_, err = hub.Logs().Query(t.Context(), rpw.LogQuery{})
		assert.EqualError(t, err, `rpw: query log "logQueue" (fake): unavailable: it is away`)
		assert.LessOrEqual(t, time.Since(start), 5*time.Second)
	})
}

// TestLogQueryBeforeWhatIsKept: a time that retention has taken is an empty page.
func TestLogQueryBeforeWhatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		write := func() {
			require.NoError(t, hub.Logs().Write(t.Context(), rpw.WriteLogs{Records: []rpw.LogRecord{{Message: "m"}}}))
			time.Sleep(time.Minute)
		}
		start := time.Now()
		for range 200 {
			write()
		}
		_, err := hub.Streams().Trim(t.Context(), rpw.DefaultLog, rpw.Retention{Events: 1})
		require.NoError(t, err)
		for _, reverse := range []bool{false, true} {
			page, err := hub.Logs().Query(t.Context(), rpw.LogQuery{Since: start, Until: start.Add(time.Minute), Reverse: reverse})
			require.NoError(t, err, reverse)
			assert.Empty(t, page.Records)
		}
	})
}

// TestLogLimits: they hold for every sink.
func TestLogLimits(t *testing.T) {
	hub := newHub(t, rpw.Parts{Logs: noLogs{}})
	write := func(records ...rpw.LogRecord) error {
		return hub.Logs().Write(t.Context(), rpw.WriteLogs{Records: records})
	}
	large := rpw.LogRecord{Message: strings.Repeat("x", 1_000_000)}
	assert.NoError(t, write(slices.Repeat([]rpw.LogRecord{large}, 8)...))
	assert.ErrorIs(t, write(slices.Repeat([]rpw.LogRecord{large}, 9)...), rpw.ErrTooLarge)
	assert.ErrorIs(t, write(rpw.LogRecord{Message: large.Message, Attrs: json.RawMessage(`{"a":"` + large.Message + `"}`)}), rpw.ErrTooLarge)
	for _, attrs := range []string{`1`, `[]`, `"text"`, ``, `{} {}`} {
		assert.ErrorIs(t, write(rpw.LogRecord{Attrs: json.RawMessage(attrs)}), rpw.ErrInvalid, attrs)
	}
	assert.NoError(t, write(rpw.LogRecord{Attrs: json.RawMessage(" \n{}")}))
	_, err := hub.Logs().Query(t.Context(), rpw.LogQuery{After: rpw.Position{ID: rpw.ID{MS: 1}}})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
}

// noLogs is a LogSink that forgets.
type noLogs struct{}

func (noLogs) Write(context.Context, rpw.WriteLogs) error               { return nil }
func (noLogs) Query(context.Context, rpw.LogQuery) (rpw.LogPage, error) { return rpw.LogPage{}, nil }
