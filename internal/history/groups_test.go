package history

import (
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
)

// lent is an event under a lease.
func lent(n, token uint64, attempt int, until time.Duration) Item {
	item := event(n)
	item.Token, item.Attempt, item.Until = token, attempt, until
	return item
}

func (s *script) joined(at rpw.Position) {
	s.do(Record{Op: OpJoin, Stream: "s", Group: "g"}, OK, func(rec *Record) { rec.At = at })
}

func (s *script) fetched(items ...Item) {
	s.do(Record{Op: OpFetch, Stream: "s", Group: "g"}, OK, answer(items...))
}

func (s *script) settled(item Item, verdict string, outcome Outcome) {
	s.do(Record{Op: OpSettle, Stream: "s", Group: "g", Kind: verdict, Items: []Item{item}}, outcome)
}

// settledUntil is a verdict with a time.
func (s *script) settledUntil(item Item, verdict string, until time.Duration) {
	s.do(Record{Op: OpSettle, Stream: "s", Group: "g", Kind: verdict, Items: []Item{item}, Until: until}, OK)
}

func (s *script) groupAt(at rpw.Position, pending ...rpw.ID) {
	s.Final.Groups = []GroupDump{{Stream: "s", Group: "g", Position: at, Pending: pending}}
}

// later than all that a script does.
const hour = time.Hour

func TestGroupAtLeastOnce(t *testing.T) {
	worked := func(s *script) {
		s.joined(place(1, 0))
		s.fetched(lent(1, 10, 1, hour), lent(2, 11, 1, hour))
		s.settled(lent(1, 10, 1, 0), Ack, OK)
		s.settled(lent(2, 11, 1, 0), Reject, OK)
		s.holds(place(1, 0), event(1), event(2))
		s.groupAt(place(1, 2))
	}
	// stored holds events 1 and 2; the group got the first only.
	stored := func(s *script) {
		s.joined(place(1, 0))
		s.fetched(lent(1, 10, 1, hour))
		s.holds(place(1, 0), event(1), event(2))
		s.Final.Quiet = false
		s.groupAt(place(1, 1), event(1).ID)
	}
	testRule(t, "H7", scripts{"worked": worked, "not yet": stored,
		"given back and delivered again": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Nack, OK)
			s.fetched(lent(1, 11, 2, hour))
			s.settled(lent(1, 11, 0, 0), Release, OK)
			s.fetched(lent(1, 12, 2, hour))
			s.settled(lent(1, 12, 0, 0), Ack, OK)
			s.settled(lent(1, 12, 0, 0), Ack, OK)
		},
		"lapsed and delivered again": func(s *script) {
			s.fetched(lent(1, 10, 1, 3*time.Millisecond))
			s.add(Record{})
			s.add(Record{})
			s.fetched(lent(1, 11, 2, hour))
			s.settled(lent(1, 10, 0, 0), Ack, No)
			s.settled(lent(1, 11, 0, 0), Ack, OK)
		},
		"perhaps given back": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Nack, Unknown)
			s.fetched(lent(1, 11, 2, hour))
		},
		"perhaps shortened": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.do(Record{Op: OpSettle, Stream: "s", Group: "g", Kind: Extend, Items: []Item{lent(1, 10, 0, 0)}, Until: time.Millisecond}, Unknown)
			s.fetched(lent(1, 11, 2, hour))
		},
		"released, and perhaps leased to who never heard of it": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Release, OK)
			s.do(Record{Op: OpFetch, Stream: "s", Group: "g"}, Unknown)
			s.fetched(lent(1, 12, 2, hour))
		},
		"given back on the way, when a server noticed that its connection had broken": func(s *script) {
			s.Bounds.HandsBack = time.Hour
			s.do(Record{Op: OpFault, Kind: "cut"}, OK)
			s.fetched(lent(1, 10, 1, hour))
			s.fetched(lent(1, 11, 1, hour))
		},
		"given back on the way, as its connection broke": func(s *script) {
			s.Bounds.HandsBack = 1
			s.fetched(lent(1, 10, 1, hour))
			s.do(Record{Op: OpFault, Kind: "cut"}, OK)
			s.fetched(lent(1, 11, 1, hour))
		},
		"released, and leased to who heard of it when the lease had ended": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Release, OK)
			late := s.call(Record{Op: OpFetch, Stream: "s", Group: "g"})
			s.do(Record{Op: OpFault, Kind: "cut"}, OK)
			late(OK)
			s.fetched(lent(1, 12, 2, s.t+4*time.Millisecond))
		},
		"an older copy knows the older holder": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.fetched(lent(1, 11, 2, hour))
			s.do(Record{Op: OpReset, Kind: Restored}, OK)
			s.settled(lent(1, 10, 0, 0), Ack, OK)
		},
		"its consumer was removed": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.do(Record{Op: OpAdmin, Stream: "s", Group: "g"}, OK)
			s.fetched(lent(1, 11, 2, hour))
		},
		"another epoch, with the same id": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Ack, OK)
			fresh := lent(1, 11, 1, hour)
			fresh.Epoch = 2
			s.fetched(fresh)
		},
		"dead": func(s *script) {
			stored(s)
			s.Final.Groups[0].Pending, s.Final.Groups[0].Dead = nil, []rpw.ID{event(1).ID}
		},
	}, scripts{
		"never acknowledged": func(s *script) {
			worked(s)
			s.Records = s.Records[:len(s.Records)-2]
		},
		"the verdict was refused": func(s *script) {
			stored(s)
			s.settled(lent(1, 10, 0, 0), Ack, No)
			s.groupAt(place(1, 1))
		},
		"passed over": func(s *script) {
			worked(s)
			s.holds(place(1, 0), event(1), event(2), event(3))
			s.groupAt(place(1, 3))
		},
		"stuck before the end": func(s *script) {
			stored(s)
			s.Final.Quiet = true
			s.groupAt(place(1, 1))
			s.settled(lent(1, 10, 0, 0), Ack, OK)
		},
		"stuck with what is pending": func(s *script) {
			worked(s)
			s.groupAt(place(1, 2), event(1).ID)
		},
		"two holders, and no connection broke": func(s *script) {
			s.Bounds.HandsBack = 1
			s.do(Record{Op: OpFault, Kind: "cut"}, OK)
			s.fetched(lent(1, 10, 1, hour))
			s.fetched(lent(1, 11, 1, hour))
		},
		"two holders, and nobody gives back on the way": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.do(Record{Op: OpFault, Kind: "cut"}, OK)
			s.fetched(lent(1, 11, 1, hour))
		},
		"two holders": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.fetched(lent(1, 11, 2, hour))
		},
		"two holders after an extension": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.settledUntil(lent(1, 10, 0, 0), Extend, hour)
			s.fetched(lent(1, 11, 2, hour))
		},
		"before its delay had passed": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settledUntil(lent(1, 10, 0, 0), Nack, hour)
			s.fetched(lent(1, 11, 2, hour))
		},
		"the same token": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.fetched(lent(1, 10, 1, hour))
		},
		"a smaller token": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.fetched(lent(1, 9, 2, hour))
		},
		"the attempt does not count": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.fetched(lent(1, 11, 1, hour))
		},
		"the attempt counts down": func(s *script) {
			s.fetched(lent(1, 10, 2, hour))
			s.settled(lent(1, 10, 0, 0), Release, OK)
			s.fetched(lent(1, 11, 1, hour))
		},
		"a release counts, and no fetch lost its answer": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Release, OK)
			late := s.call(Record{Op: OpFetch, Stream: "s", Group: "g"})
			s.add(Record{})
			s.add(Record{})
			late(OK)
			s.fetched(lent(1, 12, 2, s.t+4*time.Millisecond))
		},
		"a release counts, and the lease lasts longer than the fetch": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Release, OK)
			late := s.call(Record{Op: OpFetch, Stream: "s", Group: "g"})
			s.do(Record{Op: OpFault, Kind: "cut"}, OK)
			late(OK)
			s.fetched(lent(1, 12, 2, hour))
		},
		"a release counts": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Release, OK)
			s.fetched(lent(1, 11, 2, hour))
		},
		"after it was acknowledged": func(s *script) {
			s.fetched(lent(1, 10, 1, hour))
			s.settled(lent(1, 10, 0, 0), Ack, OK)
			s.fetched(lent(1, 11, 2, hour))
		},
		"a superseded holder acknowledges": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.fetched(lent(1, 11, 2, hour))
			s.settled(lent(1, 10, 0, 0), Ack, OK)
		},
		"a superseded holder acknowledges after a flush": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.fetched(lent(1, 11, 2, hour))
			s.do(Record{Op: OpReset}, OK)
			s.settled(lent(1, 10, 0, 0), Ack, OK)
		},
		"a superseded holder extends again": func(s *script) {
			s.fetched(lent(1, 10, 1, time.Millisecond))
			s.settled(lent(1, 10, 0, 0), Extend, OK)
			s.fetched(lent(1, 11, 2, hour))
			s.settled(lent(1, 10, 0, 0), Extend, OK)
		},
	})
}
