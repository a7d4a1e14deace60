package memory

import (
	"iter"
	"slices"

	"github.com/redis-process-worker/rpw"
)

// pendingList holds pending events in order of their ids. New ones nearly always come at the end, and the oldest go
// first; what is settled in between stays as a tombstone until there are as many of these as of the others.
type pendingList struct {
	list []*pending
	live int
}

func (l *pendingList) len() int { return l.live }

func (l *pendingList) search(id rpw.ID) (int, bool) {
	return slices.BinarySearchFunc(l.list, id, func(p *pending, id rpw.ID) int { return p.id.Compare(id) })
}

// find returns what is pending under an id, nil if nothing is.
func (l *pendingList) find(id rpw.ID) *pending {
	if i, ok := l.search(id); ok && !l.list[i].settled {
		return l.list[i]
	}
	return nil
}

// add puts an event in whose id is not pending.
func (l *pendingList) add(p *pending) {
	l.live++
	n := len(l.list)
	if n == 0 || l.list[n-1].id.Compare(p.id) < 0 {
		l.list = append(l.list, p)
		return
	}
	i, tombstone := l.search(p.id)
	if tombstone {
		l.list[i] = p
	} else {
		l.list = slices.Insert(l.list, i, p)
	}
}

func (l *pendingList) remove(p *pending) {
	p.settled = true
	l.live--
	for len(l.list) > 0 && l.list[0].settled {
		l.list[0] = nil
		l.list = l.list[1:]
	}
	if dead := len(l.list) - l.live; dead > max(l.live, fewTombstones) {
		l.list = slices.DeleteFunc(l.list, func(p *pending) bool { return p.settled })
	}
}

// first returns the oldest of a list that is not empty: tombstones do not stay at its head.
func (l *pendingList) first() *pending { return l.list[0] }

// after yields what is pending with a greater id. Nothing may be added or removed meanwhile.
func (l *pendingList) after(id rpw.ID) iter.Seq[*pending] {
	return func(yield func(*pending) bool) {
		i, found := l.search(id)
		if found {
			i++
		}
		for _, p := range l.list[i:] {
			if !p.settled && !yield(p) {
				return
			}
		}
	}
}
