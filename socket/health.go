package socket

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	readyFor  = time.Second // for which an answer of the backend is good, so that asking often costs it nothing
	readyWait = time.Second // for the backend's answer
)

// readiness is what the backend answered last.
type readiness struct {
	mu    sync.Mutex // held while the backend is asked: others wait for that answer
	asked time.Time
	err   error
}

// Healthz says that the process is alive, with 200. A backend that is down does not change it: a restart would not help.
func (s *Server) Healthz(w http.ResponseWriter, _ *http.Request) { answer(w, true) }

// Readyz says whether the server should be sent clients: 200, or 503 while it stops, or while the backend gives no sign of life. The backend is
// asked at most once a second.
func (s *Server) Readyz(w http.ResponseWriter, _ *http.Request) { answer(w, s.isReady()) }

func (s *Server) isReady() bool {
	s.mu.Lock()
	draining := s.draining
	s.mu.Unlock()
	if draining {
		return false
	}
	r := &s.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || time.Since(r.asked) > readyFor {
		ctx, cancel := context.WithTimeout(s.ctx, readyWait) // not the request's: the answer is for all who ask
		defer cancel()
		r.err = s.hub.Health(ctx)
		r.asked = time.Now()
	}
	return r.err == nil
}

func answer(w http.ResponseWriter, ok bool) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "not ready\n")
		return
	}
	io.WriteString(w, "ok\n")
}
