package memory

import (
	"time"

	"github.com/redis-process-worker/rpw"
)

// lanes remembers the last answer of each lane for RepeatWindow.
type lanes[A any] struct {
	byID    map[[16]byte]laneAnswer[A]
	sweepAt time.Time
}

type laneAnswer[A any] struct {
	seq    uint64
	until  time.Time
	answer A
}

func (l *lanes[A]) recall(lane rpw.Lane, now time.Time) (answer A, hit bool, err error) {
	last, ok := l.byID[lane.ID]
	switch {
	case lane == rpw.Lane{} || !ok || now.After(last.until) || lane.Seq > last.seq:
		return answer, false, nil
	case lane.Seq < last.seq:
		return answer, false, rpw.Errorf(rpw.ErrConflict, "a later call of this lane has been answered")
	}
	return last.answer, true, nil
}

func (l *lanes[A]) store(lane rpw.Lane, now time.Time, answer A) {
	if (lane == rpw.Lane{}) {
		return
	}
	if l.byID == nil {
		l.byID = make(map[[16]byte]laneAnswer[A])
	}
	if now.After(l.sweepAt) {
		for id, last := range l.byID {
			if now.After(last.until) {
				delete(l.byID, id)
			}
		}
		l.sweepAt = now.Add(rpw.RepeatWindow)
	}
	l.byID[lane.ID] = laneAnswer[A]{lane.Seq, now.Add(rpw.RepeatWindow), answer}
}
