package memory

import (
	"bytes"
	"slices"
	"sort"

	"github.com/redis-process-worker/rpw"
)

// history is the stored events of a stream, oldest first, with random access. However many there are, the garbage collector has
// next to nothing to look at: they lie in segments, which hold pointers only to what few events have. Appending copies nothing of what is
// there, and what leaves at the head gives its memory back, a segment at a time. The zero history is empty.
type history struct {
	segments []*segment // all full but the last
	head     int        // how many events have left the first one
	n        int
}

const (
	segmentSize  = 64
	smallPayload = 512 // larger payloads are on their own
)

// segment is up to segmentSize events. What grows in it begins with the room that the segment before came to need; the block with an eighth more, as
// the runtime gives a span of its own to what is a power of two, such as 64 payloads of 256 bytes, and works by the span. A reader of an event keeps the
// block alive, so it is small.
type segment struct {
	records []record
	block   []byte   // small payloads, one after the other
	types   []string // each once in a row
	extras  []extra
}

// record is a stored event, without what lies beside it in its segment.
type record struct {
	id         rpw.ID
	count      uint64
	size       int32
	held       int32  // by groups, as pending
	start, end uint16 // of a small payload in the block
	kind       uint8  // the place of its type
	extra      uint8  // the place of its extra, from 1; 0: it has none
	gone       bool   // it was removed by DeleteEvents: a tombstone
}

// extra is what few events have.
type extra struct {
	key    string
	header map[string]string
	data   []byte     // a large payload
	origin *rpw.Event // of a dead letter: what its group gave up on
}

func (x *extra) empty() bool {
	return x.key == "" && x.header == nil && x.data == nil && x.origin == nil
}

func (h *history) len() int { return h.n }

// at returns the record i places after the oldest.
func (h *history) at(i int) *record {
	i += h.head
	return &h.segments[i/segmentSize].records[i%segmentSize]
}

// event returns the event i places after the oldest, of a stream with this epoch.
func (h *history) event(i int, epoch uint64) (e rpw.Event) {
	h.load(&e, i, epoch)
	return e
}

// load is event, into e. The payload is full, so that an append by a reader copies.
func (h *history) load(e *rpw.Event, i int, epoch uint64) {
	i += h.head
	s := h.segments[i/segmentSize]
	rec := &s.records[i%segmentSize]
	e.ID, e.Epoch, e.Count = rec.id, epoch, rec.count
	e.Type, e.Data = s.types[rec.kind], s.block[rec.start:rec.end:rec.end]
	e.Key, e.Header = "", nil
	if rec.extra > 0 {
		x := &s.extras[rec.extra-1]
		e.Key, e.Header = x.key, x.header
		if x.data != nil {
			e.Data = x.data
		}
	}
}

// origin returns what a dead letter was, nil for other events.
func (h *history) origin(i int) *rpw.Event {
	i += h.head
	s := h.segments[i/segmentSize]
	if x := s.records[i%segmentSize].extra; x > 0 {
		return s.extras[x-1].origin
	}
	return nil
}

// push appends an event: its record, and what goes beside it, of which the payload is copied.
func (h *history) push(rec record, kind string, data []byte, x extra) {
	s := h.open()
	if len(data) > smallPayload {
		x.data, data = slices.Clip(bytes.Clone(data)), nil
	}
	rec.start = uint16(len(s.block))
	s.block = append(s.block, data...)
	rec.end = uint16(len(s.block))
	if n := len(s.types); n == 0 || s.types[n-1] != kind {
		s.types = append(s.types, kind)
	}
	rec.kind = uint8(len(s.types) - 1)
	if rec.extra = 0; !x.empty() {
		s.extras = append(s.extras, x)
		rec.extra = uint8(len(s.extras))
	}
	s.records = append(s.records, rec)
	h.n++
}

// open returns the segment that has room.
func (h *history) open() *segment {
	n := len(h.segments)
	if n > 0 && len(h.segments[n-1].records) < segmentSize {
		return h.segments[n-1]
	}
	s := &segment{block: []byte{}}
	if n > 0 {
		last := h.segments[n-1]
		s.records = make([]record, 0, segmentSize)
		s.block = make([]byte, 0, len(last.block)+len(last.block)/8)
		s.types = make([]string, 0, len(last.types))
		s.extras = make([]extra, 0, len(last.extras))
	}
	h.segments = append(h.segments, s)
	return s
}

// strip lets go of what lies beside an event that is no longer to be read.
func (h *history) strip(i int) {
	i += h.head
	s := h.segments[i/segmentSize]
	if x := s.records[i%segmentSize].extra; x > 0 {
		s.extras[x-1] = extra{}
	}
}

// pop drops the oldest event.
func (h *history) pop() {
	h.head++
	h.n--
	switch {
	case h.n == 0:
		*h = history{}
	case h.head == segmentSize:
		h.segments[0] = nil
		h.segments = h.segments[1:]
		h.head = 0
	}
}

// search returns the least index whose record satisfies the predicate, which must be false up to
// some index and true from there; len if there is none.
func (h *history) search(satisfies func(*record) bool) int {
	return sort.Search(h.n, func(i int) bool { return satisfies(h.at(i)) })
}

// compact drops the tombstones.
func (h *history) compact() {
	var kept history
	for i := range h.n {
		if rec := h.at(i); !rec.gone {
			e := h.event(i, 0)
			kept.push(*rec, e.Type, e.Data, extra{key: e.Key, header: e.Header, origin: h.origin(i)})
		}
	}
	*h = kept
}
