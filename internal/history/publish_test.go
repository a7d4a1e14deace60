package history

import (
	"slices"
	"testing"

	"github.com/redis-process-worker/rpw"
)

// tailed is a run in which nothing went wrong.
func tailed(s *script) {
	s.subscribed(place(1, 0))
	s.published(event(1), event(2), event(3))
	s.delivered(event(1), event(2), event(3))
	s.holds(place(1, 0), event(1), event(2), event(3))
}

// trimmed is a run in which a subscription fell behind what was trimmed.
func trimmed(s *script) {
	s.subscribed(place(1, 0))
	s.published(event(1), event(2), event(3), event(4))
	s.delivered(event(1))
	s.do(Record{Op: OpTrim, Stream: "s"}, OK)
	s.gap(rpw.GapTrimmed, place(1, 1), place(1, 3))
	s.delivered(event(4))
	s.holds(place(1, 3), event(4))
}

// flushed is a run in which all was lost, and told.
func flushed(s *script) {
	s.subscribed(place(1, 0))
	s.published(event(1), event(2))
	s.delivered(event(1))
	s.do(Record{Op: OpReset}, OK)
	s.published(eventIn(2, 1))
	s.gap(rpw.GapReset, place(1, 1), place(2, 0))
	s.delivered(eventIn(2, 1))
	s.holds(place(2, 0), eventIn(2, 1))
}

// edited is a run in which a single event was deleted.
func edited(s *script) {
	s.subscribed(place(1, 0))
	s.published(event(1), event(2), event(3))
	s.do(Record{Op: OpEdit, Stream: "s", Items: []Item{event(2)}}, OK)
	s.delivered(event(1), event(3))
	s.holds(place(1, 0), event(1), event(3))
}

// undone is a run in which an event was deleted, passed over, and is there again with another master, which never heard of that.
func undone(s *script) { deletedAgain(s, Unknown, OpFailover) }

func deletedAgain(s *script, outcome Outcome, then Op) {
	s.subscribed(place(1, 0))
	s.published(event(1), event(2), event(3))
	s.do(Record{Op: OpEdit, Stream: "s", Items: []Item{event(2)}}, outcome)
	s.delivered(event(1), event(3))
	if then != "" {
		s.do(Record{Op: then}, OK)
	}
	s.holds(place(1, 0), event(1), event(2), event(3))
}

// failedOver is a run in which a subscription got an event that was not acknowledged, and that the next master does not have. It was
// published again there.
func failedOver(s *script) {
	s.subscribed(place(1, 0))
	s.published(event(1))
	s.publish(event(2), Unknown)
	s.delivered(event(1), event(2))
	s.do(Record{Op: OpFailover}, OK)
	other, again := event(3), event(4)
	other.Count, again.Count, again.Hash = 2, 3, event(2).Hash
	s.published(other)
	s.publish(again, OK)
	s.gap(rpw.GapReset, place(1, 2), place(1, 1))
	s.delivered(other, again)
	s.holds(place(1, 0), event(1), other, again)
}

// silentFailover is one in which the subscription is not told.
func silentFailover(s *script) {
	s.subscribed(place(1, 0))
	s.publish(event(1), Unknown)
	s.delivered(event(1))
	s.do(Record{Op: OpFailover}, OK)
	again := event(2)
	again.Hash = event(1).Hash
	s.published(again)
	s.delivered(again)
	s.holds(place(1, 1), again)
}

// restored is a run in which an older copy of all data is put in place: what was stored later is gone, and what comes then has its counts.
func restored(s *script) {
	s.subscribed(place(1, 0))
	s.published(event(1), event(2))
	s.publish(event(3), Unknown)
	s.delivered(event(1), event(2), event(3))
	s.do(Record{Op: OpReset, Kind: Restored}, OK)
	other, again := event(4), event(5)
	other.Count, again.Count, again.Hash = 2, 3, event(3).Hash
	s.gap(rpw.GapReset, place(1, 3), place(1, 1))
	s.published(other, again)
	s.delivered(other, again)
	s.holds(place(1, 0), event(1), other, again)
}

// notRestored is the same, and nobody put an older copy in place.
func notRestored(s *script) {
	restored(s)
	s.Records = slices.DeleteFunc(s.Records, func(rec Record) bool { return rec.Op == OpReset })
}

func TestNoLoss(t *testing.T) {
	testRule(t, "H1", scripts{"tailed": tailed, "trimmed": trimmed, "flushed": flushed, "edited": edited, "failed over": failedOver, "restored": restored,
		"who left need not have all": func(s *script) {
			s.subscribed(place(1, 0))
			s.published(event(1))
			s.add(Record{Actor: "sub", Op: OpLeave})
			s.holds(place(1, 0), event(1))
		},
		"nobody said it was stored": func(s *script) {
			s.publish(event(1), Unknown)
			s.publish(event(2), No)
			s.holds(place(1, 0))
		},
	}, scripts{
		"it is not there": func(s *script) {
			s.published(event(1), event(2))
			s.holds(place(1, 0), event(1))
		},
		"no older copy is there": notRestored,
		"another has its place": func(s *script) {
			s.published(event(1))
			s.do(Record{Op: OpFailover}, OK)
			other := event(2)
			other.Count = 1
			s.published(other)
			s.holds(place(1, 0), other)
		},
		"it went as if trimmed, and nobody trims": func(s *script) {
			s.published(event(1), event(2))
			s.holds(place(1, 1), event(2))
		},
		"it went with an epoch that nobody ended": func(s *script) {
			s.published(event(1), eventIn(2, 1))
			s.holds(place(2, 0), eventIn(2, 1))
		},
		"a subscription never got the last": func(s *script) {
			tailed(s)
			s.published(event(4))
			s.holds(place(1, 0), event(1), event(2), event(3), event(4))
		},
		"a subscription never got to the new epoch": func(s *script) {
			s.subscribed(place(1, 0))
			s.do(Record{Op: OpReset}, OK)
			s.published(eventIn(2, 1))
			s.holds(place(2, 0), eventIn(2, 1))
		},
	})
}

func TestExactlyOnce(t *testing.T) {
	testRule(t, "H2", scripts{"tailed": tailed, "trimmed": trimmed, "flushed": flushed, "edited": edited, "failed over": failedOver, "restored": restored, "undone": undone}, scripts{
		"passed over what was deleted with success, before a failover": func(s *script) { deletedAgain(s, OK, OpFailover) },
		"passed over what was perhaps deleted, and no failover":        func(s *script) { deletedAgain(s, Unknown, "") },
		"the same from another place, and no gap":                      silentFailover,
		"twice": func(s *script) {
			tailed(s)
			s.delivered(event(3))
		},
		"back": func(s *script) {
			s.subscribed(place(1, 0))
			s.delivered(event(2), event(1))
		},
		"the counts grow and the ids do not": func(s *script) {
			s.subscribed(place(1, 0))
			same := event(2)
			same.ID = event(1).ID
			s.delivered(event(1), same)
		},
		"passed over what is there": func(s *script) {
			s.subscribed(place(1, 0))
			s.delivered(event(1), event(3))
			s.holds(place(1, 0), event(1), event(2), event(3))
		},
		"a gap passes over what is there": func(s *script) {
			s.subscribed(place(1, 0))
			s.delivered(event(1))
			s.gap(rpw.GapTrimmed, place(1, 1), place(1, 3))
			s.delivered(event(4))
			s.holds(place(1, 2), event(3), event(4))
		},
		"the new epoch is not read from its beginning": func(s *script) {
			s.subscribed(place(1, 0))
			s.gap(rpw.GapReset, place(1, 0), place(2, 1))
			s.delivered(eventIn(2, 2))
			s.holds(place(2, 0), eventIn(2, 1), eventIn(2, 2))
		},
	})
}

func TestNoPhantom(t *testing.T) {
	other := event(1)
	other.Hash = event(2).Hash
	testRule(t, "H3", scripts{"tailed": tailed,
		"delivered before it was acknowledged": func(s *script) {
			ret := s.call(Record{Op: OpPublish, Stream: "s", Items: []Item{{Hash: event(1).Hash}}})
			s.delivered(event(1))
			ret(Unknown)
		},
	}, scripts{
		"nobody published it": func(s *script) { s.delivered(event(1)) },
		"it was published later": func(s *script) {
			s.delivered(event(1))
			s.published(event(1))
		},
		"to a group": func(s *script) {
			s.do(Record{Op: OpFetch, Stream: "s"}, OK, answer(event(1)))
		},
		"other bytes than acknowledged": func(s *script) {
			s.published(event(1), event(2))
			s.delivered(other)
		},
	})
}

func TestUnknownIsBounded(t *testing.T) {
	again := event(2)
	again.Hash = event(1).Hash
	testRule(t, "H4", scripts{"tailed": tailed, "failed over": failedOver, "restored": restored,
		"unknown and there": func(s *script) {
			s.publish(event(1), Unknown)
			s.holds(place(1, 0), event(1))
		},
		"unknown and not there": func(s *script) {
			s.publish(event(1), Unknown)
			s.holds(place(1, 0))
		},
		"repeated with its key": func(s *script) {
			s.publish(event(1), Unknown)
			s.publish(event(1), OK)
			s.holds(place(1, 0), event(1))
		},
		"once in each epoch": func(s *script) {
			s.published(event(1))
			fresh := eventIn(2, 1)
			fresh.Hash = event(1).Hash
			s.published(fresh)
			s.holds(place(2, 0), fresh)
		},
	}, scripts{
		"stored twice": func(s *script) {
			s.publish(event(1), Unknown)
			s.holds(place(1, 0), event(1), again)
		},
		"no older copy is there": notRestored,
		"stored twice, with a failover": func(s *script) {
			s.publish(event(1), Unknown)
			s.do(Record{Op: OpFailover}, OK)
			s.holds(place(1, 0), event(1), again)
		},
		"delivered once and stored elsewhere": func(s *script) {
			s.publish(event(1), Unknown)
			s.delivered(event(1))
			s.holds(place(1, 1), again)
		},
		"the repeat has another id": func(s *script) {
			s.published(event(1), again)
		},
		"refused and there": func(s *script) {
			s.publish(event(1), No)
			s.holds(place(1, 0), event(1))
		},
	})
}

func TestGapHonesty(t *testing.T) {
	testRule(t, "H5", scripts{"tailed": tailed, "trimmed": trimmed, "flushed": flushed, "edited": edited, "failed over": failedOver, "restored": restored,
		"perhaps": func(s *script) {
			s.subscribed(place(1, 2))
			s.gap(rpw.GapPossible, place(1, 2), place(1, 2))
		},
		"from the oldest, whatever that is": func(s *script) {
			s.subscribed(rpw.Position{})
			s.delivered(event(7))
		},
	}, scripts{
		"no older copy is there": notRestored,
		"silence about what was trimmed": func(s *script) {
			s.subscribed(place(1, 0))
			s.do(Record{Op: OpTrim, Stream: "s"}, OK)
			s.delivered(event(1), event(4))
			s.holds(place(1, 3), event(4))
		},
		"the gap is smaller than what is missing": func(s *script) {
			s.subscribed(place(1, 0))
			s.do(Record{Op: OpTrim, Stream: "s"}, OK)
			s.gap(rpw.GapTrimmed, place(1, 0), place(1, 1))
			s.delivered(event(4))
		},
		"silence about another epoch": func(s *script) {
			s.subscribed(place(1, 0))
			s.do(Record{Op: OpReset}, OK)
			s.delivered(event(1), eventIn(2, 2))
		},
		"nothing is missing": func(s *script) {
			s.subscribed(place(1, 2))
			s.do(Record{Op: OpTrim, Stream: "s"}, OK)
			s.gap(rpw.GapTrimmed, place(1, 2), place(1, 2))
		},
		"only what was deleted one by one": func(s *script) {
			s.published(event(1), event(2))
			s.do(Record{Op: OpEdit, Stream: "s", Items: []Item{event(2)}}, OK)
			s.do(Record{Op: OpTrim, Stream: "s"}, OK)
			s.subscribed(place(1, 1))
			s.gap(rpw.GapTrimmed, place(1, 1), place(1, 2))
		},
		"nobody trims": func(s *script) {
			s.subscribed(place(1, 0))
			s.gap(rpw.GapTrimmed, place(1, 0), place(1, 3))
		},
		"more than there can be": func(s *script) {
			s.subscribed(place(1, 0))
			s.do(Record{Op: OpTrim, Stream: "s"}, OK)
			s.add(Record{Actor: "sub", Op: OpGap, Stream: "s", Kind: string(rpw.GapTrimmed), At: place(1, 0), Resume: place(1, 3), N: 4})
		},
		"a reset that was none": func(s *script) {
			s.subscribed(place(1, 0))
			s.gap(rpw.GapReset, place(1, 0), place(1, 0))
		},
	})
}

func TestOrder(t *testing.T) {
	both := func(a, b Item) func(s *script) {
		return func(s *script) {
			s.do(Record{Op: OpPublish, Stream: "s", Items: []Item{{Hash: a.Hash}, {Hash: b.Hash}}}, OK, answer(a, b))
		}
	}
	swapped := event(3)
	swapped.ID = rpw.ID{}
	testRule(t, "H6", scripts{"tailed": tailed, "flushed": flushed, "restored": restored, "batch": both(event(1), event(2)),
		"at the same time": func(s *script) {
			ret := s.call(Record{Op: OpPublish, Stream: "s", Items: []Item{{Hash: event(2).Hash}}})
			s.published(event(1))
			ret(OK, answer(event(2)))
			s.published(event(3))
		},
		"a key keeps its place": func(s *script) { s.published(event(1), event(2), event(1)) },
	}, scripts{
		"no older copy is there":           notRestored,
		"overtaken":                        func(s *script) { s.published(event(2), event(1)) },
		"in the same place":                func(s *script) { s.published(event(1), Item{ID: event(1).ID, Epoch: 1, Count: 1, Hash: "x"}) },
		"the id grows, the count does not": func(s *script) { s.published(event(2), Item{ID: event(3).ID, Epoch: 1, Count: 1, Hash: "x"}) },
		"the count grows, the id does not": func(s *script) { s.published(event(2), swapped) },
		"within a batch":                   both(event(2), swapped),
	})
}
