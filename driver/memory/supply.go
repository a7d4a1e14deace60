package memory

import (
	"bytes"
	"slices"

	"github.com/redis-process-worker/rpw"
)

// supply gives a stream its records, and places for copies of small payloads, in common blocks, to allocate seldom. A block lives as long as
// anything in it, so a block is small, and never larger than what the batch or the stream holds already.
type supply struct {
	records []record
	free    []*record // to be used again
	block   []byte
	more    int // bytes of small payloads still to come with the batch at hand
	few     int // events still to come with it
}

const (
	payloadBlock = 4 << 10 // of a trickle of single events
	batchBlock   = 32 << 10
	smallPayload = 2 << 10 // larger payloads are on their own
	recordBlock  = 32
)

// expect prepares for the events of a batch.
func (s *supply) expect(events []rpw.NewEvent) {
	s.more, s.few = 0, len(events)
	for i := range events {
		if n := len(events[i].Data); n <= smallPayload {
			s.more += n
		}
	}
}

// record returns an empty record; held is how many the stream has.
func (s *supply) record(held int) *record {
	s.few--
	if last := len(s.free) - 1; last >= 0 {
		rec := s.free[last]
		s.free = s.free[:last]
		return rec
	}
	if len(s.records) == 0 {
		s.records = make([]record, min(max(s.few, held)+1, recordBlock))
	}
	rec := &s.records[0]
	s.records = s.records[1:]
	return rec
}

// takeBack clears a record that nobody uses any more: what it held must not live as long as its neighbours. A few are kept, as where retention lets one go for
// each that comes.
func (s *supply) takeBack(rec *record) {
	*rec = record{}
	if len(s.free) < recordBlock {
		s.free = append(s.free, rec)
	}
}

// copy returns a copy of a payload; held is how many bytes the stream has. It is full, so that an append by a reader copies.
func (s *supply) copy(data []byte, held int64) []byte {
	if data == nil || len(data) > smallPayload {
		return slices.Clip(bytes.Clone(data))
	}
	if cap(s.block)-len(s.block) < len(data) || s.block == nil {
		s.block = make([]byte, 0, max(min(s.more, batchBlock), min(int(held), payloadBlock)))
	}
	s.more -= len(data)
	start := len(s.block)
	s.block = append(s.block, data...)
	return slices.Clip(s.block[start:])
}
