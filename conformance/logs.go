package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// entry is a plain log record.
func entry(message string) rpw.LogRecord {
	return rpw.LogRecord{ID: "id-" + message, Time: time.Now().Truncate(time.Millisecond), Message: message}
}

// log writes records that must be taken.
func (e *env) log(records ...rpw.LogRecord) {
	e.Helper()
	require.NoError(e, e.hub.Logs().Write(e.Context(), rpw.WriteLogs{Records: records}))
}

// query returns the messages of all pages of a query, and where the last one ends.
func (e *env) query(q rpw.LogQuery) ([]string, rpw.Position) {
	e.Helper()
	out := []string{}
	for {
		page, err := e.hub.Logs().Query(e.Context(), q)
		require.NoError(e, err)
		for _, r := range page.Records {
			out = append(out, r.Message)
		}
		q.After = page.Next
		if !page.More {
			return out, page.Next
		}
	}
}

// logCases are the cases of the global log.
func logCases() []testCase {
	return []testCase{
		{"Logs/Write/IsReadAsWritten", []string{"L4", "L2"},
			"A record that was written is read with all its fields, by every process, in the order of writing.", func(e *env) {
				at := time.UnixMilli(1795399404264)
				want := []rpw.LogRecord{
					{ID: "a", Time: at, Level: slog.LevelWarn, Message: "hello <é> \x1b[31m\u202e", Source: "web", Worker: "w1", Action: "q/1", Attempt: 3,
						Attrs: json.RawMessage(`{"n":9007199254740993,"http":{"status":200}}`)},
					{ID: "b", Time: at.Add(-time.Hour), Level: slog.LevelDebug},
					{ID: "c", Time: at, Level: slog.LevelInfo + 2, Message: "between"},
					{ID: "d", Time: at, Level: slog.LevelError, Message: "last", Attrs: json.RawMessage(`{}`)},
				}
				e.log(want[:3]...)
				e.log(want[3])
				page, err := e.peer().Logs().Query(e.Context(), rpw.LogQuery{})
				require.NoError(e, err)
				require.Len(e, page.Records, len(want))
				for i, got := range page.Records {
					require.False(e, got.Position.IsZero())
					require.Truef(e, want[i].Time.Equal(got.Time), "time of %s", want[i].ID)
					if want[i].Attrs != nil {
						sameJSON(e, string(want[i].Attrs), got.Attrs)
					}
					got.Position, got.Time, got.Attrs = rpw.Position{}, want[i].Time, want[i].Attrs
					require.Equal(e, want[i], got)
				}
				require.Equal(e, page.Records[3].Position, page.Next)
			}},
		{"Logs/Write/AllOrNone", []string{"L2", "E2"},
			"A call of the log is written as a whole or refused as a whole: attributes that are no JSON, too much, nothing.", func(e *env) {
				write := func(req rpw.WriteLogs) error { return e.hub.Logs().Write(e.Context(), req) }
				bad := entry("bad")
				bad.Attrs = json.RawMessage(`{"a":`)
				e.is(write(rpw.WriteLogs{Records: []rpw.LogRecord{entry("good"), bad}}), rpw.ErrInvalid)
				e.is(write(rpw.WriteLogs{}), rpw.ErrInvalid)
				e.is(write(rpw.WriteLogs{Log: "a*", Records: []rpw.LogRecord{entry("good")}}), rpw.ErrInvalid)
				e.is(write(rpw.WriteLogs{Records: make([]rpw.LogRecord, rpw.MaxBatch+1)}), rpw.ErrTooLarge)
				e.is(write(rpw.WriteLogs{Records: []rpw.LogRecord{entry("good"), entry(text(rpw.MaxPayload))}}), rpw.ErrTooLarge)
				e.is(write(rpw.WriteLogs{Keep: rpw.Retention{Age: -1}, Records: []rpw.LogRecord{entry("good")}}), rpw.ErrInvalid)
				got, _ := e.query(rpw.LogQuery{})
				require.Empty(e, got)
				e.log(make([]rpw.LogRecord, rpw.MaxBatch)...)
				got, _ = e.query(rpw.LogQuery{Max: 300})
				require.Len(e, got, rpw.MaxBatch)
			}},
		{"Logs/Query/EveryFilter", []string{"L4"},
			"A query selects by level, source, worker, action, text and attribute, alone and together, in both directions.", func(e *env) {
				level := func(l slog.Level) *slog.Level { return &l }
				e.log(
					rpw.LogRecord{Message: "Alpha one", Level: slog.LevelDebug, Source: "web"},
					rpw.LogRecord{Message: "alpha two", Level: slog.LevelInfo, Source: "job", Worker: "w1", Attrs: json.RawMessage(`{"http":{"status":200,"path":"/a"}}`)},
					rpw.LogRecord{Message: "beta", Level: slog.LevelWarn, Source: "job", Worker: "w1", Action: "q/1", Attrs: json.RawMessage(`{"http.status":404,"ok":true}`)},
					rpw.LogRecord{Message: "gamma ALPHA", Level: slog.LevelError + 4, Source: "job", Worker: "w2", Action: "q/2", Attrs: json.RawMessage(`{"user":"ann"}`)},
				)
				for name, c := range map[string]struct {
					filter rpw.LogFilter
					want   []string
				}{
					"all":             {rpw.LogFilter{}, []string{"Alpha one", "alpha two", "beta", "gamma ALPHA"}},
					"info":            {rpw.LogFilter{Level: level(slog.LevelInfo)}, []string{"alpha two", "beta", "gamma ALPHA"}},
					"above error":     {rpw.LogFilter{Level: level(slog.LevelError + 1)}, []string{"gamma ALPHA"}},
					"source":          {rpw.LogFilter{Source: "web"}, []string{"Alpha one"}},
					"worker":          {rpw.LogFilter{Worker: "w1"}, []string{"alpha two", "beta"}},
					"action":          {rpw.LogFilter{Action: "q/2"}, []string{"gamma ALPHA"}},
					"text":            {rpw.LogFilter{Text: "aLPHA"}, []string{"Alpha one", "alpha two", "gamma ALPHA"}},
					"path":            {rpw.LogFilter{Attrs: map[string]string{"http.status": "200"}}, []string{"alpha two"}},
					"key with a dot":  {rpw.LogFilter{Attrs: map[string]string{"http.status": "404"}}, []string{"beta"}},
					"text attribute":  {rpw.LogFilter{Attrs: map[string]string{"user": "ann"}}, []string{"gamma ALPHA"}},
					"two attributes":  {rpw.LogFilter{Attrs: map[string]string{"http.status": "404", "ok": "true"}}, []string{"beta"}},
					"wrong attribute": {rpw.LogFilter{Attrs: map[string]string{"http.status": "404", "ok": "false"}}, []string{}},
					"together":        {rpw.LogFilter{Source: "job", Worker: "w1", Text: "alpha", Level: level(slog.LevelInfo)}, []string{"alpha two"}},
				} {
					for _, n := range []int{1, 3, 0} {
						got, _ := e.query(rpw.LogQuery{LogFilter: c.filter, Max: n})
						require.Equal(e, c.want, got, name)
						got, _ = e.query(rpw.LogQuery{LogFilter: c.filter, Max: n, Reverse: true})
						require.Equal(e, reversed(c.want), got, "%s, newest first", name)
					}
				}
			}},
		{"Logs/Query/PageWithoutMatchMoves", []string{"L4"},
			"A page that matched nothing is empty and still moves on, so that a query gets through any number of other records.", func(e *env) {
				records := make([]rpw.LogRecord, 50)
				for i := range records {
					records[i] = entry(fmt.Sprint("noise ", i))
				}
				records[40].Message = "signal"
				e.log(records...)
				q := rpw.LogQuery{LogFilter: rpw.LogFilter{Text: "signal"}, Max: 10}
				for page := range 5 {
					answer, err := e.hub.Logs().Query(e.Context(), q)
					require.NoError(e, err)
					require.NotEqual(e, q.After, answer.Next, "page %d did not move", page)
					require.Equal(e, page == 4, len(answer.Records) == 1, "page %d", page)
					require.Equal(e, page < 4 || answer.More, answer.More)
					q.After = answer.Next
				}
			}},
		{"Logs/Query/TimeBounds", []string{"L4"},
			"Since is inclusive and Until exclusive, by the time of storing, in both directions.", func(e *env) {
				var stored []rpw.LogRecord
				for i := range 6 {
					e.log(entry(fmt.Sprint(i)))
					time.Sleep(e.units(1) + 2*time.Millisecond)
				}
				page, err := e.hub.Logs().Query(e.Context(), rpw.LogQuery{})
				require.NoError(e, err)
				stored = page.Records
				since, until := stored[1].Position.ID.Time(), stored[4].Position.ID.Time()
				for _, c := range []struct {
					since, until time.Time
					want         []string
				}{
					{since, until, []string{"1", "2", "3"}},
					{since, time.Time{}, []string{"1", "2", "3", "4", "5"}},
					{time.Time{}, until, []string{"0", "1", "2", "3"}},
					{since, since, []string{}},
					{time.Now().Add(time.Hour), time.Time{}, []string{}},
				} {
					for _, n := range []int{2, 0} {
						got, _ := e.query(rpw.LogQuery{Since: c.since, Until: c.until, Max: n})
						require.Equal(e, c.want, got)
						got, _ = e.query(rpw.LogQuery{Since: c.since, Until: c.until, Max: n, Reverse: true})
						require.Equal(e, reversed(c.want), got)
					}
				}
			}},
		{"Logs/Query/TimeToCome", []string{"L4"},
			"A query that waits for records of a time to come does not return those stored before it.", func(e *env) {
				waiting := start(func() (rpw.LogPage, error) {
					return e.hub.Logs().Query(e.Context(), rpw.LogQuery{Since: time.Now().Add(time.Hour), Wait: e.units(50)})
				})
				e.idle()
				e.log(entry("early"))
				page, err := await(e, waiting)
				require.NoError(e, err)
				require.Empty(e, page.Records)
			}},
		{"Logs/Query/TailIsLive", []string{"L4"},
			"A query that waits gets a new record of another process at once, also the first of all, and goes on behind it without loss.", func(e *env) {
				other := e.on(e.peer())
				q := rpw.LogQuery{LogFilter: rpw.LogFilter{Source: "s"}}
				tail := func() <-chan answer[rpw.LogPage] {
					waiting := start(func() (rpw.LogPage, error) {
						for end := time.Now().Add(e.patience()); ; time.Sleep(e.unit) {
							q.Wait = e.patience()
							page, err := other.hub.Logs().Query(e.Context(), q)
							if err != nil || len(page.Records) > 0 || time.Now().After(end) {
								return page, err
							}
							q.After = page.Next
						}
					})
					e.idle()
					return waiting
				}
				for i := range 5 {
					waiting := tail()
					began := time.Now()
					record := entry(fmt.Sprint(i))
					record.Source = "s"
					e.log(entry("noise"))
					e.log(record, entry("noise"))
					page, err := await(e, waiting)
					require.NoError(e, err)
					require.Len(e, page.Records, 1)
					require.Equal(e, fmt.Sprint(i), page.Records[0].Message)
					e.soon(began)
					q.After = page.Next
				}
			}},
		{"Logs/Query/TailDoesNotPoll", []string{"L4"},
			"A query that waits does so: a tail of a silent log asks a few times, not again and again.", func(e *env) {
				ctx, cancel := context.WithTimeout(e.Context(), e.units(40))
				defer cancel()
				calls := 0
				for ; ctx.Err() == nil; calls++ {
					page, err := e.hub.Logs().Query(ctx, rpw.LogQuery{Wait: rpw.Forever})
					if err != nil {
						require.ErrorIs(e, err, context.DeadlineExceeded)
					}
					require.Empty(e, page.Records)
					time.Sleep(e.unit)
				}
				require.Less(e, calls, 8)
			}},
		{"Logs/Query/BadInput", []string{"L4", "E2"},
			"A query that can never work is ErrInvalid on every driver; a log that was never written to is empty.", func(e *env) {
				now := time.Now()
				for what, q := range map[string]rpw.LogQuery{
					"negative Max":  {Max: -1},
					"negative Wait": {Wait: -1},
					"empty time":    {Since: now, Until: now.Add(-time.Second)},
					"bad name":      {Log: "{a}"},
				} {
					_, err := e.hub.Logs().Query(e.Context(), q)
					e.is(err, rpw.ErrInvalid, what)
				}
				got, _ := e.query(rpw.LogQuery{Log: "never"})
				require.Empty(e, got)
			}},
		{"Logs/Keep/ByCountAndAge", []string{"L5"},
			"A log keeps as many records, and as old ones, as it was told; a tail that fell behind is told of the gap.", func(e *env) {
				write := func(log string, keep rpw.Retention, n int) {
					records := make([]rpw.LogRecord, n)
					for i := range records {
						records[i] = entry(fmt.Sprint(i))
					}
					require.NoError(e, e.hub.Logs().Write(e.Context(), rpw.WriteLogs{Log: log, Records: records, Keep: keep}))
				}
				write("count", rpw.Retention{Events: 50}, 1)
				_, first := e.query(rpw.LogQuery{Log: "count"})
				for range 3 {
					write("count", rpw.Retention{}, 200)
				}
				got, _ := e.query(rpw.LogQuery{Log: "count"})
				require.LessOrEqual(e, len(got), 150, "a store may keep up to 100 more")
				require.GreaterOrEqual(e, len(got), 50)
				require.Equal(e, "199", last(got))
				_, err := e.hub.Logs().Query(e.Context(), rpw.LogQuery{Log: "count", After: first})
				e.gap(err)

				age := e.units(30)
				write("age", rpw.Retention{Age: age}, 3)
				got, _ = e.query(rpw.LogQuery{Log: "age"})
				require.Len(e, got, 3)
				e.pass(age)
				write("age", rpw.Retention{}, 1)
				got, _ = e.query(rpw.LogQuery{Log: "age"})
				require.Equal(e, []string{"0"}, got)
			}},
		{"Logs/Stored/ReadableByTheOriginal", []string{"L7"},
			"An entry of the log is an event of type log in the stream logQueue, with the JSON fields of the original's LogRepo.", func(e *env) {
				e.log(rpw.LogRecord{ID: "48a615ec", Time: time.UnixMilli(1795399404264), Level: slog.LevelWarn, Message: "hello", Attrs: json.RawMessage(`{"foo":1}`)},
					rpw.LogRecord{ID: "2", Time: time.UnixMilli(1795399404265), Level: slog.LevelError + 4, Message: "worse"})
				events, err := e.hub.Streams().Read(e.Context(), rpw.ReadRequest{Stream: "logQueue"})
				require.NoError(e, err)
				require.Len(e, events, 2)
				require.Equal(e, "log", events[0].Type)
				sameJSON(e, `{"id":"48a615ec","type":"log","level":"warn","message":"hello","data":{"foo":1},"timestamp":1795399404264}`, events[0].Data)
				var second map[string]any
				require.NoError(e, json.Unmarshal(events[1].Data, &second))
				require.Equal(e, "error", second["level"], "the original knows four levels")
			}},
		{"Logs/Stored/ReadsTheOriginal", []string{"L7", "L4"},
			"Entries of the original are records, and foreign ones are shown, not stumbled over.", func(e *env) {
				publish := func(kind, data string) {
					answers, err := e.hub.Streams().Publish(e.Context(), []rpw.Batch{{Stream: rpw.DefaultLog, Events: []rpw.NewEvent{{Type: kind, Data: []byte(data)}}}})
					require.NoError(e, err)
					require.NoError(e, answers[0].Err)
				}
				publish("log", `{"id":"48a615ec","type":"info","level":"warn","message":"hello","data":{"foo":1},"timestamp":1795399404264}`)
				publish("log", `{"id":"469365ec","type":"info","level":"info","message":"\u001b[32m[main]\u001b[0m titled","timestamp":1795399404265}`)
				publish("log", `broken {`)
				publish("other", ``)
				publish("log", `{"id":"3","type":"info","level":"error","message":"bye","timestamp":1795399404266}`)
				page, err := e.hub.Logs().Query(e.Context(), rpw.LogQuery{})
				require.NoError(e, err)
				require.Len(e, page.Records, 5)
				first := page.Records[0]
				require.Equal(e, []any{"48a615ec", slog.LevelWarn, "hello", int64(1795399404264)}, []any{first.ID, first.Level, first.Message, first.Time.UnixMilli()})
				sameJSON(e, `{"foo":1}`, first.Attrs)
				require.Equal(e, "broken {", page.Records[2].Message)
				level := slog.LevelWarn
				got, _ := e.query(rpw.LogQuery{LogFilter: rpw.LogFilter{Level: &level}})
				require.Equal(e, []string{"hello", "bye"}, got)
			}},
		{"Logs/Namespace/IsClosed", []string{"K2", "L4"},
			"The log of a namespace is its own.", func(e *env) {
				a, b := e.on(e.peer(rpw.WithNamespace("a"))), e.on(e.peer(rpw.WithNamespace("b")))
				a.log(entry("of a"))
				b.log(entry("of b"))
				got, _ := a.query(rpw.LogQuery{})
				require.Equal(e, []string{"of a"}, got)
				got, _ = e.query(rpw.LogQuery{Log: "b:logQueue"})
				require.Equal(e, []string{"of b"}, got)
				got, _ = e.query(rpw.LogQuery{})
				require.Empty(e, got)
			}},
	}
}

// reversed is a slice, turned round.
func reversed[T any](s []T) []T {
	out := make([]T, len(s))
	for i, v := range s {
		out[len(s)-1-i] = v
	}
	return out
}
