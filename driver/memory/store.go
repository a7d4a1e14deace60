// Package memory is the in-process driver.
package memory

import (
	"sync/atomic"

	"github.com/redis-process-worker/rpw"
)

// Store holds everything of one in-process backend.
type Store struct {
	limit int64
	used  atomic.Int64
}

func (s *Store) reserve(n int) error {
	if used := s.used.Add(int64(n)); s.limit > 0 && used > s.limit {
		s.used.Add(-int64(n))
		return rpw.Errorf(rpw.ErrFull, "the store holds its %d bytes", s.limit)
	}
	return nil
}

func (s *Store) release(n int) { s.used.Add(-int64(n)) }
