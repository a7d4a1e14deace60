package logs

import (
	"log/slog"
	"math"
	"time"

	"github.com/redis-process-worker/rpw"
)

// entry is a record as Handle leaves it: what can be done later is done later. Its attributes stand beside it.
type entry struct {
	ms      int64 // since 1970; noTime: none
	level   slog.Level
	message string
	attrs   int // bytes
	origin  rpw.Origin
}

const noTime = math.MinInt64

func (e *entry) time() time.Time {
	if e.ms == noTime {
		return time.Time{}
	}
	return time.UnixMilli(e.ms)
}

// size is roughly the memory an entry holds.
func (e *entry) size() int { return entryOverhead + len(e.message) + e.attrs }

const entryOverhead = 256

// buffer is a queue of entries. It grows up to the bound its owner keeps, and is written over again and again: what a record leaves here,
// and what is dropped, costs no memory of its own.
type buffer struct {
	ring[entry]
	attrs ring[byte] // of the entries, in their order, without a gap
	bytes int        // that all hold
}

func (b *buffer) push(e *entry, attrs []byte) {
	e.attrs = len(attrs)
	b.ring.push(*e)
	b.attrs.push(attrs...)
	b.bytes += e.size()
}

// drop drops the oldest entry; there must be one.
func (b *buffer) drop() {
	oldest := b.at(0)
	b.bytes -= oldest.size()
	b.attrs.drop(oldest.attrs)
	b.ring.drop(1)
}

// take moves the oldest entries to the end of entries, and what belongs to them to that of attrs: as many as entries has room for, and until
// they have this many bytes. It is the part of the goroutine's work that holds up those who log.
func (b *buffer) take(entries []entry, attrs []byte, bytes int) ([]entry, []byte) {
	n, size, text := 0, 0, 0
	for n < min(b.n, cap(entries)-len(entries)) && size < bytes {
		size += b.at(n).size()
		text += b.at(n).attrs
		n++
	}
	b.bytes -= size
	entries, attrs = b.ring.take(entries, n), b.attrs.take(attrs, text)
	if b.n == 0 && len(b.attrs.slots) > batchBytes {
		b.attrs = ring[byte]{} // what an outage needed
	}
	return entries, attrs
}

// ring is a queue in one piece of memory, which is doubled when it is full.
type ring[T any] struct {
	slots []T // len is a power of two
	first int
	n     int
}

func (r *ring[T]) at(i int) *T { return &r.slots[(r.first+i)&(len(r.slots)-1)] }

func (r *ring[T]) push(items ...T) {
	if r.n+len(items) > len(r.slots) {
		r.grow(r.n + len(items))
	}
	end := (r.first + r.n) & (len(r.slots) - 1)
	copy(r.slots, items[copy(r.slots[end:], items):])
	r.n += len(items)
}

// oldest are the n oldest items, in two parts.
func (r *ring[T]) oldest(n int) (begin, rest []T) {
	begin = r.slots[r.first:min(r.first+n, len(r.slots))]
	return begin, r.slots[:n-len(begin)]
}

func (r *ring[T]) drop(n int) {
	begin, rest := r.oldest(n)
	clear(begin)
	clear(rest)
	r.first = (r.first + n) & (len(r.slots) - 1)
	r.n -= n
}

// take moves the n oldest items to the end of into.
func (r *ring[T]) take(into []T, n int) []T {
	begin, rest := r.oldest(n)
	into = append(append(into, begin...), rest...)
	r.drop(n)
	return into
}

func (r *ring[T]) grow(least int) {
	size := max(64, len(r.slots))
	for size < least {
		size *= 2
	}
	slots := make([]T, size)
	begin, rest := r.oldest(r.n)
	copy(slots[copy(slots, begin):], rest)
	r.slots, r.first = slots, 0
}
