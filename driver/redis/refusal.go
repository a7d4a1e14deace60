package redis

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// refusal is why a server let nobody in.
type refusal struct {
	err error
	at  time.Time
}

// refusedFor is how long a server that does not know the user, or his password, is not asked again: somebody has to change that.
const refusedFor = 5 * time.Second

// refuse reads the answer to the greeting, and notes if it is that the user may not come in.
func (l *links) refuse(addr string, answer []byte) error {
	line, _, _ := bytes.Cut(answer, []byte("\r\n"))
	var err error
	if text, failed := strings.CutPrefix(string(line), "-"); failed {
		err = classifyReply(text)
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
