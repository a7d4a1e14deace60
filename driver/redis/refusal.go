package redis

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// refusal is why a server could not be reached, or let nobody in.
type refusal struct {
	err error
	at  time.Time
}

// refusedFor is how long a server that does not know the user, or his password, is not asked again: somebody has to change that.
const refusedFor = 5 * time.Second

// dialEvery is how often a server that cannot be reached is tried, however many callers need it.
const dialEvery = 50 * time.Millisecond

// unreachable notes that a server could not be reached, or (nil) that it was.
func (l *links) unreachable(addr string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.away, addr)
		return
	}
	if l.away == nil {
		l.away = make(map[string]refusal)
	}
	l.away[addr] = refusal{err, time.Now()}
}

// pace lets a server be dialled unless that failed a moment ago, or is tried by another: then it waits, for a caller that tries without a pause, and
// answers the same.
func (l *links) pace(ctx context.Context, addr string) error {
	l.mu.Lock()
	was, ok := l.away[addr]
	wait := dialEvery - time.Since(was.at)
	if ok && wait <= 0 {
		l.away[addr] = refusal{was.err, time.Now()}
	}
	l.mu.Unlock()
	if !ok || wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return was.err
}

// tooMany begins what a server with too many clients writes to one more, without being asked, before it closes the connection. If rueidis has not got to write its
// greeting then, it panics in a goroutine of its own, as this is the answer to nothing.
var tooMany = []byte("-ERR max number of clients")

// refuse reads the answer to the greeting, and notes if it is that the user may not come in.
func (l *links) refuse(addr string, answer []byte) error {
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	var err error
	if text, failed := strings.CutPrefix(string(line), "-"); failed {
		err = classifyReply(text)
	}
	if bytes.HasPrefix(line, tooMany) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(err, rpw.ErrPermission) {
		delete(l.refused, addr)
		return nil
	}
	if l.refused == nil {
		l.refused = make(map[string]refusal)
	}
	l.refused[addr] = refusal{err, time.Now()}
	return err
}

// remembered is why the server at an address let nobody in a moment ago, nil if it did, and for the one who tries it again.
func (l *links) remembered(addr string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, ok := l.refused[addr]
	if !ok {
		return nil
	}
	if time.Since(was.at) < refusedFor {
		return was.err
	}
	l.refused[addr] = refusal{was.err, time.Now()}
	return nil
}
