package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"
)

// Stats are the figures of a Server since it began. The keys of its maps are few: nothing that clients send is among them.
type Stats struct {
	Connections int  `json:"connections"` // open
	Handshakes  int  `json:"handshakes"`  // under way
	Requests    int  `json:"requests"`    // in flight
	Waits       int  `json:"waits"`       // requests that wait
	Draining    bool `json:"draining"`

	Accepted    uint64            `json:"accepted"` // connections
	Refused     map[string]uint64 `json:"refused"`  // handshakes, by reason: "origin", "rate", "unauthorized", ...
	Closed      map[string]uint64 `json:"closed"`   // connections, by close code; "gone" without one, "other" for those that are not known here
	MessagesIn  uint64            `json:"messages_in"`
	BytesIn     uint64            `json:"bytes_in"`
	MessagesOut uint64            `json:"messages_out"`
	BytesOut    uint64            `json:"bytes_out"`
}

// Stats returns the figures of now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.totals
	now.Refused, now.Closed = maps.Clone(now.Refused), maps.Clone(now.Closed)
	now.Connections, now.Handshakes, now.Draining = len(s.conns), s.handshakes, s.draining
	for c := range s.conns {
		now.add(c)
		now.Requests += int(c.peer.requests.taken.Load())
		now.Waits += int(c.peer.waits.taken.Load())
	}
	return now
}

func (s *Stats) add(c *connection) {
	s.MessagesIn += c.peer.received.messages.Load()
	s.BytesIn += c.peer.received.bytes.Load()
	s.MessagesOut += c.sent.messages.Load()
	s.BytesOut += c.sent.bytes.Load()
}

func count(m *map[string]uint64, key string) {
	if *m == nil {
		*m = map[string]uint64{}
	}
	(*m)[key]++
}

func closeLabel(code websocket.StatusCode) string {
	switch {
	case code == 0:
		return "gone"
	case code >= websocket.StatusNormalClosure && code <= websocket.StatusTLSHandshake, code == closeExpired, code == closeSlow:
		return strconv.Itoa(int(code))
	}
	return "other"
}

// Vars answers with the Stats as JSON, for operators: who can reach it sees how busy the server is.
func (s *Server) Vars(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	json.NewEncoder(w).Encode(s.Stats())
}

// journal logs what clients cause, at most some lines a second, however many clients there are.
type journal struct {
	log   *slog.Logger
	clock clock
	lines bucket
	left  atomic.Int64 // lines left out since the last one
}

const linesRate = 10 // a second, with a burst of ten times as many

func (j *journal) line(level slog.Level, text string, attrs ...slog.Attr) {
	ctx := context.Background()
	if !j.log.Enabled(ctx, level) {
		return
	}
	if !j.lines.take(rateOf(linesRate, 10*linesRate), j.clock.now()) {
		j.left.Add(1)
		return
	}
	if left := j.left.Swap(0); left > 0 {
		attrs = append(attrs, slog.Int64("lines left out", left))
	}
	j.log.LogAttrs(ctx, level, text, attrs...)
}

// refused logs a handshake or another credential that was refused. Should the reason repeat the token, it is blotted out.
func (j *journal) refused(remote, what string, why error, token string) {
	attrs := []slog.Attr{slog.String("remote", remote), slog.String("reason", what)}
	if why != nil {
		attrs = append(attrs, slog.String("error", without(token, why.Error())))
	}
	j.line(slog.LevelWarn, "socket: refused", attrs...)
}

// panicked logs that a function of the Config did.
func (j *journal) panicked(function string, with any, token string) {
	j.line(slog.LevelError, "socket: Config."+function+" panicked",
		slog.String("panic", without(token, fmt.Sprint(with))), slog.String("stack", string(debug.Stack())))
}

func without(token, text string) string {
	if token == "" {
		return text
	}
	return strings.ReplaceAll(text, token, "***")
}

func (j *journal) closed(c *connection, closed websocket.CloseError, err error) {
	level := slog.LevelInfo
	switch closed.Code {
	case 0, websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd, closeRestart:
		level = slog.LevelDebug
	case websocket.StatusInternalError:
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("remote", c.remote), slog.String("client", c.peer.who().Name), slog.Int("code", int(closed.Code))}
	if err != nil && !errors.Is(err, errGone) {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	j.line(level, "socket: connection closed", attrs...)
}
