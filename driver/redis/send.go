package redis

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// sender takes commands to the server. While a link is well, rueidis listens to the context of a call; while it makes one it does not, for as
// long as that may take. So while a link is made, for a while after one broke, and at the beginning, calls wait beside it. The call that is the first to need one more
// link later on makes it, and the link ends with its context while the server is silent.
type sender struct {
	broken atomic.Int64 // when a link broke last, Unix ms
	making atomic.Int32 // how many links are being made

	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup // calls whose callers may have left
}

// suspectFor is how long after a break links are taken for unwell; in a cluster others may go on being well meanwhile.
const suspectFor = 10 * time.Second

// begin takes the links, of which most are still to be made, for unwell for a tenth of a second: many calls may come at once then, and some begin to wait
// for a link before it is known that it is being made.
func (s *sender) begin() { s.broken.Store(time.Now().Add(time.Second/10 - suspectFor).UnixMilli()) }

// suspect notes that a link broke.
func (s *sender) suspect() { s.broken.Store(time.Now().UnixMilli()) }

// makes notes that a link is being made, until made is called.
func (s *sender) makes() (made func()) {
	s.making.Add(1)
	return sync.OnceFunc(func() { s.making.Add(-1) })
}

// send sends commands together and returns their answers; those of one slot are executed in order. ctx comes from store.bounded.
func (s *sender) send(ctx context.Context, via rueidis.CommandClient, commands ...rueidis.Completed) []rueidis.RedisResult {
	if s.making.Load() == 0 && time.Now().UnixMilli()-s.broken.Load() > suspectFor.Milliseconds() {
		return s.ask(ctx, via, commands)
	}
	done := make(chan []rueidis.RedisResult, 1)
	if !s.beside(func() { done <- s.ask(context.WithValue(ctx, patient{}, true), via, commands) }) {
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
	began := time.Now()
	var results []rueidis.RedisResult
	if len(commands) == 1 {
		results = []rueidis.RedisResult{via.Do(ctx, commands[0])}
	} else {
		results = via.DoMulti(ctx, commands...)
		if results[0].Error() == rueidis.ErrNoSlot { // then it has sent none of them
			results = apart(ctx, via, commands)
		}
	}
	for i := range results {
		if results[i].NonRedisError() != nil && ctx.Err() == nil {
			s.suspect()
			break
		}
	}
	for i := range results {
		if err := results[i].NonRedisError(); unsent(err, began) { // rueidis did not know yet that its connection had ended
			results[i] = rueidis.NewErrorResult(&net.OpError{Op: "dial", Err: err})
		}
	}
	return results
}

// apart sends commands slot by slot, since some slot has no node.
func apart(ctx context.Context, via rueidis.CommandClient, commands []rueidis.Completed) []rueidis.RedisResult {
	results := make([]rueidis.RedisResult, len(commands))
	bySlot := make(map[uint16][]int)
	for i, command := range commands {
		bySlot[command.Slot()] = append(bySlot[command.Slot()], i)
	}
	for _, places := range bySlot {
		some := make([]rueidis.Completed, len(places))
		for j, i := range places {
			some[j] = commands[i]
		}
		for j, result := range via.DoMulti(ctx, some...) {
			results[places[j]] = result
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
