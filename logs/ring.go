package logs

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/redis-process-worker/rpw"
)

// entry is a record as Handle leaves it: what can be done later is done later.
type entry struct {
	time    time.Time
	level   slog.Level
	message string
	attrs   json.RawMessage
	origin  rpw.Origin
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

func (r *ring) grow() {
	slots := make([]entry, max(64, 2*len(r.slots)))
	n := copy(slots, r.slots[r.first:])
	copy(slots[n:], r.slots[:r.first])
	r.slots, r.first = slots, 0
}
