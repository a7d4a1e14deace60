package socket

import (
	"context"
	"slices"
	"strings"

	"github.com/redis-process-worker/rpw"
)

// authorize is what holds where Config.Authorize is nil: anonymous clients may do all but administer, others what their grants say.
func authorize(_ context.Context, id Identity, a Access) error {
	if id.Name == "" {
		if a.Right == Admin {
			return rpw.Errorf(rpw.ErrPermission, "anonymous clients may not administer")
		}
		return nil
	}
	for _, g := range id.Grants {
		if g.gives(a) {
			return nil
		}
	}
	return rpw.Errorf(rpw.ErrPermission, "no grant gives it")
}

// gives reports whether the grant covers a. Without a name, which asks for the listing, any name of its kind is enough.
func (g Grant) gives(a Access) bool {
	if !slices.Contains(g.Rights, a.Right) {
		return false
	}
	patterns := g.patterns(a.Kind)
	if a.Name == "" {
		return len(patterns) > 0
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, a.Name) })
}

func (g Grant) patterns(k Kind) []string {
	switch k {
	case KindStream:
		return g.Streams
	case KindKey:
		return g.Keys
	case KindLog:
		return g.Logs
	case KindQueue:
		return g.Queues
	case KindWorker:
		return g.Workers
	}
	return nil
}

// check finds what can never work: no or unknown rights, patterns that no name fits.
func (g Grant) check() error {
	if len(g.Rights) == 0 {
		return rpw.Errorf(rpw.ErrInvalid, "a grant has no rights")
	}
	for _, r := range g.Rights {
		if !slices.Contains([]Right{Read, Write, Consume, Admin}, r) {
			return rpw.Errorf(rpw.ErrInvalid, "a grant has the unknown right %s; there are read, write, consume and admin", rpw.QuoteName(string(r)))
		}
	}
	patterns := slices.Concat(g.Streams, g.Keys, g.Logs, g.Queues, g.Workers)
	if len(patterns) == 0 {
		return rpw.Errorf(rpw.ErrInvalid, "a grant has no names")
	}
	asName := strings.NewReplacer("*", "x", deadMark, "x")
	for _, pattern := range patterns {
		if rpw.CheckName("pattern", asName.Replace(pattern)) != nil {
			return rpw.Errorf(rpw.ErrInvalid, "a grant has the pattern %s, which fits no name: patterns are names in which * stands for any run of characters", rpw.QuoteName(pattern))
		}
	}
	return nil
}

// deadMark is what rpw.DeadLetter puts between a stream and a group; patterns may hold it.
var deadMark = rpw.DeadLetter("", "")

// matches reports whether name fits pattern, in which * stands for any run of characters. Its time is linear.
func matches(pattern, name string) bool {
	piece, rest, more := strings.Cut(pattern, "*")
	if !more {
		return name == pattern
	}
	name, ok := strings.CutPrefix(name, piece)
	if !ok {
		return false
	}
	for {
		piece, rest, more = strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, piece)
		}
		if _, name, ok = strings.Cut(name, piece); !ok { // the first place is as good as any
			return false
		}
	}
}
