package redis

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// packed is a value in MessagePack, as far as scripts and this driver tell each other things in it (cmsgpack in Lua).
type packed []byte

// string is what was packed; nothing may be added after.
func (p packed) string() string { return rueidis.BinaryString(p) }

func (p packed) array(n int) packed {
	if n < 16 {
		return append(p, 0x90|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(p, 0xdc), uint16(n))
}

func (p packed) int(n int64) packed {
	switch {
	case n >= 0 && n < 128:
		return append(p, byte(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(p, 0xd2), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(p, 0xd3), uint64(n))
	}
}

func (p packed) uint(n uint64) packed {
	if n <= math.MaxInt64 {
		return p.int(int64(n))
	}
	return binary.BigEndian.AppendUint64(append(p, 0xcf), n)
}

// big appends the last bytes of n, big-endian, without a mark of their own.
func (p packed) big(bytes int, n int64) packed {
	for i := bytes - 1; i >= 0; i-- {
		p = append(p, byte(n>>(8*i)))
	}
	return p
}

func (p packed) bool(b bool) packed {
	if b {
		return append(p, 1)
	}
	return append(p, 0)
}

func (p packed) float(f float64) packed {
	return binary.BigEndian.AppendUint64(append(p, 0xcb), math.Float64bits(f))
}

func packText[T ~string | ~[]byte](p packed, s T) packed {
	switch n := len(s); {
	case n < 32:
		p = append(p, 0xa0|byte(n))
	case n <= math.MaxUint8:
		p = append(p, 0xd9, byte(n))
	case n <= math.MaxUint16:
		p = binary.BigEndian.AppendUint16(append(p, 0xda), uint16(n))
	default:
		p = binary.BigEndian.AppendUint32(append(p, 0xdb), uint32(n))
	}
	return append(p, s...)
}

func (p packed) text(s string) packed  { return packText(p, s) }
func (p packed) bytes(s []byte) packed { return packText(p, s) }

// errUnpack: what a script stored is not what this version of it stores.
var errUnpack = errors.New("a record cannot be read")

// unpacker reads packed values one after the other. The first one that is not what it should be is an error, and all after it are zero.
type unpacker struct {
	rest string
	err  error
}

func (u *unpacker) fail() {
	u.rest, u.err = "", errUnpack
}

// take returns the next n bytes, zeros after a failure.
func (u *unpacker) take(n int) string {
	if n > len(u.rest) {
		u.fail()
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

// number returns the next n bytes as a big-endian number.
func (u *unpacker) number(n int) (v uint64) {
	for _, b := range []byte(u.take(n)) {
		v = v<<8 | uint64(b)
	}
	return v
}

// time returns the next 8 bytes as a time in µs; 0 is the zero time.
func (u *unpacker) time() time.Time { return timeOf(int64(u.number(8))) }

// zeroEnded returns the text up to the next zero.
func (u *unpacker) zeroEnded() string {
	i := strings.IndexByte(u.rest, 0)
	if i < 0 {
		u.fail()
		return ""
	}
	return u.take(i + 1)[:i]
}

// kind returns the byte that a value begins with.
func (u *unpacker) kind() byte {
	if s := u.take(1); s != "" {
		return s[0]
	}
	return 0xc0
}

// array returns the length of an array, whose values follow.
func (u *unpacker) array() int {
	switch c := u.kind(); {
	case c&0xf0 == 0x90:
		return int(c & 0x0f)
	case c == 0xdc:
		return int(u.number(2))
	case c == 0xdd:
		return int(u.number(4))
	case c == 0x80: // an empty table of Lua
		return 0
	}
	u.fail()
	return 0
}

func (u *unpacker) float() float64 {
	switch c := u.kind(); c {
	case 0xca:
		return float64(math.Float32frombits(uint32(u.number(4))))
	case 0xcb:
		return math.Float64frombits(u.number(8))
	default:
		return float64(u.integer(c))
	}
}

func (u *unpacker) int() int64 { return u.integer(u.kind()) }

func (u *unpacker) integer(c byte) int64 {
	switch {
	case c < 0x80 || c >= 0xe0:
		return int64(int8(c))
	case c >= 0xcc && c <= 0xcf:
		return int64(u.number(1 << (c - 0xcc)))
	case c >= 0xd0 && c <= 0xd3:
		size := 1 << (c - 0xd0)
		shift := 64 - 8*size
		return int64(u.number(size)<<shift) >> shift
	}
	u.fail()
	return 0
}

func (u *unpacker) text() string {
	switch c := u.kind(); {
	case c&0xe0 == 0xa0:
		return u.take(int(c & 0x1f))
	case c == 0xd9:
		return u.take(int(u.number(1)))
	case c == 0xda:
		return u.take(int(u.number(2)))
	case c == 0xdb:
		return u.take(int(u.number(4)))
	}
	u.fail()
	return ""
}

// isText reports whether a text comes next.
func (u *unpacker) isText() bool {
	if u.rest == "" {
		return false
	}
	c := u.rest[0]
	return c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb
}
