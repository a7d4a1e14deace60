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
	line, _, whole := bytes.Cut(answer, []byte("\r\n"))
	text, refused := strings.CutPrefix(string(line), "-")
	if !whole || !refused {
		return nil
	}
	err := classifyReply(text)
	if !errors.Is(err, rpw.ErrPermission) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = make(map[string]refusal)
	}
	l.refused[addr] = refusal{err, time.Now()}
	return err
}

// remembered is why the server at an address let nobody in a moment ago, nil if it did.
func (l *links) remembered(addr string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.refused[addr]; time.Since(was.at) < refusedFor {
		return was.err
	}
	return nil
}
