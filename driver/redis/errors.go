package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// classify gives an error of rueidis or of the server its kind. ctx is the caller's; write says that the command may have changed something.
func classify(ctx context.Context, err error, write bool) error {
	if err == nil {
		return nil
	}
	if e, ok := rueidis.IsRedisErr(err); ok {
		return classifyReply(e.Error())
	}
	if _, ok := errors.AsType[*rpw.Error](err); ok {
		return err
	}
	if errors.Is(err, rueidis.ErrNoSlot) {
		return rpw.Errorf(rpw.ErrUnavailable, "no node of the cluster has the slot of the key")
	}
	ended := ctx.Err()
	isContext := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	op, ok := errors.AsType[*net.OpError](err)
	switch dialling := ok && op.Op == "dial"; {
	case dialling && ended != nil && (isContext || errors.Is(err, errAbandoned)):
		return ended
	case dialling:
		return rpw.Errorf(rpw.ErrUnavailable, "%w", err)
	case isContext && ended != nil && write:
		return rpw.Errorf(rpw.ErrUncertain, "the call was cut before its answer: %w", ended)
	case isContext && ended != nil:
		return ended
	case isContext: // our own bound, or that of whoever dialled for all
		err = errors.New("no answer in time")
	}
	if write {
		return rpw.Errorf(rpw.ErrUncertain, "the link broke before the answer: %w", err)
	}
	return rpw.Errorf(rpw.ErrUnavailable, "%w", err)
}

// fault is classify for a store, which turns away from a server that is the master no more.
func (s *store) fault(ctx context.Context, err error, write bool) error {
	if e, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(e.Error(), "READONLY") {
		s.opt.redial()
	}
	return classify(ctx, err, write)
}

// replyKinds are the kinds of errors a server answers with, by their first word. None of them was executed.
var replyKinds = map[string]error{
	"LOADING":     rpw.ErrUnavailable,
	"READONLY":    rpw.ErrUnavailable,
	"MISCONF":     rpw.ErrUnavailable,
	"NOREPLICAS":  rpw.ErrUnavailable,
	"MASTERDOWN":  rpw.ErrUnavailable,
	"CLUSTERDOWN": rpw.ErrUnavailable,
	"TRYAGAIN":    rpw.ErrUnavailable,
	"MOVED":       rpw.ErrUnavailable,
	"ASK":         rpw.ErrUnavailable,
	"BUSY":        rpw.ErrUnavailable,
	"NOSCRIPT":    rpw.ErrUnavailable,
	"EXECABORT":   rpw.ErrUnavailable,
	"OOM":         rpw.ErrFull,
	"WRONGPASS":   rpw.ErrPermission,
	"NOAUTH":      rpw.ErrPermission,
	"NOPERM":      rpw.ErrPermission,
	"DENIED":      rpw.ErrPermission, // protected mode: it takes connections from its own machine only
	"NOPROTO":     errors.ErrUnsupported,
	"WRONGTYPE":   rpw.ErrConflict,
	"CROSSSLOT":   rpw.ErrInvalid,
	"NOGROUP":     rpw.ErrNotFound,
}

// classifyReply reads an error reply: one of our scripts ("RPW <code> <text>"), or one of the server.
func classifyReply(text string) error {
	text = strings.TrimPrefix(text, "ERR ") // as rueidis does
	word, rest, _ := strings.Cut(text, " ")
	if word == "RPW" {
		code, rest, _ := strings.Cut(rest, " ")
		rest, _, _ = strings.Cut(rest, " script: ") // where a script raised it, says the server
		if kind := rpw.Sentinel(code); kind != nil {
			return rpw.Errorf(kind, "%s", rest)
		}
		return errors.New(text)
	}
	if kind, ok := replyKinds[word]; ok {
		return rpw.Errorf(kind, "the server says: %s", text)
	}
	switch {
	case strings.Contains(text, "The user executing the script"):
		return rpw.Errorf(rpw.ErrPermission, "the server says: %s", text)
	case strings.HasPrefix(text, "unknown command"), strings.HasPrefix(text, "unknown subcommand"):
		return rpw.Errorf(errors.ErrUnsupported, "the server says: %s", text)
	case strings.HasPrefix(text, "max number of clients"),
		strings.HasPrefix(text, "Script attempted to access a non local key"): // its slot moves: see lua/stream_core.lua
		return rpw.Errorf(rpw.ErrUnavailable, "the server says: %s", text)
	case strings.HasPrefix(text, "DB index"), strings.HasPrefix(text, "invalid DB"), strings.HasPrefix(text, "No such master"):
		return rpw.Errorf(rpw.ErrInvalid, "the server says: %s", text)
	}
	return errors.New("the server says: " + text)
}

// malformed is the error of an answer of our own script that cannot be read.
func malformed(sc *script, err error) error {
	if err == nil {
		err = errors.New("another form than expected")
	}
	return fmt.Errorf("the answer of %s cannot be read: %w", sc.file, err)
}
