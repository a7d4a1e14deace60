package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// encoded returns what a Handler would store of attrs.
func encoded(attrs ...slog.Attr) string {
	var o object
	o.begin(&object{})
	for _, a := range attrs {
		o.add(a, 0)
	}
	return string(o.end())
}

// TestSameAsJSONHandler: attributes mean what slog.JSONHandler writes.
func TestSameAsJSONHandler(t *testing.T) {
	attrs := []slog.Attr{
		slog.String("s", "plain"), slog.String("quoted \"key\"", "tab\tline\ncr\rback\\ <&> \x00\x1b\x7f é 世界 \u2028\u202e 🎉"),
		slog.String("bad", "a\xffb\xc3"), slog.String("", "empty key"),
		slog.Int("i", -5), slog.Int64("min", math.MinInt64), slog.Uint64("u", math.MaxUint64),
		slog.Float64("f", 1.5), slog.Float64("tiny", 1e-9), slog.Float64("big", 1e30), slog.Float64("zero", math.Copysign(0, -1)),
		slog.Bool("b", true), slog.Duration("d", time.Second), slog.Time("t", time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)),
		slog.Any("nil", nil), slog.Any("map", map[string]int{"b": 1, "a": 2}), slog.Any("slice", []any{1, "<x>", nil}),
		slog.Any("err", errors.New("broken \"pipe\"")), slog.Any("bytes", []byte("raw")), slog.Any("level", slog.LevelWarn),
		slog.Any("struct", struct {
			A int
			b int
		}{1, 2}),
		slog.Group("g", slog.Int("a", 1), slog.Group("h", slog.Int("b", 2)), slog.Group("empty")),
		slog.Group("", slog.Int("inlined", 1)), slog.Attr{},
		slog.Any("valuer", valuerFunc(func() slog.Value { return slog.GroupValue(slog.Int("x", 1)) })),
		slog.Any("secret", rpw.Secret("s3cret")),
	}
	var std bytes.Buffer
	slog.New(slog.NewJSONHandler(&std, nil)).LogAttrs(t.Context(), slog.LevelInfo, "m", slog.Attr{Key: "own", Value: slog.GroupValue(attrs...)})
	var want, got map[string]any
	require.NoError(t, json.Unmarshal(std.Bytes(), &want))
	require.NoError(t, json.Unmarshal([]byte(encoded(attrs...)), &got))
	assert.Equal(t, want["own"], any(got))
}

func TestValuesThatJSONDoesNotKnow(t *testing.T) {
	type node struct{ Next *node }
	cyclic := &node{}
	cyclic.Next = cyclic
	loop := map[string]any{}
	loop["self"] = loop
	var typedNil *failing
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"NaN":            {math.NaN(), `{"k":"NaN"}`},
		"Inf":            {math.Inf(-1), `{"k":"-Inf"}`},
		"channel":        {make(chan int), `{"k":"!ERROR: json: unsupported type: chan int"}`},
		"cyclic pointer": {cyclic, `{"k":"!ERROR: json: unsupported value: encountered a cycle via *logs.node"}`},
		"cyclic map":     {loop, `{"k":"!ERROR: json: unsupported value: encountered a cycle via map[string]interface {}"}`},
		"panic":          {failing{}, `{"k":"!PANIC: no text"}`},
		"nil receiver":   {typedNil, `{"k":"<nil>"}`},
		"json panic":     {panickingJSON{}, `{"k":"!PANIC: no json"}`},
	} {
		assert.Equal(t, c.want, encoded(slog.Any("k", c.value)), name)
	}
	assert.Contains(t, encoded(slog.Any("k", valuerFunc(func() slog.Value { panic("no value") }))), "LogValue panicked")
	var self valuerFunc
	self = func() slog.Value { return slog.AnyValue(self) }
	assert.Contains(t, encoded(slog.Any("k", self)), "LogValue called too many times")
	var nest valuerFunc
	nest = func() slog.Value { return slog.GroupValue(slog.Any("g", nest)) }
	assert.Contains(t, encoded(slog.Any("k", nest)), "nested too deep")
}

// TestGroupsWithoutEnd: values that refer to each other make more groups than anybody could write.
func TestGroupsWithoutEnd(t *testing.T) {
	visits := 0
	var both valuerFunc
	both = func() slog.Value {
		if visits++; visits > 10*maxGroups {
			panic("it does not end")
		}
		return slog.GroupValue(slog.Any("left", both), slog.Any("right", both), slog.String("id", "x"))
	}
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(encoded(slog.Any("k", both))), &got))
	assert.Contains(t, got, "k")
	assert.Contains(t, got, droppedKey)
	assert.Less(t, visits, 10*maxGroups)

	visits = 0
	var out bytes.Buffer
	slog.New(Console(&out)).Info("m", "k", both)
	assert.Contains(t, out.String(), "too many groups")
	assert.Less(t, visits, 10*maxGroups)
}

type failing struct{ text string }

func (f failing) Error() string {
	if f.text == "" {
		panic("no text")
	}
	return f.text
}

type panickingJSON struct{}

func (panickingJSON) MarshalJSON() ([]byte, error) { panic("no json") }

func TestLimits(t *testing.T) {
	t.Run("long text is cut at a rune", func(t *testing.T) {
		long := strings.Repeat("é", maxValue)
		var got map[string]string
		require.NoError(t, json.Unmarshal([]byte(encoded(slog.String("k", "x"+long))), &got))
		assert.True(t, strings.HasSuffix(got["k"], fmt.Sprintf("… (cut, %d bytes)", len(long)+1)))
		assert.LessOrEqual(t, len(got["k"]), maxValue+40)
	})
	t.Run("long JSON becomes text", func(t *testing.T) {
		var got map[string]string
		require.NoError(t, json.Unmarshal([]byte(encoded(slog.Any("k", make([]int, maxValue)))), &got))
		assert.True(t, strings.HasPrefix(got["k"], "[0,0,"))
		assert.Contains(t, got["k"], "(cut, ")
	})
	t.Run("ten thousand attributes", func(t *testing.T) {
		var attrs []slog.Attr
		for i := range 10_000 {
			attrs = append(attrs, slog.Int("k"+strconv.Itoa(i), i))
		}
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(encoded(slog.Attr{Key: "g", Value: slog.GroupValue(attrs...)})), &got))
		assert.Len(t, got["g"], maxAttrs)
		assert.EqualValues(t, 10_000-maxAttrs, got[droppedKey])
	})
	t.Run("all of them together", func(t *testing.T) {
		var attrs []slog.Attr
		for i := range 200 {
			attrs = append(attrs, slog.String("k"+strconv.Itoa(i), strings.Repeat("\x00", maxValue)))
		}
		text := encoded(append(attrs, slog.Int("last", 1))...)
		assert.True(t, json.Valid([]byte(text)))
		assert.LessOrEqual(t, len(text), maxAttrBytes+100)
		assert.Contains(t, text, `"last":1`, "what still fits is kept")
		assert.Contains(t, text, droppedKey)
	})
	t.Run("reserved words are ordinary keys", func(t *testing.T) {
		assert.Equal(t, `{"level":"x","level":"y","msg":1,"time":2,"id":3}`, encoded(slog.String("level", "x"), slog.String("level", "y"),
			slog.Int("msg", 1), slog.Int("time", 2), slog.Int("id", 3)))
	})
}

// FuzzString: any text becomes a JSON string that reads back as the same text, bad bytes replaced, without a raw control.
func FuzzString(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got, want string
		require.NoError(t, json.Unmarshal(b, &got), "%q", b)
		std, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(std, &want))
		require.Equal(t, want, got)
		require.True(t, utf8.Valid(b))
		for _, r := range string(b) {
			require.True(t, r >= 0x10000 || strconv.IsPrint(r), "%U in %q", r, b)
		}
	})
}

// hostile are texts that try to be more than a text.
var hostile = []string{
	"", "plain", "two words", "a=b", `"quoted"`, `back\slash`, "line\nline", "cr\rover", "\r\n", "tab\t",
	"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", `\x1b[31m literal`, `\\x1b \x1b`, "\x9b31m", "\u009b31m", "\u0085",
	"nul\x00nul", "del\x7f del", "\u202eevil\u202c", "\u2066x\u2069", "\u200f\u200e", "\u2028 and \u2029", "\ufeffbom",
	"bad\xff\xfe utf8", "\xc3", "\xed\xa0\x80", "replacement \ufffd here", "nbsp\u00a0", "\U000e0001tag", "emoji 🎉 世界",
	"2026-01-02 ERR forged", "INF msg key=value",
}
