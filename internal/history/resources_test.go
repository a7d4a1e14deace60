package history

import (
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
)

func (s *script) sampled(kind, what string, n int64) {
	s.add(Record{Op: OpSample, Kind: kind, Value: what, N: n})
}

func TestResources(t *testing.T) {
	gauge := func(kind string, before, after int64) func(*script) {
		return func(s *script) {
			s.Bounds.Heap = 0.1
			s.sampled(kind, SampleBefore, before)
			s.sampled(kind, SampleAfter, after)
		}
	}
	peak := func(bound, n int64) func(*script) {
		return func(s *script) {
			s.sampled("log lines/s", SampleBound, bound)
			s.sampled("log lines/s", SamplePeak, n)
		}
	}
	timed := func(bound time.Duration) func(*script) {
		return func(s *script) {
			s.Bounds.Return = time.Millisecond
			ret := s.call(Record{Op: OpTimed, Kind: "get", Bound: bound})
			for range 9 {
				s.add(Record{})
			}
			ret(No)
		}
	}
	testRule(t, "H16", scripts{
		"nothing left":     gauge("goroutines", 7, 7),
		"fewer":            gauge("goroutines", 7, 6),
		"some more heap":   gauge(GaugeHeap, 1000, 1100),
		"few lines":        peak(2, 2),
		"in time":          timed(10 * time.Millisecond),
		"a moment later":   timed(9 * time.Millisecond),
		"nothing measured": func(*script) {},
	}, scripts{
		"a goroutine":  gauge("goroutines", 7, 8),
		"a descriptor": gauge("fds", 7, 8),
		"more heap":    gauge(GaugeHeap, 1000, 1101),
		"a hot loop":   peak(2, 600),
		"late":         timed(8 * time.Millisecond),
		"it never ended": func(s *script) {
			s.call(Record{Op: OpTimed, Bound: time.Millisecond})
			s.add(Record{})
			s.add(Record{})
		},
	})
}

func TestLiveness(t *testing.T) {
	const bound = 5 * time.Millisecond
	// healed begins the good end of a run: a subscription, then a fault that heals.
	healed := func(s *script) {
		s.Bounds = Bounds{Publish: bound, CatchUp: bound, Idle: bound}
		s.subscribed(place(1, 0))
		s.do(Record{Op: OpFault, Kind: "kill"}, OK)
	}
	caught := func(s *script) { s.add(Record{Actor: "sub", Op: OpCaught}) }
	pause := func(s *script) {
		for range 10 {
			s.add(Record{})
		}
	}
	all := func(s *script) {
		healed(s)
		s.published(event(1))
		caught(s)
	}
	testRule(t, "H17", scripts{
		"soon": all,
		"there was no fault": func(s *script) {
			healed(s)
			s.Records = nil
		},
		"a worker took over": func(s *script) {
			all(s)
			s.enqueued(0, OK)
			s.claimed(10, 1, s.t)
			s.claimed(11, 2, hour)
			pause(s)
		},
		"it ended": func(s *script) {
			all(s)
			s.enqueued(0, OK)
			s.claimed(10, 1, 0)
			pause(s)
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeFailed)
		},
	}, scripts{
		"no publish works": func(s *script) {
			healed(s)
			caught(s)
			s.publish(event(1), Unknown)
		},
		"a publish works late": func(s *script) {
			healed(s)
			caught(s)
			pause(s)
			s.published(event(1))
		},
		"a subscription hangs": func(s *script) {
			healed(s)
			s.published(event(1))
		},
		"a subscription is late": func(s *script) {
			healed(s)
			s.published(event(1))
			pause(s)
			caught(s)
		},
		"nobody takes an action": func(s *script) {
			all(s)
			s.enqueued(0, OK)
			pause(s)
		},
		"nobody tries it again": func(s *script) {
			all(s)
			s.enqueued(0, OK)
			s.claimed(10, 1, hour)
			s.do(Record{Op: OpAdvance, Ref: "a", Token: 10, Kind: Fail}, OK, func(rec *Record) { rec.State = rpw.Pending })
			pause(s)
		},
		"nobody takes over": func(s *script) {
			all(s)
			s.enqueued(0, OK)
			s.claimed(10, 1, s.t)
			pause(s)
		},
	})
}
