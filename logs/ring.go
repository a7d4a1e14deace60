package logs

import (
	"encoding/json"
	"log/slog"
	"math"
	"time"

	"github.com/redis-process-worker/rpw"
)

// entry is a record as Handle leaves it: what can be done later is done later.
type entry struct {
	ms      int64 // since 1970; noTime: none
	level   slog.Level
	message string
	attrs   json.RawMessage
	origin  rpw.Origin
}

const noTime = math.MinInt64

func newEntry(r *slog.Record) entry {
	e := entry{ms: noTime, level: r.Level, message: cut(r.Message, maxValue)}
	if !r.Time.IsZero() {
		e.ms = r.Time.UnixMilli()
	}
	return e
}

func (e *entry) time() time.Time {
	if e.ms == noTime {
		return time.Time{}
	}
	return time.UnixMilli(e.ms)
}

// size is roughly the memory an entry holds.
func (e *entry) size() int { return entryOverhead + len(e.message) + len(e.attrs) }

const entryOverhead = 256

// ring is a queue of entries that grows up to the bound its owner keeps.
type ring struct {
	slots []entry // len is a power of two
	first int
	n     int
	bytes int
}

func (r *ring) push(e entry) {
	if r.n == len(r.slots) {
		r.grow()
	}
	r.slots[(r.first+r.n)&(len(r.slots)-1)] = e
	r.n++
	r.bytes += e.size()
}

// pop takes out the oldest entry; there must be one.
func (r *ring) pop() entry {
	slot := &r.slots[r.first]
	e := *slot
	*slot = entry{}
	r.first = (r.first + 1) & (len(r.slots) - 1)
	r.n--
	r.bytes -= e.size()
	return e
}

// take moves the oldest entries to into, as many as fit there and until they have this many bytes. It is the part of the
// goroutine's work that holds up those who log.
func (r *ring) take(into []entry, bytes int) []entry {
	n, rest := 0, r.bytes
	for n < min(r.n, len(into)) && r.bytes-rest < bytes {
		rest -= r.slots[(r.first+n)&(len(r.slots)-1)].size()
		n++
	}
	oldest := r.slots[r.first:min(r.first+n, len(r.slots))]
	wrapped := r.slots[:n-len(oldest)]
	copy(into[copy(into, oldest):], wrapped)
	clear(oldest)
	clear(wrapped)
	r.first = (r.first + n) & (len(r.slots) - 1)
	r.n, r.bytes = r.n-n, rest
	return into[:n]
}

func (r *ring) grow() {
	slots := make([]entry, max(64, 2*len(r.slots)))
	n := copy(slots, r.slots[r.first:])
	copy(slots[n:], r.slots[:r.first])
	r.slots, r.first = slots, 0
}
