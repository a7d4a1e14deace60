package logs

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// fakeSink keeps what is written. behave, if set, runs first and may fail, wait or log.
type fakeSink struct {
	behave func(ctx context.Context, req rpw.WriteLogs) error

	mu      sync.Mutex
	calls   int
	records []rpw.LogRecord
	last    rpw.WriteLogs
}

func (s *fakeSink) Write(ctx context.Context, req rpw.WriteLogs) error {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	if s.behave != nil {
		if err := s.behave(ctx, req); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, req.Records...)
	s.last = req
	return nil
}

func (s *fakeSink) Query(context.Context, rpw.LogQuery) (rpw.LogPage, error) {
	return rpw.LogPage{}, rpw.ErrNotFound
}

func (s *fakeSink) written() []rpw.LogRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records
}

func (s *fakeSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// sinkHub is a Hub whose log is s. Not closed by itself: tests close it, or the Handler.
func sinkHub(t testing.TB, s rpw.LogSink) *rpw.Hub {
	t.Helper()
	hub, err := rpw.New(rpw.Parts{Name: "fake", Logs: s})
	require.NoError(t, err)
	return hub
}

// memoryHub is a Hub on memory, closed at the end of the test.
func memoryHub(t testing.TB, opts ...rpw.Option) *rpw.Hub {
	t.Helper()
	hub, err := rpw.New(memory.New(memory.Options{}).Parts(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Close()) })
	return hub
}

// attrsOf decodes the attributes of a record.
func attrsOf(t testing.TB, r rpw.LogRecord) map[string]any {
	t.Helper()
	attrs := map[string]any{}
	if r.Attrs != nil {
		require.NoError(t, json.Unmarshal(r.Attrs, &attrs), string(r.Attrs))
	}
	return attrs
}
