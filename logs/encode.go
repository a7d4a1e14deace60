package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// Bounds of one record.
const (
	maxValue     = 16 << 10  // bytes of a message or of one attribute's text; longer ones are cut
	maxAttrs     = 256       // attributes, counting those in groups
	maxAttrBytes = 128 << 10 // of all attributes, as JSON
	maxKey       = 1 << 10   // bytes of a key
	maxDepth     = 32        // of groups in groups
	maxGroups    = 256       // groups: a slog.LogValuer may make groups of itself without end
)

// droppedKey counts the attributes that did not fit.
const droppedKey = "!dropped"

// object writes attributes as a JSON object, by appending to buf. The zero object has not begun.
type object struct {
	buf     []byte
	open    int // groups that are open in buf
	attrs   int
	groups  int // that were begun, also those that stayed empty
	dropped int
}

// begin opens the object with what was written before.
func (o *object) begin(prefix *object) {
	o.buf = append(o.buf[:0], prefix.buf...)
	o.open, o.attrs, o.groups, o.dropped = prefix.open, prefix.attrs, prefix.groups, prefix.dropped
	if len(o.buf) == 0 {
		o.buf = append(o.buf, '{')
	}
}

// inGroups opens groups, lets write write into them, and takes back what stayed empty.
func (o *object) inGroups(names []string, write func()) {
	mark := len(o.buf)
	for _, name := range names {
		o.key(name)
		o.buf = append(o.buf, '{')
	}
	start := len(o.buf)
	write()
	if len(o.buf) == start {
		o.buf = o.buf[:mark]
		return
	}
	o.open += len(names)
}

// end closes what is open. It returns nil for an object without attributes.
func (o *object) end() []byte {
	for ; o.open > 0; o.open-- {
		o.buf = append(o.buf, '}')
	}
	if o.dropped > 0 {
		o.key(droppedKey)
		o.buf = strconv.AppendInt(o.buf, int64(o.dropped), 10)
	}
	if len(o.buf) == 1 {
		return nil
	}
	o.buf = append(o.buf, '}')
	return o.buf
}

func (o *object) add(a slog.Attr, depth int) {
	v, kind := a.Value, a.Value.Kind()
	if kind == slog.KindLogValuer {
		v = v.Resolve() // recovers panics
		kind = v.Kind()
	}
	if kind == slog.KindGroup {
		o.addGroup(a.Key, v.Group(), depth)
		return
	}
	if a.Key == "" && v.Equal(slog.Value{}) {
		return
	}
	mark := len(o.buf)
	if o.attrs < maxAttrs {
		o.key(a.Key)
		o.value(v, kind)
	}
	if o.attrs == maxAttrs || len(o.buf) > maxAttrBytes {
		o.buf = o.buf[:mark]
		o.dropped++
		return
	}
	o.attrs++
}

func (o *object) addGroup(key string, attrs []slog.Attr, depth int) {
	if depth == maxDepth {
		o.add(slog.String(key, "!ERROR: groups are nested too deep"), depth)
		return
	}
	if o.groups++; o.groups > maxGroups {
		o.dropped++
		return
	}
	if key == "" {
		for _, a := range attrs {
			o.add(a, depth+1)
		}
		return
	}
	mark := len(o.buf)
	o.key(key)
	o.buf = append(o.buf, '{')
	start := len(o.buf)
	for _, a := range attrs {
		o.add(a, depth+1)
	}
	if len(o.buf) == start {
		o.buf = o.buf[:mark]
		return
	}
	o.buf = append(o.buf, '}')
}

func (o *object) key(key string) {
	if o.buf[len(o.buf)-1] != '{' {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(appendString(o.buf, cut(key, maxKey)), ':')
}

func (o *object) value(v slog.Value, kind slog.Kind) {
	switch kind {
	case slog.KindString:
		o.text(v.String())
	case slog.KindInt64:
		o.buf = strconv.AppendInt(o.buf, v.Int64(), 10)
	case slog.KindUint64:
		o.buf = strconv.AppendUint(o.buf, v.Uint64(), 10)
	case slog.KindFloat64:
		o.buf = appendFloat(o.buf, v.Float64())
	case slog.KindBool:
		o.buf = strconv.AppendBool(o.buf, v.Bool())
	case slog.KindDuration:
		o.buf = strconv.AppendInt(o.buf, int64(v.Duration()), 10)
	case slog.KindTime:
		o.buf = append(o.buf, '"')
		o.buf = v.Time().AppendFormat(o.buf, time.RFC3339Nano)
		o.buf = append(o.buf, '"')
	default:
		switch text, isText := render(v.Any()); {
		case isText:
			o.text(text)
		case len(text) > maxValue:
			o.text(text)
		default:
			o.buf = append(o.buf, text...)
		}
	}
}

func (o *object) text(s string) { o.buf = appendString(o.buf, cut(s, maxValue)) }

// render turns any value into text for people (an error's) or into JSON. Panics of its methods, values without JSON and cyclic
// ones become texts that say so.
func render(v any) (text string, isText bool) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		isText = true
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
			text = "<nil>" // a method that did not expect it
			return
		}
		text = fmt.Sprintf("!PANIC: %v", r)
	}()
	if err, ok := v.(error); ok {
		if _, ok := v.(json.Marshaler); !ok {
			return err.Error(), true
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "!ERROR: " + err.Error(), true
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), false
}

// cut shortens s to about n bytes, at the start of a rune, and says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s… (cut, %d bytes)", s[:n], len(s))
}

// appendFloat writes f as encoding/json does; what JSON does not know becomes a string.
func appendFloat(b []byte, f float64) []byte {
	abs := math.Abs(f)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		b = append(b, '"')
		b = strconv.AppendFloat(b, f, 'g', -1, 64)
		return append(b, '"')
	}
	if abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'e', -1, 64)
}

// appendString writes s as a JSON string of valid UTF-8. Controls, line separators and characters that change the direction of text are
// escaped, so that the text also looks like what it is where it is shown.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0 // of what is not yet written
	for i := 0; ; {
		for i < len(s) && plain[s[i]] {
			i++
		}
		if i == len(s) {
			return append(append(b, s[start:]...), '"')
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r < utf8.RuneSelf || r == utf8.RuneError && size == 1 || r < 0x10000 && !strconv.IsPrint(r) {
			b = appendEscaped(append(b, s[start:i]...), r)
			start = i + size
		}
		i += size
	}
}

// plain are the bytes that stand for themselves in a JSON string: ASCII but for controls, quote and backslash.
var plain = func() (ok [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		ok[c] = c != '"' && c != '\\'
	}
	return ok
}()

// appendEscaped writes a rune of the basic plane as a JSON escape.
func appendEscaped(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
}
