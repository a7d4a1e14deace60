package rpw

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// ID is the name of an event in its stream, ordered, unique within an epoch: the store's time in
// milliseconds and a sequence number. Its text form is "ms-seq", the form of Redis stream entries.
// The zero ID is before every event.
type ID struct {
	MS  uint64 // milliseconds since the Unix epoch; never runs backwards within a stream
	Seq uint64
}

// String returns "ms-seq".
func (id ID) String() string {
	b := make([]byte, 0, 24)
	b = strconv.AppendUint(b, id.MS, 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, id.Seq, 10))
}

// Compare orders IDs: -1, 0 or 1.
func (id ID) Compare(other ID) int {
	if c := cmp.Compare(id.MS, other.MS); c != 0 {
		return c
	}
	return cmp.Compare(id.Seq, other.Seq)
}

// IsZero reports whether id is before every event.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the store's time when the event was stored, to the millisecond.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id.MS)) }

// MarshalText writes the form of String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of String.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// ParseID reads "ms-seq". Other forms are ErrInvalid.
func ParseID(s string) (ID, error) {
	ms, seq, ok := strings.Cut(s, "-")
	if ok {
		m, err1 := parseUint(ms, 10)
		n, err2 := parseUint(seq, 10)
		if err1 == nil && err2 == nil {
			return ID{MS: m, Seq: n}, nil
		}
	}
	return ID{}, Errorf(ErrInvalid, "%s is no event id; the form is ms-seq, like 1795399404210-0", QuoteName(s))
}

// Position is a place in a stream's history, between two events: reading after it returns the event
// that follows. Users take positions from events (Event.Position), from Publish and from Locate,
// store their text form (at most 64 bytes) and come back with it, also to another process, another server
// or another version of the driver. Everything in it is for drivers: with the epoch and the count a read can
// tell exactly whether anything was lost in between.
//
// The zero Position is "the oldest event there is", without any claim about earlier ones.
type Position struct {
	Epoch uint64 // which history of the stream: a new random number (never 0) when it is created or created again
	ID    ID     // of the event before this place; zero at the very beginning
	Count uint64 // how many events had ever been added to this epoch, up to and with that one
}

// positionVersion is the first character of the text form. A reader of a later version keeps reading this one.
const positionVersion = "1"

// IsZero reports whether p is the zero Position.
func (p Position) IsZero() bool { return p == Position{} }

// String returns the text form: "1.epoch.ms.seq.count", each number in base 36; "" for the zero Position.
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	b := make([]byte, 0, 64)
	b = append(b, positionVersion...)
	for _, n := range [...]uint64{p.Epoch, p.ID.MS, p.ID.Seq, p.Count} {
		b = append(b, '.')
		b = strconv.AppendUint(b, n, 36)
	}
	return string(b)
}

// MarshalText writes the form of String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form of String.
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// ParsePosition reads the text form of a Position; "" is the zero Position. Other forms are ErrInvalid.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	bad := func() (Position, error) {
		return Position{}, Errorf(ErrInvalid, "%s is no stream position; use the text of a Position as it was given", QuoteName(s))
	}
	if len(s) > 64 {
		return bad()
	}
	parts := strings.Split(s, ".")
	if len(parts) != 5 || parts[0] != positionVersion {
		return bad()
	}
	var n [4]uint64
	for i, part := range parts[1:] {
		var err error
		if n[i], err = parseUint(part, 36); err != nil {
			return bad()
		}
	}
	p := Position{Epoch: n[0], ID: ID{MS: n[1], Seq: n[2]}, Count: n[3]}
	if p.Epoch == 0 {
		return bad()
	}
	return p, nil
}

// parseUint accepts only what AppendUint writes: no sign, no leading zero, no upper case.
func parseUint(s string, base int) (uint64, error) {
	n, err := strconv.ParseUint(s, base, 64)
	var own [64]byte
	if err == nil && string(strconv.AppendUint(own[:0], n, base)) != s {
		err = strconv.ErrSyntax
	}
	return n, err
}

// StartKind says how a Start is meant.
type StartKind uint8

// The kinds of Start, for drivers; users call Newest, Oldest, Since, After, Last.
const (
	StartNewest StartKind = iota
	StartOldest
	StartSince
	StartAfter
	StartLast
)

// Start says where in a stream to begin. The zero Start is Newest.
type Start struct {
	Kind     StartKind
	Time     time.Time // of StartSince
	Position Position  // of StartAfter
	N        int       // of StartLast
}

// Newest starts after everything stored so far.
func Newest() Start { return Start{} }

// Oldest starts with the oldest event there is.
func Oldest() Start { return Start{Kind: StartOldest} }

// Since starts with the first event stored at t or later, by the store's clock. While t is still to come, that is the next event.
func Since(t time.Time) Start { return Start{Kind: StartSince, Time: t} }

// After starts with the event that follows p. What was lost since p is reported as a gap.
func After(p Position) Start { return Start{Kind: StartAfter, Position: p} }

// Last starts with the n newest events, or with all if there are fewer.
func Last(n int) Start { return Start{Kind: StartLast, N: n} }
