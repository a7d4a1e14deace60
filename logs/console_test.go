package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// colour is the only escape sequence that tint writes.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// checkLine fails unless out is one harmless line: that of a record with n attributes (in colour, each brings its own sequences).
func checkLine(t testing.TB, out string, color bool, sequences int) {
	t.Helper()
	require.True(t, utf8.ValidString(out), "%q", out)
	require.Equal(t, 1, strings.Count(out, "\n"), "%q", out)
	require.True(t, strings.HasSuffix(out, "\n"), "%q", out)
	if color {
		require.Len(t, colour.FindAllString(out, -1), sequences, "%q", out)
		out = colour.ReplaceAllString(out, "")
	}
	for _, r := range strings.TrimSuffix(out, "\n") {
		require.True(t, strconv.IsPrint(r), "%U in %q", r, out)
	}
}

// writeHostile logs s in every place where text from outside can stand.
func writeHostile(s string, color bool) string {
	var out bytes.Buffer
	h := Console(&out, ConsoleColor(color)).WithGroup("g" + s).WithAttrs([]slog.Attr{slog.String("a"+s, s), slog.Any("b", errors.New(s))})
	r := slog.NewRecord(time.Now(), slog.LevelInfo, s, 0)
	r.AddAttrs(slog.String("k"+s, s), slog.Any("err", errors.New(s)), slog.Any("bytes", []byte(s)), slog.Any("map", map[string]string{s: s}),
		slog.Any("text", texter(s)), slog.Group("g"+s, slog.String("k"+s, s)), slog.Any("panic", panicker(s)),
		slog.Any("lv", valuerFunc(func() slog.Value { return slog.StringValue(s) })))
	if err := h.Handle(context.Background(), r); err != nil {
		panic(err)
	}
	return out.String()
}

// sequencesOfHostile is how many colour sequences writeHostile makes for harmless text: two for the time, two for the level, two
// for each of 8 attributes and three (colour, end of faint, end) for each of 2 errors.
const sequencesOfHostile = 2 + 2 + 2*8 + 3*2

type texter string

func (t texter) MarshalText() ([]byte, error) { return []byte(t), nil }

type panicker string

func (p panicker) MarshalText() ([]byte, error) { panic(string(p)) }

// TestConsoleCannotBeForged protects L6.
func TestConsoleCannotBeForged(t *testing.T) {
	for _, s := range hostile {
		checkLine(t, writeHostile(s, false), false, 0)
		checkLine(t, writeHostile(s, true), true, sequencesOfHostile)
	}
}

func FuzzConsole(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkLine(t, writeHostile(s, false), false, 0)
		checkLine(t, writeHostile(s, true), true, sequencesOfHostile)
	})
}

func TestConsoleReadsWell(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(Console(&out, ConsoleTime("15:04")))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		want    string
		message string
		attrs   []any
	}{
		{`03:04 INF resized path=/a/b.png took=1.5s n=3 ok=true`, "resized", []any{"path", "/a/b.png", "took", 1500 * time.Millisecond, "n", 3, "ok", true}},
		{`03:04 INF two\nlines \x1b[31m text="two\nlines"`, "two\nlines \x1b[31m", []any{"text", "two\nlines"}},
		{`03:04 INF C:\dir path="C:\\my dir"`, `C:\dir`, []any{"path", `C:\my dir`}},
		{`03:04 INF m err="no such file" nil=<nil>`, "m", []any{"err", errors.New("no such file"), "nil", nil}},
		{`03:04 INF m level=WARN secret=*** list=[1,2]`, "m", []any{"level", slog.LevelWarn, "secret", rpw.Secret("x"), "list", []int{1, 2}}},
		{`03:04 INF m req.method=GET req.path=/`, "m", []any{slog.Group("req", "method", "GET", "path", "/")}},
		{`03:04 INF m bad=a\xffb`, "m", []any{"bad", "a\xffb"}},
	} {
		out.Reset()
		r := slog.NewRecord(at, slog.LevelInfo, c.message, 0)
		r.Add(c.attrs...)
		require.NoError(t, log.Handler().Handle(t.Context(), r))
		assert.Equal(t, c.want+"\n", out.String())
	}
}

func TestConsoleLimits(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(Console(&out))
	loop := map[string]any{}
	loop["self"] = loop
	var nest valuerFunc
	nest = func() slog.Value { return slog.GroupValue(slog.Any("g", nest)) }
	log.Info(strings.Repeat("m", 1<<20), "v", strings.Repeat("v", 1<<20), "loop", loop, "nest", nest)
	checkLine(t, out.String(), false, 0)
	assert.Less(t, out.Len(), 3*maxValue)
	assert.Contains(t, out.String(), "(cut, 1048576 bytes)")
	assert.Contains(t, out.String(), "cycle")
	assert.Contains(t, out.String(), "nested too deep")
}

func TestConsoleOptions(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := slog.New(Console(&out, ConsoleLevel(level), ConsoleCaller()))
	log.Debug("hidden")
	level.Set(slog.LevelDebug)
	log.Debug("shown")
	assert.NotContains(t, out.String(), "hidden")
	assert.Regexp(t, `^.{19} DBG logs/console_test.go:\d+ shown\n$`, out.String())
}

func TestColoursOnlyOnATerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	slog.New(Console(file)).Error("m")
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	data, err := io.ReadAll(file)
	require.NoError(t, err)
	assert.NotContains(t, string(data), "\x1b")
	assert.False(t, colorful(io.Discard))
}

// TestConsoleSlogtest: the standard library's suite, over the text.
func TestConsoleSlogtest(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t,
		func(*testing.T) slog.Handler {
			out.Reset()
			return Console(&out, ConsoleTime("<time>"))
		},
		func(t *testing.T) map[string]any {
			checkLine(t, out.String(), false, 0)
			fields := strings.Fields(out.String())
			result := map[string]any{}
			if fields[0] == "<time>" {
				result[slog.TimeKey], fields = fields[0], fields[1:]
			}
			result[slog.LevelKey], result[slog.MessageKey] = fields[0], fields[1]
			for _, field := range fields[2:] {
				path, value, _ := strings.Cut(field, "=")
				keys := strings.Split(path, ".")
				in := result
				for _, group := range keys[:len(keys)-1] {
					if in[group] == nil {
						in[group] = map[string]any{}
					}
					in = in[group].(map[string]any)
				}
				in[keys[len(keys)-1]] = value
			}
			return result
		})
}
