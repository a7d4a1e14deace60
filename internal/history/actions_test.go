package history

import (
	"testing"
	"time"

	"github.com/redis-process-worker/rpw"
)

func (s *script) enqueued(due time.Duration, outcome Outcome) {
	s.do(Record{Op: OpEnqueue, Ref: "a", Until: due}, outcome)
}

func (s *script) claimed(token uint64, attempt int, until time.Duration) {
	s.do(Record{Op: OpClaim}, OK, answer(Item{Ref: "a", Token: token, Attempt: attempt, Until: until}))
}

func (s *script) moved(token uint64, kind string, outcome Outcome, with ...func(*Record)) {
	rec := Record{Op: OpAdvance, Ref: "a", Token: token, Kind: kind}
	for _, f := range with {
		f(&rec)
	}
	s.do(rec, outcome)
}

func until(t time.Duration) func(*Record) { return func(rec *Record) { rec.Until = t } }

func says(output string) func(*Record) { return func(rec *Record) { rec.Value = output } }

func (s *script) commanded(kind string, outcome Outcome, state rpw.State) {
	s.do(Record{Op: OpControl, Ref: "a", Kind: kind}, outcome, func(rec *Record) { rec.State = state })
}

// ended says what the action is at the end, by its changes.
func (s *script) ended(attempt int, changes ...rpw.ChangeKind) *ActionDump {
	states := map[rpw.ChangeKind]rpw.State{
		rpw.ChangeRequest: rpw.Pending, rpw.ChangeRetry: rpw.Pending, rpw.ChangeReleased: rpw.Pending, rpw.ChangeRescheduled: rpw.Pending,
		rpw.ChangeClaimed: rpw.Running, rpw.ChangeCancel: rpw.Running, rpw.ChangeData: rpw.Running,
		rpw.ChangeCompleted: rpw.Completed, rpw.ChangeFailed: rpw.Failed, rpw.ChangeCancelled: rpw.Cancelled,
	}
	a := ActionDump{Ref: "a", Attempt: attempt, MaxAttempts: 3}
	for i, kind := range changes {
		a.State = states[kind]
		a.Changes = append(a.Changes, ChangeDump{uint64(i + 1), kind, a.State})
	}
	if a.State == rpw.Completed {
		a.Output = "done"
	}
	s.Final = Dump{Quiet: true, Actions: []ActionDump{a}}
	return &s.Final.Actions[0]
}

// completed is the usual life of an action.
func completed(s *script) {
	s.enqueued(0, OK)
	s.claimed(10, 1, hour)
	s.moved(10, Progress, OK)
	s.moved(10, Complete, OK, says("done"))
	s.moved(10, Complete, OK, says("done"))
	s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeData, rpw.ChangeCompleted)
}

// lapsed is one whose first worker died.
func lapsed(s *script) {
	s.enqueued(0, OK)
	s.claimed(10, 1, 5*time.Millisecond)
	s.claimed(11, 2, hour)
	s.moved(10, Complete, No, says("late"))
	s.moved(11, Complete, OK, says("done"))
	s.ended(2, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeCompleted)
}

// failed used all its attempts.
func failed(s *script) {
	s.enqueued(0, OK)
	for i := range 3 {
		s.claimed(uint64(10+i), i+1, hour)
		s.moved(uint64(10+i), Fail, OK)
	}
	s.ended(3, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeFailed)
}

// released was handed back once.
func released(s *script) {
	s.enqueued(0, OK)
	s.claimed(10, 1, hour)
	s.moved(10, Giveback, OK)
	s.claimed(11, 1, hour)
	s.moved(11, Complete, OK, says("done"))
	s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeReleased, rpw.ChangeClaimed, rpw.ChangeCompleted)
}

// stopped was cancelled while it ran.
func stopped(s *script) {
	s.enqueued(0, OK)
	s.claimed(10, 1, hour)
	s.commanded(Cancel, OK, rpw.Running)
	s.moved(10, AcceptCancel, OK)
	s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeCancel, rpw.ChangeCancelled)
}

// again was retried by command after it had failed for good.
func again(s *script) {
	s.enqueued(0, OK)
	s.claimed(10, 1, hour)
	s.moved(10, Fail, OK)
	s.commanded(Retry, OK, rpw.Pending)
	s.claimed(11, 1, hour)
	s.moved(10, Fail, OK)
	s.moved(11, Complete, OK, says("done"))
	s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeFailed, rpw.ChangeRescheduled, rpw.ChangeClaimed, rpw.ChangeCompleted)
}

// lives are good whatever the rule.
func lives() scripts {
	return scripts{"completed": completed, "lapsed": lapsed, "failed": failed, "released": released, "stopped": stopped, "again": again,
		"lost with all data": func(s *script) {
			s.enqueued(0, OK)
			s.claimed(10, 1, hour)
			s.do(Record{Op: OpReset}, OK)
			s.moved(10, Complete, No)
			s.Final.Quiet = true
		},
		"refused": func(s *script) {
			s.enqueued(0, No)
			s.Final.Quiet = true
		},
		"deleted": func(s *script) {
			s.enqueued(hour, OK)
			s.commanded(Forget, OK, rpw.Pending)
			s.Final.Quiet = true
		},
	}
}

func TestFence(t *testing.T) {
	good := lives()
	good["given back on the way, as its connection broke"] = func(s *script) {
		s.Bounds.HandsBack = 1
		s.claimed(10, 1, hour)
		s.do(Record{Op: OpFault, Kind: "cut"}, OK)
		s.claimed(11, 1, hour)
	}
	after := func(reset Record) func(s *script) {
		return func(s *script) {
			s.claimed(10, 1, time.Millisecond)
			s.claimed(11, 2, hour)
			s.do(reset, OK)
			s.moved(10, Complete, OK)
		}
	}
	good["an older copy knows the older holder"] = after(Record{Op: OpReset, Kind: Restored})
	testRule(t, "H8", good, scripts{
		"a superseded holder completes after a flush": after(Record{Op: OpReset}),
		"given back on the way, and accepted": func(s *script) {
			good["given back on the way, as its connection broke"](s)
			s.moved(10, Complete, OK)
		},
		"two holders": func(s *script) {
			s.claimed(10, 1, hour)
			s.claimed(11, 2, hour)
		},
		"two holders after a renewal": func(s *script) {
			s.claimed(10, 1, time.Millisecond)
			s.moved(10, Renew, OK, until(hour))
			s.claimed(11, 2, hour)
		},
		"the same token": func(s *script) {
			s.claimed(10, 1, hour)
			s.moved(10, Fail, OK)
			s.claimed(10, 2, hour)
		},
		"a smaller token": func(s *script) {
			s.claimed(10, 1, time.Millisecond)
			s.claimed(9, 2, hour)
		},
		"a superseded holder completes": func(s *script) {
			s.claimed(10, 1, time.Millisecond)
			s.claimed(11, 2, hour)
			s.moved(10, Complete, OK)
		},
		"a superseded holder renews again": func(s *script) {
			s.claimed(10, 1, time.Millisecond)
			s.moved(10, Renew, OK)
			s.claimed(11, 2, hour)
			s.moved(10, Renew, OK)
		},
	})
}

func TestOneTerminal(t *testing.T) {
	testRule(t, "H9", lives(), scripts{
		"ended twice": func(s *script) {
			completed(s)
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeCompleted, rpw.ChangeFailed)
		},
		"it runs on after its end": func(s *script) {
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeFailed, rpw.ChangeClaimed)
		},
		"tried again, and nobody said so": func(s *script) {
			s.ended(0, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeFailed, rpw.ChangeRescheduled)
		},
		"completed without having run": func(s *script) {
			completed(s)
			s.ended(0, rpw.ChangeRequest, rpw.ChangeCompleted)
		},
		"two winners": func(s *script) {
			completed(s)
			s.moved(11, Complete, OK, says("done"))
		},
		"the winner did not win": func(s *script) {
			completed(s)
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeCancelled)
		},
		"nobody completed it": func(s *script) {
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeCompleted)
		},
		"the output of another": func(s *script) {
			lapsed(s)
			s.moved(12, Complete, Unknown, says("other"))
			s.Final.Actions[0].Output = "other"
		},
		"a hole in its history": func(s *script) {
			completed(s)
			s.Final.Actions[0].Changes[2].Seq = 7
		},
		"its state is not that of its history": func(s *script) {
			failed(s)
			s.Final.Actions[0].State = rpw.Cancelled
		},
	})
}

func TestNoLostAction(t *testing.T) {
	testRule(t, "H10", lives(), scripts{
		"it is not there": func(s *script) { s.enqueued(0, OK) },
		"it never ended": func(s *script) {
			s.enqueued(0, OK)
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed)
		},
		"it was refused, and is there": func(s *script) {
			s.enqueued(0, No)
			s.ended(0, rpw.ChangeRequest, rpw.ChangeCancelled)
		},
	})
}

func TestAttempts(t *testing.T) {
	testRule(t, "H11", lives(), scripts{
		"one not counted": func(s *script) {
			failed(s)
			s.Final.Actions[0].Attempt = 2
		},
		"one handed back counted": func(s *script) {
			released(s)
			s.Final.Actions[0].Attempt = 2
		},
		"handed out, and its history does not know": func(s *script) {
			completed(s)
			s.claimed(11, 2, hour)
		},
		"more than it has": func(s *script) {
			failed(s)
			s.claimed(14, 4, hour)
			s.ended(4, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed)
		},
		"failed too soon": func(s *script) {
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeFailed)
		},
		"none left, and pending": func(s *script) {
			s.ended(1, rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeRetry).MaxAttempts = 1
		},
	})
}

func TestSchedule(t *testing.T) {
	delayed := func(s *script) {
		s.Bounds.Late = 5 * time.Millisecond
		s.enqueued(4*time.Millisecond, OK)
		s.add(Record{})
		s.claimed(10, 1, hour)
	}
	waited := func(n int) func(s *script) {
		return func(s *script) {
			s.Bounds.Late = 5 * time.Millisecond
			s.enqueued(0, OK)
			for range n {
				s.add(Record{})
			}
		}
	}
	good := lives()
	good["delayed"] = delayed
	good["late during a fault"] = func(s *script) {
		waited(1)(s)
		s.do(Record{Op: OpFault}, OK)
		waited(10)(s)
	}
	good["cancelled meanwhile"] = func(s *script) {
		waited(10)(s)
		s.commanded(Cancel, OK, rpw.Cancelled)
	}
	testRule(t, "H12", good, scripts{
		"early": func(s *script) {
			s.enqueued(hour, OK)
			s.claimed(10, 1, hour)
		},
		"late": func(s *script) {
			waited(10)(s)
			s.claimed(10, 1, hour)
		},
		"never": waited(10),
		"tried again too soon": func(s *script) {
			s.claimed(10, 1, hour)
			s.moved(10, Fail, OK, until(hour))
			s.claimed(11, 2, hour)
		},
	})
}

func TestCancel(t *testing.T) {
	good := lives()
	good["too late"] = func(s *script) {
		completed(s)
		s.commanded(Cancel, No, rpw.Completed)
	}
	testRule(t, "H13", good, scripts{
		"it began after its cancel": func(s *script) {
			s.enqueued(0, OK)
			s.commanded(Cancel, OK, rpw.Cancelled)
			s.claimed(10, 1, hour)
		},
		"it ended otherwise": func(s *script) {
			completed(s)
			s.commanded(Cancel, OK, rpw.Running)
		},
	})
}
