package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// ConsoleOption changes how Console makes a handler.
type ConsoleOption func(*tint.Options)

// ConsoleLevel sets the lowest level that is shown; a *slog.LevelVar can be changed later. The default is slog.LevelInfo.
func ConsoleLevel(l slog.Leveler) ConsoleOption { return func(o *tint.Options) { o.Level = l } }

// ConsoleColor turns colours on or off. By default they are on if the writer is a terminal, the environment
// variable NO_COLOR is empty and TERM is not dumb.
func ConsoleColor(on bool) ConsoleOption { return func(o *tint.Options) { o.NoColor = !on } }

// ConsoleTime sets the layout of the time, as of time.Format. The default is time.StampMilli.
func ConsoleTime(layout string) ConsoleOption { return func(o *tint.Options) { o.TimeFormat = layout } }

// ConsoleCaller shows file and line of the call.
func ConsoleCaller() ConsoleOption { return func(o *tint.Options) { o.AddSource = true } }

// Console returns a slog.Handler for people: tint, which writes one line for each record. Whatever a message, key, group, value or
// error holds, the line stays one line, and its only escape sequences are tint's own colours. Values that are not scalars
// are shown as JSON, errors as their text. w gets each line in one call of Write.
func Console(w io.Writer, opts ...ConsoleOption) slog.Handler {
	o := tint.Options{TimeFormat: time.StampMilli, NoColor: !colorful(w)}
	apply(&o, opts)
	return console{tint.NewTextHandler(w, &o)}
}

func colorful(w io.Writer) bool {
	file, ok := w.(interface{ Fd() uintptr })
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}

// console makes everything harmless before tint sees it.
type console struct{ tint slog.Handler }

func (c console) Enabled(ctx context.Context, l slog.Level) bool { return c.tint.Enabled(ctx, l) }

func (c console) Handle(ctx context.Context, r slog.Record) error {
	harmless := slog.NewRecord(r.Time, r.Level, Escape(cut(r.Message, maxValue)), r.PC)
	var d defuser
	r.Attrs(func(a slog.Attr) bool {
		harmless.AddAttrs(d.attr(a, 0))
		return true
	})
	return c.tint.Handle(ctx, harmless)
}

func (c console) WithAttrs(attrs []slog.Attr) slog.Handler {
	var d defuser
	return console{c.tint.WithAttrs(d.attrs(attrs, 0))}
}

func (c console) WithGroup(name string) slog.Handler {
	return console{c.tint.WithGroup(defuse(cut(name, maxKey)))}
}

// defuser makes attributes harmless.
type defuser struct{ groups int }

func (d *defuser) attrs(attrs []slog.Attr, depth int) []slog.Attr {
	harmless := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		harmless[i] = d.attr(a, depth)
	}
	return harmless
}

func (d *defuser) attr(a slog.Attr, depth int) slog.Attr {
	key, v := defuse(cut(a.Key, maxKey)), a.Value.Resolve() // recovers panics
	switch v.Kind() {
	case slog.KindString:
		return slog.String(key, defuse(cut(v.String(), maxValue)))
	case slog.KindAny:
		if v.Any() == nil {
			return slog.Attr{Key: key}
		}
		shown := slog.String(key, defuse(cut(textOf(v.Any()), maxValue)))
		if _, ok := v.Any().(error); ok {
			return tint.Attr(9, shown) // bright red
		}
		return shown
	case slog.KindGroup:
		if depth == maxDepth {
			return slog.String(key, "!ERROR: groups are nested too deep")
		}
		if d.groups++; d.groups > maxGroups {
			return slog.String(key, "!ERROR: too many groups")
		}
		return slog.Attr{Key: key, Value: slog.GroupValue(d.attrs(v.Group(), depth+1)...)}
	}
	return slog.Attr{Key: key, Value: v} // numbers, times, booleans
}

// textOf is render for people: a JSON string without its quotes, bytes as text.
func textOf(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	text, isText := render(v)
	var unquoted string
	if !isText && json.Unmarshal([]byte(text), &unquoted) == nil {
		return unquoted
	}
	return text
}

// Escape makes text harmless to a terminal: everything that is not printable (escape sequences, line ends, bidi controls, bytes that are no
// UTF-8) is written as strconv.Quote would, so that one line stays one line. Text without such characters is returned as it is.
func Escape(s string) string {
	return replace(s, func(r rune) bool { return !strconv.IsPrint(r) })
}

// defuse handles what tint's own quoting of keys and values lets through: an escape character, also as the
// four characters \x1b (which it would turn back into one), DEL, and bad UTF-8 and U+FFFD (after which it would cut).
func defuse(s string) string {
	s = replace(s, func(r rune) bool { return r == '\x1b' || r == '\x7f' || r == utf8.RuneError })
	return strings.ReplaceAll(s, `\x1b`, `\x1B`)
}

// replace writes the runes that are bad, and bytes that are no UTF-8, as escapes.
func replace(s string, bad func(rune) bool) string {
	var b []byte // nil while nothing was replaced
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if invalid := r == utf8.RuneError && size == 1; invalid || bad(r) {
			b = append(b, s[start:i]...)
			if invalid {
				b = fmt.Appendf(b, `\x%02x`, s[i])
			} else {
				quoted := strconv.AppendQuoteRuneToASCII(nil, r)
				b = append(b, quoted[1:len(quoted)-1]...)
			}
			start = i + size
		}
		i += size
	}
	if b == nil {
		return s
	}
	return string(append(b, s[start:]...))
}
