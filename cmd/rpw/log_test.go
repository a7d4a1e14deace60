package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func (b *backend) log(records ...rpw.LogRecord) {
	b.t.Helper()
	for i := range records {
		if records[i].ID == "" {
			records[i].ID = fmt.Sprint(i)
		}
		if records[i].Time.IsZero() {
			records[i].Time = time.Now()
		}
	}
	require.NoError(b.t, b.hub.Logs().Write(b.t.Context(), rpw.WriteLogs{Records: records}))
}

func TestLogQuery(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.log(rpw.LogRecord{Level: slog.LevelDebug, Message: "first", Source: "api"})
		time.Sleep(2 * time.Hour) // virtual
		b.log(
			rpw.LogRecord{Level: slog.LevelInfo, Message: "Second", Source: "api", Worker: "resizer", Action: "resize/1", Attempt: 2,
				Attrs: json.RawMessage(`{"zeta":1,"http":{"status":500},"alpha":"a b"}`)},
			rpw.LogRecord{Level: slog.LevelError, Message: "third", Source: "web"},
		)
		found := func(args ...string) (messages []string) {
			for _, line := range b.lines(append([]string{"log", "query"}, args...)...) {
				messages = append(messages, line["message"].(string))
			}
			return messages
		}
		assert.Equal(t, []string{"first", "Second", "third"}, found())
		assert.Equal(t, []string{"third", "Second", "first"}, found("--reverse"))
		assert.Equal(t, []string{"Second", "third"}, found("--last", "2"))
		assert.Equal(t, []string{"third", "Second"}, found("--last", "2", "--reverse"))
		assert.Equal(t, []string{"Second", "third"}, found("--level", "info"))
		assert.Equal(t, []string{"third"}, found("--level", "INFO+1"))
		assert.Equal(t, []string{"first", "Second"}, found("--source", "api"))
		assert.Equal(t, []string{"Second"}, found("--worker", "resizer", "--action", "resize/1"))
		assert.Equal(t, []string{"Second"}, found("--text", "SEC"))
		assert.Equal(t, []string{"Second"}, found("--attr", "http.status=500", "--attr", "zeta=1"))
		assert.Empty(t, found("--attr", "http.status=200"))
		assert.Equal(t, []string{"Second", "third"}, found("--since", "1h"))
		assert.Equal(t, []string{"first"}, found("--until", "1h"))
		assert.Empty(t, found("--log", "otherLog"))

		line := b.ok("log", "query", "--text", "second")
		assert.Contains(t, line, `INF Second source=api worker=resizer action=resize/1 attempt=2 zeta=1 http="{\"status\":500}" alpha="a b"`)
		assert.Equal(t, 3, strings.Count(b.ok("log", "query"), "\n"), "all levels")
	})
}

func TestLogTail(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.log(rpw.LogRecord{Message: "old"})
		p := b.start("log", "tail", "--level", "warn", "--json")
		b.log(rpw.LogRecord{Message: "quiet"}, rpw.LogRecord{Level: slog.LevelWarn, Message: "loud"})
		synctest.Wait()
		lines := objects(t, p.stdout.String())
		require.Len(t, lines, 1)
		assert.Equal(t, "loud", lines[0]["message"])
		assert.Equal(t, "WARN", lines[0]["level"])
		p.interrupt()
		assert.Equal(t, exitOK, p.wait().code)

		assert.Equal(t, []string{"quiet", "loud"}, messages(b.lines("log", "tail", "--last", "2", "--count", "2")))
		assert.Equal(t, []string{"old", "quiet"}, messages(b.lines("log", "tail", "--from", "start", "--count", "2")))
		after := b.lines("log", "query")[0]["position"].(string)
		assert.Equal(t, []string{"quiet"}, messages(b.lines("log", "tail", "--from", after, "--count", "1")))
		at, err := rpw.ParsePosition(after)
		require.NoError(t, err)
		assert.Equal(t, []string{"quiet"}, messages(b.lines("log", "tail", "--from", at.ID.String(), "--count", "1")))
		assert.Equal(t, []string{"old"}, messages(b.lines("log", "tail", "--from", "1h", "--count", "1")))
	})
}

func messages(lines []map[string]any) (all []string) {
	for _, line := range lines {
		all = append(all, line["message"].(string))
	}
	return all
}

// A gap in the log is told, and the log goes on.
func TestLogGap(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		for i := range 1000 {
			b.log(rpw.LogRecord{Message: fmt.Sprint(i)})
		}
		after := b.lines("log", "query")[0]["position"].(string)
		_, err := b.hub.Streams().Trim(t.Context(), rpw.DefaultLog, rpw.Retention{Events: 1})
		require.NoError(t, err)
		r := b.run("log", "tail", "--from", after, "--count", "1", "--json")
		assert.Equal(t, exitOK, r.code)
		assert.Contains(t, r.stderr, "events are missing")
		assert.Len(t, objects(t, r.stdout), 1)
	})
}

// What others write into the log, and what programs log of their users, cannot forge a line.
func TestLogHostile(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		attrs, err := json.Marshal(map[string]any{hostile: hostile, "group": map[string]any{hostile: []string{hostile}}})
		require.NoError(t, err)
		b.log(rpw.LogRecord{ID: hostile, Message: hostile, Source: hostile, Worker: hostile, Action: hostile, Attrs: attrs})
		b.publish(rpw.DefaultLog, "other", "\x1b[31m no JSON \n rpw: forged")
		b.publish(rpw.DefaultLog, "other", `{"message":"list","data":[1,"`+"\u009b"+`"]}`)
		out := b.ok("log", "query")
		assert.Equal(t, 3, strings.Count(out, "\n"), "%q", out)
		assert.NotContains(t, out, "\x1b")
		harmless(t, strings.ReplaceAll(out, "\ufffd", ""))
		assert.Contains(t, out, "list data=")
		json := b.ok("log", "query", "--json")
		harmless(t, strings.ReplaceAll(json, "\ufffd", ""))
		assert.Len(t, objects(t, json), 3)
	})
}
