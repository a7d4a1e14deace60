package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// sender takes commands to the server. While a link is well, rueidis listens to the context of a call; while it makes one it does not, for as
// long as that may take. So for a while after a link broke, and at the beginning, calls wait beside it. What remains is the call that is the first to need one more
// link later on, while the server is silent: it hears its context when the dial timeout has passed.
type sender struct {
	broken atomic.Int64 // when a link broke last, Unix ms

	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup // calls whose callers may have left
}

// suspectFor is how long after a break links are taken for unwell; in a cluster others may go on being well meanwhile.
const suspectFor = 10 * time.Second

// begin takes the links, of which most are still to be made, for unwell for a second.
func (s *sender) begin() { s.broken.Store(time.Now().Add(time.Second - suspectFor).UnixMilli()) }

// suspect notes that a link broke.
func (s *sender) suspect() { s.broken.Store(time.Now().UnixMilli()) }

// send sends commands together and returns their answers; those of one slot are executed in order. ctx comes from store.bounded.
func (s *sender) send(ctx context.Context, via rueidis.CommandClient, commands ...rueidis.Completed) []rueidis.RedisResult {
	if time.Now().UnixMilli()-s.broken.Load() > suspectFor.Milliseconds() {
		return s.ask(ctx, via, commands)
	}
	done := make(chan []rueidis.RedisResult, 1)
	if !s.beside(func() { done <- s.ask(ctx, via, commands) }) {
		return s.ask(ctx, via, commands)
	}
	select {
	case results := <-done:
		return results
	case <-ctx.Done():
	}
	results := make([]rueidis.RedisResult, len(commands))
	for i := range results {
		results[i] = rueidis.NewErrorResult(ctx.Err())
	}
	return results
}

func (s *sender) ask(ctx context.Context, via rueidis.CommandClient, commands []rueidis.Completed) []rueidis.RedisResult {
	var results []rueidis.RedisResult
	if len(commands) == 1 {
		results = []rueidis.RedisResult{via.Do(ctx, commands[0])}
	} else {
		results = via.DoMulti(ctx, commands...)
	}
	for i := range results {
		if results[i].NonRedisError() != nil && ctx.Err() == nil {
			s.suspect()
			break
		}
	}
	return results
}

// beside runs f on its own; false after close.
func (s *sender) beside(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Go(f)
	return true
}

// close waits for the calls whose callers have left.
func (s *sender) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return ended(ctx, &s.tasks)
}
