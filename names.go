package rpw

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits that hold on every driver. They are checked once, here, before any driver is reached.
const (
	MaxName       = 255     // bytes of a name
	MaxPayload    = 1 << 20 // bytes of one event, cache value, argument, output or progress data
	MaxBatch      = 1000    // items of one call
	MaxBatchBytes = 8 << 20 // bytes of one call
	MaxPage       = 500     // items of one page of an answer; a larger Max is read as this
)

// deadMark joins stream and group in the name of a dead-letter stream; it is reserved in names.
const deadMark = "!dead!"

// DeadLetter names the companion stream that holds what a group gave up on: past its deliveries, or
// rejected. It can be read and subscribed to like any stream; each event carries the headers
// HeaderDeadReason, HeaderDeadAttempts and HeaderDeadConsumer, and Administer puts events back (Redrive).
//
// The name is reserved ("stream!dead!group"), so no stream of a user can be one by accident, and
// a driver can store it beside its stream.
func DeadLetter(stream, group string) string { return stream + deadMark + group }

// ParseDeadLetter splits the name of a dead-letter stream; ok is false for other names.
func ParseDeadLetter(name string) (stream, group string, ok bool) {
	return strings.Cut(name, deadMark)
}

// maxNamespace bounds a namespace.
const maxNamespace = 64

// CheckName tells whether name may name a thing of the given kind ("stream", "key", "group", ...):
// 1 to 255 bytes of valid UTF-8, not counting a namespace in front ("namespace:", as a Hub without one sees the names of others), with no control, bidi or glob characters (*?[]\^), no braces, no
// space at either end, no ".." segment (between "/", ":" or the ends), and not the reserved "!dead!".
// The error is ErrInvalid, names the place and never echoes raw bytes. Names are compared
// bytewise; they are not normalised.
func CheckName(kind, name string) error {
	if isPlain(name) {
		return nil
	}
	switch {
	case name == "":
		return Errorf(ErrInvalid, "%s name is empty", kind)
	case len(name) > MaxName+namespaceLen(name):
		return Errorf(ErrInvalid, "%s name %s is too long: %d bytes (max %d)", kind, QuoteName(name), len(name), MaxName)
	case name[0] == ' ' || name[len(name)-1] == ' ':
		return Errorf(ErrInvalid, "%s name %s begins or ends with a space", kind, QuoteName(name))
	}
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			if nameBytes[c] {
				i++
				continue
			}
			return Errorf(ErrInvalid, "%s name %s has the character %s at byte %d, which names may not hold", kind, QuoteName(name), strconv.QuoteRune(rune(c)), i)
		}
		r, size := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && size == 1 {
			return Errorf(ErrInvalid, "%s name %s is not valid UTF-8 at byte %d", kind, QuoteName(name), i)
		}
		if forbiddenRune(r) {
			return Errorf(ErrInvalid, "%s name %s has the character %U at byte %d, which names may not hold", kind, QuoteName(name), r, i)
		}
		i += size
	}
	if hasDotDot(name) {
		return Errorf(ErrInvalid, "%s name %s has a \"..\" segment", kind, QuoteName(name))
	}
	if strings.Contains(name, deadMark) {
		return Errorf(ErrInvalid, "%s name %s holds %q, which is reserved for dead-letter streams", kind, QuoteName(name), deadMark)
	}
	return nil
}

// namespaceLen is the length of what may be a namespace in front of a name, with its colon.
func namespaceLen(name string) int {
	return strings.LastIndexByte(name[:min(len(name), maxNamespace+1)], ':') + 1
}

// checkStream is CheckName for a stream that may also be a dead-letter stream.
func checkStream(name string) error {
	if isPlain(name) {
		return nil
	}
	stream, group, ok := ParseDeadLetter(name)
	if !ok {
		return CheckName("stream", name)
	}
	if err := CheckName("stream", stream); err != nil {
		return err
	}
	return CheckName("group", group)
}

// QuoteName quotes a name for people: at most 64 runes, everything unprintable escaped.
func QuoteName(name string) string {
	const most = 64
	n := 0
	for i := range name {
		if n == most {
			return strconv.Quote(name[:i] + "…")
		}
		n++
	}
	return strconv.Quote(name)
}

// nameBytes are the ASCII characters a name may hold.
var nameBytes = func() (ok [utf8.RuneSelf]bool) {
	for c := ' '; c < 0x7f; c++ {
		ok[c] = !strings.ContainsRune(`{}*?[]\^`, c)
	}
	return ok
}()

// isPlain reports whether a name is of letters, digits and -_:/ only, as most are: then nothing in it needs a closer look.
func isPlain(name string) bool {
	for i := range len(name) {
		if !plainBytes[name[i]] {
			return false
		}
	}
	return name != "" && len(name) <= MaxName
}

var plainBytes = func() (ok [256]bool) {
	for _, c := range []byte("-_:/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		ok[c] = true
	}
	return ok
}()

// forbiddenRune: C1 controls, line and paragraph separators, bidi controls, the byte order mark.
func forbiddenRune(r rune) bool {
	return r >= 0x80 && r <= 0x9f ||
		r == 0x2028 || r == 0x2029 ||
		r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0x200e || r == 0x200f || r == 0x061c || r == 0xfeff
}

func hasDotDot(name string) bool {
	if !strings.Contains(name, "..") {
		return false
	}
	for seg := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == ':' }) {
		if seg == ".." {
			return true
		}
	}
	return false
}
