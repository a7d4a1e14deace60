package redis

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var _ rpw.ActionStore = (*actionStore)(nil)

// actionStore keeps the actions of a queue in a few keys of one slot, which its scripts alone touch. Nothing runs while no verb is called: each script
// first brings its queue up to now (lua/core_actions.lua).
type actionStore struct {
	*store
	mu     sync.Mutex
	intake map[string]*intake  // of the queues that are being enqueued into
	desks  map[string]*desk    // of the queues that claims wait for
	known  map[string]struct{} // queues that this process has registered
	tasks  sync.WaitGroup
}

func (s *store) actions() *actionStore {
	return &actionStore{store: s, intake: make(map[string]*intake), desks: make(map[string]*desk), known: make(map[string]struct{})}
}

// close waits for the enqueues under way, within ctx.
func (a *actionStore) close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		a.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What scripts share.
const (
	actionPrelude  = "prelude_actions.lua"
	actionCore     = "core_actions.lua"
	actionBundles  = "bundles_actions.lua"
	actionLots     = "lots_actions.lua"
	actionRecords  = "records_actions.lua"
	actionLanes    = "lanes_actions.lua"
	actionDescribe = "describe_actions.lua"
)

// newActionScript prepares a script of a verb that most of its runs do without what is made by the library careful, or by records_actions.lua. usual are the
// libraries of all runs, most of which these use as well.
func newActionScript(file, careful string, usual []string, libs ...string) *script {
	all := append(slices.Clone(usual), "careful_begin.lua")
	for _, lib := range []string{actionBundles, actionLots} {
		if !slices.Contains(usual, lib) {
			all = append(all, lib)
		}
	}
	all = append(all, actionRecords, careful, "careful_end.lua")
	return newScript(file, append(all, libs...)...)
}

// queueParts are the suffixes of a queue's keys, in the order that scripts take them.
var queueParts = [...]string{"q", "s", "r", "h", "u", "i", "ready", "due", "run", "done", "w"}

// laneKinds are the suffixes of the keys that hold the last answers of a lane: each verb has its own.
const (
	noLane      = ""
	claimLane   = "lc:"
	advanceLane = "la:"
	controlLane = "lk:"
)

// queueCall is a script for one queue.
type queueCall struct {
	queue    string
	laneKind string
	lane     rpw.Lane
	args     []string
}

// prepare adds the keys and arguments that all scripts of queues take.
func (a *actionStore) prepare(c queueCall) scriptCall {
	of := a.keys.queue(c.queue)
	keys := make([]string, 0, len(queueParts)+1)
	text := make([]byte, 0, len(queueParts)*(len(of.tag)+len("ready"))) // of all keys, in one piece
	for _, part := range queueParts {
		text = append(append(text, of.tag...), part...)
		keys = append(keys, stringOf(text[len(text)-len(of.tag)-len(part):]))
	}
	seq := ""
	if c.laneKind != noLane && c.lane != (rpw.Lane{}) {
		keys = append(keys, of.side(c.laneKind+laneText(c.lane)))
		seq = strconv.FormatUint(c.lane.Seq, 10)
	}
	args := make([]string, 0, 3+len(c.args))
	args = append(args, a.keys.channel(queueChannel, c.queue), a.keys.channel(actionChannel, c.queue+"/"), seq)
	return scriptCall{keys, append(args, c.args...)}
}

// laneText is a lane in keys; none is "".
func laneText(l rpw.Lane) string {
	if l == (rpw.Lane{}) {
		return ""
	}
	return hex.EncodeToString(l.ID[:])
}

// queueAnswer is what the script of a queue came back with.
type queueAnswer struct {
	values []rueidis.RedisMessage
	err    error
}

// behind is what a script answers that has brought its queue nearer to now, and has done nothing else yet.
const behind = "behind"

// run runs a script for one queue.
func (a *actionStore) run(ctx context.Context, sc *script, call queueCall) ([]rueidis.RedisMessage, error) {
	answer := a.runAll(ctx, sc, []queueCall{call})[0]
	return answer.values, answer.err
}

// runAll runs a script for several queues in one pipeline, again for those that are behind.
func (a *actionStore) runAll(ctx context.Context, sc *script, calls []queueCall) []queueAnswer {
	answers := make([]queueAnswer, len(calls))
	prepared := make([]scriptCall, len(calls))
	open := make([]int, len(calls))
	for i, call := range calls {
		prepared[i], open[i] = a.prepare(call), i
	}
	for len(open) > 0 {
		var again []int
		for j, got := range a.execAll(ctx, sc, prepared) {
			i := open[j]
			answers[i].err = got.err
			if got.err != nil {
				continue
			}
			if got.message.IsString() && textOf(&got.message) == behind {
				again = append(again, j)
				continue
			}
			answers[i].values, answers[i].err = got.message.ToArray()
		}
		next, left := make([]scriptCall, len(again)), make([]int, len(again))
		for k, j := range again {
			next[k], left[k] = prepared[j], open[j]
		}
		prepared, open = next, left
	}
	return answers
}

// byQueue groups the items of a call by their queue, in their order.
func byQueue[T any](items []T, queue func(*T) string) []batch {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(queue(&items[i]), queue(&items[j])) })
	var batches []batch
	for len(order) > 0 {
		name, n := queue(&items[order[0]]), 1
		for n < len(order) && queue(&items[order[n]]) == name {
			n++
		}
		batches = append(batches, batch{name, order[:n]})
		order = order[n:]
	}
	return batches
}

// batch are the items of a call that are for one queue.
type batch struct {
	queue string
	items []int // their places in the call
}

// number reads an integer of an answer.
func number(m *rueidis.RedisMessage) int64 {
	n, _ := m.AsInt64()
	return n
}

// textOf reads a text of an answer; nil is "".
func textOf(m *rueidis.RedisMessage) string {
	s, _ := m.ToString()
	return s
}

// valuesOf reads a list of an answer; what is none has no values.
func valuesOf(m *rueidis.RedisMessage) []rueidis.RedisMessage {
	if !m.IsArray() {
		return nil // without the error that ToArray would make
	}
	values, _ := m.ToArray()
	return values
}

// micros is a duration in µs, rounded up, as scripts count.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

// microTime is a time in µs, rounded up; 0 for the zero time.
func microTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Microsecond - 1).UnixMicro()
}

// timeOf reads a time in µs; 0 is the zero time.
func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// patience is how long a call still waits.
type patience struct {
	wait  time.Duration
	since time.Time
}

// left is what remains of the wait: 0 when it is over, rpw.Forever if it has no end.
func (p patience) left() time.Duration {
	if p.wait == rpw.Forever {
		return rpw.Forever
	}
	return max(0, p.wait-time.Since(p.since))
}

// pageSize reads the Max of a request.
func pageSize(n, byDefault int) int {
	if n <= 0 {
		n = byDefault
	}
	return min(n, rpw.MaxPage)
}

func notFound(ref rpw.ActionRef) error {
	return rpw.Errorf(rpw.ErrNotFound, "there is no action %s in this queue", rpw.QuoteName(ref.ID))
}
