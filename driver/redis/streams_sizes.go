package redis

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/redis-process-worker/rpw"
)

// sizes remembers how large the events of streams are, about: so that a page is read in one trip, and not much more than fits into it. Streams
// share places, which costs a trip at most.
type sizes struct {
	seed  maphash.Seed
	table [1024]atomic.Uint32
}

// firstFew is how many events are read where nothing is known of their size.
const firstFew = 32

func (s *sizes) of(stream string) *atomic.Uint32 {
	return &s.table[maphash.String(s.seed, stream)%uint64(len(s.table))]
}

// fit returns how many events to ask for.
func (s *sizes) fit(stream string, most, bytes int) int {
	size := int(s.of(stream).Load())
	if size == 0 {
		return min(most, firstFew)
	}
	return max(1, min(most, bytes/size))
}

func (s *sizes) learn(stream string, events []rpw.Event) {
	if len(events) == 0 {
		return
	}
	total := 0
	for i := range events {
		total += sizeOf(&events[i])
	}
	s.of(stream).Store(uint32(total/len(events)) + 1)
}
