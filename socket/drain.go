package socket

import (
	"context"
	"errors"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/timer"
)

// closeTime bounds Close.
const closeTime = 2*lingerTime + time.Second

// Shutdown stops the server for good. New clients are refused with 503; those that are connected are asked to leave, one after the
// other over Limits.DrainTime, and each is closed with 1012 when it has not left after as long again. Shutdown returns when all
// connections are over. With a deadline in ctx it takes less time for each step; when ctx ends, what is left is dropped, and the error
// is that of ctx. The Hub stays open.
func (s *Server) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return rpw.Errorf(rpw.ErrInvalid, "the context is nil")
	}
	if s.stop() {
		step := s.config.Limits.DrainTime
		if until, ok := ctx.Deadline(); ok {
			step = min(step, max(0, time.Until(until)/3))
		}
		conns := s.connected()
		s.spread(ctx, conns, step, func(c *connection) { close(c.peer.leaving) })
		s.spread(ctx, conns, step, func(c *connection) { c.end(errRestart) })
	}
	return s.finish(ctx)
}

// Close stops the server at once: every connection is closed with 1012. It takes some seconds at most, for clients that do not answer. Repeating it,
// also while Shutdown runs, is no error.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	s.stop()
	s.cancel(errRestart)
	if s.finish(ctx) != nil {
		return errors.New("rpw: close socket server: some connections did not end")
	}
	return nil
}

// stop refuses new clients from now on; false if they were refused before.
func (s *Server) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.draining = true
	go func() { // ends with the last connection
		s.tasks.Wait()
		close(s.over)
	}()
	return true
}

// spread does something with each connection, evenly over a time. It ends early with ctx, or when all connections are over.
func (s *Server) spread(ctx context.Context, conns []*connection, d time.Duration, do func(*connection)) {
	start := time.Now()
	for i, c := range conns {
		due := start.Add(d * time.Duration(i) / time.Duration(len(conns)))
		if s.isOver(ctx, time.Until(due)) || ctx.Err() != nil {
			return
		}
		do(c)
	}
	s.isOver(ctx, time.Until(start.Add(d)))
}

// isOver reports whether all connections are over; it waits for that for d, within ctx.
func (s *Server) isOver(ctx context.Context, d time.Duration) bool {
	late, stop := timer.After(d)
	defer stop()
	select {
	case <-s.over:
		return true
	case <-ctx.Done():
	case <-late:
	}
	return false
}

// finish waits for the connections to end. When ctx ends, it drops them.
func (s *Server) finish(ctx context.Context) error {
	select {
	case <-s.over:
		s.cancel(errRestart)
		return nil
	case <-ctx.Done():
	}
	s.cancel(errRestart)
	for _, c := range s.connected() {
		c.tcp.drop()
	}
	if s.isOver(context.Background(), lingerTime/4) {
		return nil
	}
	return ctx.Err()
}
