package redistest

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// Shared are a server and a cluster that the tests of a package share, each started for the first test that asks. Stop belongs in TestMain,
// after the tests. The zero Shared is ready to use.
type Shared struct {
	single, cluster once
	server          *Server
	nodes           *Cluster

	mu   sync.Mutex
	dirs []string
}

// dir makes a folder that Stop removes.
func (s *Shared) dir() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, err := os.MkdirTemp("", "redistest")
	if err == nil {
		s.dirs = append(s.dirs, dir)
	}
	return dir, err
}

// once runs something that may fail, once.
type once struct {
	sync.Once
	err error
}

func (o *once) do(t testing.TB, f func() error) {
	t.Helper()
	o.Do(func() { o.err = f() })
	if o.err != nil {
		t.Fatal(o.err)
	}
}

// Server is a server of its own.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	s.single.do(t, func() (err error) {
		dir, err := s.dir()
		if err == nil {
			s.server, err = start(dir)
		}
		return err
	})
	return s.server
}

// Cluster is a cluster of three nodes.
func (s *Shared) Cluster(t testing.TB) *Cluster {
	t.Helper()
	s.cluster.do(t, func() (err error) {
		dir, err := s.dir()
		if err != nil {
			return err
		}
		n := 0
		s.nodes, err = startCluster(func() string {
			n++
			node := filepath.Join(dir, strconv.Itoa(n))
			os.Mkdir(node, 0o700)
			return node
		}, 3)
		return err
	})
	return s.nodes
}

// Stop ends what was started.
func (s *Shared) Stop() {
	if s.server != nil {
		s.server.Kill()
	}
	if s.nodes != nil {
		s.nodes.Kill()
	}
	for _, dir := range s.dirs {
		os.RemoveAll(dir)
	}
}
