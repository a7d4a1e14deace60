package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

// print writes a line for people; what comes from the backend must be escaped in it.
func (a *app) print(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
	return err
}

// printJSON writes v as one line of JSON.
func (a *app) printJSON(v any) error {
	line, err := jsonLine(v)
	if err == nil {
		_, err = a.stdout.Write(line)
	}
	return err
}

func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return append(defuse(b.Bytes()[:b.Len()-1]), '\n'), nil
}

// defuse escapes what encoding/json lets through and a terminal may obey: DEL, C1 controls, bidi controls, bytes that are no UTF-8. In JSON
// all of them can stand in strings only, so the value stays the same.
func defuse(line []byte) []byte {
	var b []byte // nil while nothing was replaced
	start := 0
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		if r == 0x7f || r >= utf8.RuneSelf && (!strconv.IsPrint(r) || r == utf8.RuneError && size == 1) {
			b = append(b, line[start:i]...)
			for _, unit := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, `\u%04x`, unit)
			}
			start = i + size
		}
		i += size
	}
	if b == nil {
		return line
	}
	return append(b, line[start:]...)
}

// list writes items: with --json the view of each on a line, else a row of each under the head, whose columns are separated by tabs.
func list[T any](a *app, items iter.Seq2[T, error], head string, view func(T) any, row func(T) []any) error {
	t := newTable(a.stdout, head)
	n := 0
	for item, err := range items {
		if err == nil && a.json {
			err = a.printJSON(view(item))
		}
		if err != nil {
			t.Flush()
			return err
		}
		if a.json {
			continue
		}
		t.row(row(item)...)
		if n++; n%rpw.MaxPage == 0 { // a long list comes in pieces
			if err := t.Flush(); err != nil {
				return err
			}
		}
	}
	if a.json {
		return nil
	}
	return t.Flush()
}

// table lines columns up for people.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, head string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if head != "" {
		fmt.Fprintln(t, head)
	}
	return t
}

// row writes a row. Its errors come with Flush.
func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			io.WriteString(t, "\t")
		}
		io.WriteString(t, text(cell))
	}
	io.WriteString(t, "\n")
}

// text is a value for people: harmless, on one line, "-" if there is none.
func text(v any) string {
	var s string
	switch v := v.(type) {
	case time.Time:
		if !v.IsZero() {
			s = v.Local().Format(time.DateTime)
		}
	case time.Duration:
		if v != 0 {
			s = roughly(v)
		}
	case []byte:
		s = string(v)
	case json.RawMessage:
		s = string(v)
	default:
		s = fmt.Sprint(v)
	}
	if s == "" {
		return "-"
	}
	return logs.Escape(s)
}

// roughly is d to two or three digits.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Minute:
		s := d.Round(time.Second).String()
		for _, none := range []string{"m0s", "h0m"} {
			if cut, ok := strings.CutSuffix(s, none); ok {
				s = cut + none[:1]
			}
		}
		return s
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.String()
}

// short cuts a text to n runes.
func short(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// words are names as arguments of a command line that is safe to paste into a shell; they come last in it.
func words(names ...string) string {
	dashed := false
	quoted := make([]string, len(names))
	for i, name := range names {
		dashed = dashed || strings.HasPrefix(name, "-")
		quoted[i] = quote(name)
	}
	if dashed { // not a flag
		quoted = append([]string{"--"}, quoted...)
	}
	return strings.Join(quoted, " ")
}

// quote is s as one word of a shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// millis is a duration in JSON.
func millis(d time.Duration) int64 { return d.Milliseconds() }

// payload is a value of a stream or the cache in JSON: as it is if it is JSON, else as text, else in base64.
type payload struct {
	Data   json.RawMessage `json:"data,omitempty"`
	Text   *string         `json:"text,omitempty"`
	Base64 []byte          `json:"base64,omitempty"`
}

func payloadOf(data []byte) payload {
	switch {
	case json.Valid(data):
		return payload{Data: data}
	case utf8.Valid(data):
		s := string(data)
		return payload{Text: &s}
	}
	return payload{Base64: data}
}

// pages are the items of all pages. fetch gets the cursor of the page before, which is zero at first, and again after the last.
func pages[T any, C comparable](fetch func(after C) ([]T, C, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var after, end C
		for {
			items, next, err := fetch(after)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if after = next; after == end {
				return
			}
		}
	}
}

// all are the items of a slice, or the error that took its place.
func all[T any](items []T, err error) iter.Seq2[T, error] {
	return pages(func(string) ([]T, string, error) { return items, "", err })
}

// atMost are the first n items; 0 is all.
func atMost[T any](n int, items iter.Seq2[T, error]) iter.Seq2[T, error] {
	if n <= 0 {
		return items
	}
	return func(yield func(T, error) bool) {
		left := n
		for item, err := range items {
			left--
			if !yield(item, err) || left == 0 {
				return
			}
		}
	}
}
