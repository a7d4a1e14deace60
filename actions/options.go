package actions

import (
	"slices"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Option says how an action is run. All but ID can be given to Define, for all actions of the definition, and all to Start, for one
// call; the later wins.
type Option func(*settings)

// settings is what options write into.
type settings struct {
	spec     rpw.ActionSpec
	defining bool
	err      error // the first mistake
}

func (s *settings) apply(opts []Option) {
	for _, opt := range opts {
		if opt == nil {
			s.refuse("an option is nil")
			continue
		}
		opt(s)
	}
}

func (s *settings) check(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *settings) refuse(format string, args ...any) {
	s.check(rpw.Errorf(rpw.ErrInvalid, format, args...))
}

// duration refuses what lies outside 0 to most.
func (s *settings) duration(what string, d, most time.Duration) {
	if d < 0 || d > most {
		s.refuse("%s is %v; it must be from 0 to %v", what, d, most)
	}
}

// Queue puts actions into another queue than that of the action's name. Workers claim from the queues of the definitions they handle,
// so it belongs to Define, unless other workers handle a definition of the same name with that queue.
func Queue(name string) Option {
	return func(s *settings) {
		s.check(rpw.CheckName("queue", name))
		s.spec.Ref.Queue = name
	}
}

// MaxAttempts bounds how often an action is tried, at least 1. The default is rpw.DefaultMaxAttempts.
func MaxAttempts(n int) Option {
	return func(s *settings) {
		if n < 1 {
			s.refuse("MaxAttempts is %d; it must be at least 1", n)
		}
		s.spec.MaxAttempts = n
	}
}

// Backoff says how long to wait between attempts. A handler's error may say otherwise: rpw.RetryIn, rpw.Permanent.
func Backoff(b rpw.Backoff) Option {
	return func(s *settings) {
		s.duration("Backoff.First", b.First, rpw.MaxDelay)
		s.duration("Backoff.Max", b.Max, rpw.MaxDelay)
		if b.Max != 0 && b.Max < b.First {
			s.refuse("Backoff.Max is %v, less than Backoff.First (%v)", b.Max, b.First)
		}
		if !(b.Jitter <= 1) { // also NaN
			s.refuse("Backoff.Jitter is %v; it must be from 0 to 1, or negative for none", b.Jitter)
		}
		s.spec.Backoff = b
	}
}

// Timeout bounds each attempt: the handler's ctx ends, and a handler that goes on past the cancel grace has failed. 0 is no timeout, the default.
func Timeout(d time.Duration) Option {
	return func(s *settings) {
		s.duration("Timeout", d, rpw.MaxTTL)
		s.spec.Timeout = d
	}
}

// CancelGrace is how long a running handler may take to stop after a cancel or a timeout, at most rpw.MaxLease; 0 is rpw.DefaultCancelGrace.
func CancelGrace(d time.Duration) Option {
	return func(s *settings) {
		s.duration("CancelGrace", d, rpw.MaxLease)
		s.spec.CancelGrace = d
	}
}

// Delay lets an action run not before d from now, by the store's clock; at most rpw.MaxDelay. It replaces RunAt.
func Delay(d time.Duration) Option {
	return func(s *settings) {
		s.duration("Delay", d, rpw.MaxDelay)
		s.spec.Delay, s.spec.RunAt = d, time.Time{}
	}
}

// RunAt lets an action run not before t, by the store's clock; the zero time is at once. It replaces Delay.
func RunAt(t time.Time) Option {
	return func(s *settings) { s.spec.Delay, s.spec.RunAt = 0, t }
}

// StartWithin lets an action fail if no attempt began d after it was started; 0 is no expiry, the default.
func StartWithin(d time.Duration) Option {
	return func(s *settings) {
		s.duration("StartWithin", d, rpw.MaxTTL)
		s.spec.StartWithin = d
	}
}

// Unique lets at most one action of the queue with this key be pending or running; policy says what another Start does. The
// handle of a Start that joined or changed the present one says Existing.
func Unique(key string, policy rpw.UniquePolicy) Option {
	return func(s *settings) {
		s.check(rpw.CheckName("unique key", key))
		if policy > rpw.UniqueReschedule {
			s.refuse("unknown unique policy %d", policy)
		}
		s.spec.Unique, s.spec.OnUnique = key, policy
	}
}

// ID names the action instead of a random id: a repeated Start with the same id and argument answers the same action (Existing), with another
// argument ErrConflict. It follows the grammar of names and holds no "/".
func ID(id string) Option {
	return func(s *settings) {
		if s.defining {
			s.refuse("ID is of one action; give it to Start")
		}
		s.check(rpw.CheckName("action id", id))
		if strings.Contains(id, "/") {
			s.refuse("action id %s holds a \"/\"", rpw.QuoteName(id))
		}
		s.spec.Ref.ID = id
	}
}

// Label adds labels, by which actions can be listed; at most 16 in all, by the grammar of names.
func Label(labels ...string) Option {
	return func(s *settings) {
		for _, label := range labels {
			s.check(rpw.CheckName("label", label))
		}
		s.spec.Labels = slices.Concat(s.spec.Labels, labels)
		if n := len(s.spec.Labels); n > 16 {
			s.refuse("%d labels are too many (max 16)", n)
		}
	}
}

// Keep says how long a finished action is kept, by outcome.
func Keep(keep rpw.KeepActions) Option {
	return func(s *settings) {
		for _, of := range [...]struct {
			outcome string
			d       time.Duration
		}{{"Completed", keep.Completed}, {"Failed", keep.Failed}, {"Cancelled", keep.Cancelled}} {
			if of.d != rpw.NoTTL {
				s.duration("Keep."+of.outcome, of.d, rpw.MaxTTL)
			}
		}
		s.spec.Keep = keep
	}
}
