package redis

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// link is a connection that takes itself off the list. rueidis greets the server with one write, and waits for the answer before anything else: a
// link that fails until then has carried no command of ours, and its error is one of dialling. Servers with too many clients do that.
type link struct {
	net.Conn
	of      *links
	addr    string
	stage   atomic.Int32
	leaving atomic.Bool // an UNSUBSCRIBE was written, and its PONG did not come yet
	tail    []byte      // the end of what came since: an answer may come in parts
	settled func()      // is called once, when it is greeted or over
	listen  func() bool // ends that it listens to the context for which it is made
	made    time.Time
	unheard atomic.Int64              // since when something is written and nothing came, in ns since it was made; 0: something came
	watched atomic.Bool               // the timer runs
	timer   *time.Timer               // to judge
	over    atomic.Pointer[time.Time] // when it was given up; nil: it is in use
}

// overError is the error of a link that was given up here: what began after that was not sent.
type overError struct {
	error
	at time.Time
}

func (e overError) Unwrap() error { return e.error }

// unsent reports whether a call that began then has met a link that was given up before.
func unsent(err error, began time.Time) bool {
	over, ok := errors.AsType[overError](err)
	return ok && over.at.Before(began)
}

var (
	errNotGreeted = errors.New("the server did not greet")
	errAbandoned  = errors.New("the call that made the link has ended")
	errNotLeft    = errors.New("the server is busy with a script, has a full disk or no master, so channels cannot be left")
)

// The stages of a link.
const (
	greeting  int32 = iota // nothing has come yet
	abandoned              // nor will it: the context ended
	greeted                // something has come, nothing was written since
	asked                  // the first command was written
	inUse                  // and answered
)

// isMaster begins the answer of a master to ROLE, the first command that rueidis sends to a server that Sentinels name.
var isMaster = []byte("*3\r\n$6\r\nmaster\r\n")

// rueidis sends a PING behind each UNSUBSCRIBE (since redis/rueidis#691). A server that a script of others keeps busy answers both with an error, one with a
// full disk, or a replica that has lost its master and serves nothing, the PING. rueidis takes the first error for the answer to the PING, or does not know it,
// and panics in a goroutine of its own. So such a link ends before it hears of them.
var (
	unsubscribe = []byte("\r\nUNSUBSCRIBE\r\n")
	pong        = []byte("+PONG\r\n")
	notLeft     = [][]byte{[]byte("-BUSY "), []byte("-MISCONF "), []byte("-MASTERDOWN ")}
)

const tailSize = len("-MASTERDOWN ") - 1 // as much of the longest may have come

// Read tells that the connection is over before rueidis hears of it, which then makes another for the next call.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if err != nil {
		l.of.ends()
	}
	if n > 0 {
		l.unheard.Store(0)
	}
	if stage := l.stage.Load(); n > 0 && stage != inUse {
		switch {
		case stage == greeting:
			l.listen()
			if err := l.of.refuse(l.addr, b[:n]); err != nil {
				return 0, err
			}
			if l.stage.CompareAndSwap(greeting, greeted) {
				l.settled()
			}
		case stage == asked:
			l.stage.Store(inUse)
			if bytes.HasPrefix(b[:n], isMaster) {
				l.of.leads(l.addr)
			}
		}
	}
	if n > 0 && l.leaving.Load() {
		came := append(l.tail, b[:n]...)
		if slices.ContainsFunc(notLeft, func(answer []byte) bool { return bytes.Contains(came, answer) }) {
			return 0, errNotLeft
		}
		if l.tail = bytes.Clone(came[max(0, len(came)-tailSize):]); bytes.Contains(came, pong) {
			l.leaving.Store(false)
			l.tail = nil
		}
	}
	return n, l.explain(err)
}

func (l *link) Write(b []byte) (int, error) {
	if l.over.Load() != nil {
		return 0, l.explain(net.ErrClosed)
	}
	if bytes.Contains(b[:min(len(b), 64)], unsubscribe) { // it is the first of what is written there at once
		l.leaving.Store(true)
	}
	if l.stage.Load() == greeted {
		l.stage.Store(asked)
	}
	if l.unheard.Load() == 0 {
		l.unheard.Store(int64(time.Since(l.made)))
		l.watch()
	}
	n, err := l.Conn.Write(b)
	return n, l.explain(err)
}

// watch lets it be judged in time.
func (l *link) watch() {
	if l.watched.CompareAndSwap(false, true) {
		l.timer.Reset(l.of.silence)
	}
}

// judge ends a link on which nothing came for too long after something was written. An answer stands for all that was written before it, so one that is
// missing behind it is found when more is written.
func (l *link) judge() {
	since := time.Duration(l.unheard.Load())
	switch left := since + l.of.silence - time.Since(l.made); {
	case since == 0:
		l.watched.Store(false)
		if l.unheard.Load() != 0 { // written meanwhile
			l.watch()
		}
	case left > 0:
		l.timer.Reset(left)
	default:
		l.Close()
	}
}

func (l *link) explain(err error) error {
	if err == nil {
		return nil
	}
	if l.stage.Load() >= asked {
		if at := l.over.Load(); at != nil {
			return overError{err, *at}
		}
		return err
	}
	if l.stage.Load() == abandoned {
		err = errAbandoned
	}
	return &net.OpError{Op: "dial", Net: l.LocalAddr().Network(), Addr: l.RemoteAddr(), Err: fmt.Errorf("%w: %w", errNotGreeted, err)}
}

// giveUp lets nothing more be written, whoever closes it when.
func (l *link) giveUp() {
	now := time.Now()
	l.over.CompareAndSwap(nil, &now)
}

func (l *link) Close() error {
	l.giveUp()
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	l.listen()
	l.settled()
	l.timer.Stop()
	l.of.ends()
	return l.Conn.Close()
}

// abandon ends a link that is not greeted yet.
func (l *link) abandon() {
	if l.stage.CompareAndSwap(greeting, abandoned) {
		l.Close()
	}
}
