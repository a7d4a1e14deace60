package redistest

import (
	"os"
	"sync"
	"testing"
)

// Shared is a server that the tests of a package share; its Stop belongs in TestMain, after the tests.
type Shared struct {
	Args []string

	once   sync.Once
	server *Server
	err    error
}

// Server starts the server for the first test that asks.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() {
		dir, err := os.MkdirTemp("", "redistest")
		if err != nil {
			s.err = err
			return
		}
		s.server, s.err = start(dir, s.Args...)
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// Stop ends the server, if it was started.
func (s *Shared) Stop() {
	if s.server != nil {
		s.server.Kill()
		os.RemoveAll(s.server.Dir)
	}
}
