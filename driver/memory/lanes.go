package memory

import (
	"time"

	"github.com/redis-process-worker/rpw"
)

// lanes remembers the last answer of each lane, so that a call repeated after a lost reply gets it again
// instead of being done twice. Producers are lanes too: rpw.Lane(producer).
type lanes[A any] struct {
	recent[[16]byte, laneAnswer[A]]
}

type laneAnswer[A any] struct {
	seq    uint64
	answer A
}

// recall finds the answer to a call. A call older than the last one answered comes too late: its
// caller has gone on, so it is ErrConflict and must not be done.
func (l *lanes[A]) recall(lane rpw.Lane, now time.Time) (answer A, hit bool, err error) {
	if lane == (rpw.Lane{}) {
		return answer, false, nil
	}
	last, ok := l.get(lane.ID, now)
	switch {
	case !ok || lane.Seq > last.seq:
		return answer, false, nil
	case lane.Seq < last.seq:
		return answer, false, rpw.Errorf(rpw.ErrConflict, "call %d came after call %d of the same sender was answered; send it again under a new number", lane.Seq, last.seq)
	}
	return last.answer, true, nil
}

// store remembers the answer to a call.
func (l *lanes[A]) store(lane rpw.Lane, now time.Time, answer A) {
	if lane != (rpw.Lane{}) {
		l.put(lane.ID, laneAnswer[A]{lane.Seq, answer}, now)
	}
}
