package history

import (
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
)

func (s *script) set(value string, outcome Outcome) { s.setIf(Always, "", value, outcome) }

func (s *script) setIf(kind, old, value string, outcome Outcome) {
	s.do(Record{Op: OpSet, Key: "k", Kind: kind, Old: old, Value: value}, outcome, func(rec *Record) {
		if outcome == No {
			rec.Code = rpw.Code(rpw.ErrConflict)
		}
	})
}

// got is an exact read, near one that may be stale; "" is a miss.
func (s *script) got(value string) { s.read(value, 0) }

func (s *script) near(value string) { s.read(value, 3*time.Millisecond) }

func (s *script) read(value string, bound time.Duration) {
	s.do(Record{Op: OpGet, Actor: "c", Key: "k", Bound: bound}, OK, func(rec *Record) { rec.Value, rec.Found = value, value != "" })
}

func (s *script) deleted(found bool) {
	s.do(Record{Op: OpDelete, Key: "k"}, OK, func(rec *Record) { rec.Found = found })
}

func TestCache(t *testing.T) {
	testRule(t, "H14", scripts{
		"a register": func(s *script) {
			s.got("")
			s.set("1", OK)
			s.got("1")
			s.setIf(IfEqual, "1", "2", OK)
			s.setIf(IfEqual, "1", "3", No)
			s.setIf(IfAbsent, "", "4", No)
			s.deleted(true)
			s.deleted(false)
			s.setIf(IfAbsent, "", "5", OK)
			s.got("5")
		},
		"unknown, and done later": func(s *script) {
			s.set("1", OK)
			s.set("2", Unknown)
			s.got("1")
			s.got("2")
		},
		"unknown, and never done": func(s *script) {
			s.set("1", OK)
			s.setIf(IfEqual, "1", "2", Unknown)
			s.got("1")
		},
		"not done": func(s *script) {
			s.do(Record{Op: OpSet, Key: "k", Kind: Always, Value: "1"}, No, code(rpw.ErrUnavailable))
			s.got("")
		},
		"at the same time": func(s *script) {
			ret := s.call(Record{Op: OpSet, Key: "k", Kind: Always, Value: "1"})
			s.got("1")
			s.got("1")
			ret(OK)
		},
		"all data dropped": func(s *script) {
			s.set("1", OK)
			s.do(Record{Op: OpReset}, OK)
			s.got("")
		},
		"near, as old as it may be": func(s *script) {
			s.set("1", OK)
			s.near("1")
			s.set("2", OK)
			s.near("1")
			s.near("2")
		},
	}, scripts{
		"an old value": func(s *script) {
			s.set("1", OK)
			s.set("2", OK)
			s.got("1")
		},
		"a value of nobody": func(s *script) { s.got("1") },
		"a lost write": func(s *script) {
			s.set("1", OK)
			s.got("")
		},
		"a deleted value": func(s *script) {
			s.set("1", OK)
			s.deleted(true)
			s.got("1")
		},
		"deleted, and it was not there": func(s *script) { s.deleted(true) },
		"a swap of another value": func(s *script) {
			s.set("1", OK)
			s.setIf(IfEqual, "0", "2", OK)
		},
		"two swaps of one value": func(s *script) {
			s.set("1", OK)
			s.setIf(IfEqual, "1", "2", OK)
			s.setIf(IfEqual, "1", "3", OK)
		},
		"added where something was": func(s *script) {
			s.set("1", OK)
			s.setIf(IfAbsent, "", "2", OK)
		},
		"a refusal without a reason": func(s *script) { s.setIf(IfAbsent, "", "1", No) },
		"read and unread": func(s *script) {
			s.set("1", Unknown)
			s.got("1")
			s.got("")
		},
		"near, too old": func(s *script) {
			s.set("1", OK)
			s.set("2", OK)
			for range 5 {
				s.add(Record{})
			}
			s.near("1")
		},
		"near, a value of nobody": func(s *script) { s.near("1") },
		"near, back in time": func(s *script) {
			s.set("1", OK)
			s.set("2", OK)
			s.near("2")
			s.near("1")
		},
		"near, behind its own write": func(s *script) {
			s.set("1", OK)
			s.do(Record{Op: OpSet, Actor: "c", Key: "k", Kind: Always, Value: "2"}, OK)
			s.near("1")
		},
	})
}
