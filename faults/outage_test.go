//go:build faults

package faults

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/logs"
	"github.com/redis-process-worker/rpw/workers"
)

const outage = 30 * time.Second

// TestOutage takes a server away for half a minute from a process in which much waits. Everything goes on afterwards by itself, nothing is lost,
// no subscriber gets anything twice, and meanwhile the process is quiet.
// F1, F2, F5, F32, L1: the server is killed, or frozen.
func TestOutage(t *testing.T) {
	for name, way := range map[string]struct {
		leave func(*redistest.Server)
		back  func(testing.TB, *redistest.Server)
	}{
		"killed": {(*redistest.Server).Kill, func(t testing.TB, s *redistest.Server) { s.Restart(t) }},
		"frozen": {(*redistest.Server).Freeze, func(_ testing.TB, s *redistest.Server) { s.Thaw() }},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.StartDurable(t)
			c := gather(t, server)
			within(t, time.Now(), "everything works before the outage", func() bool { return c.works(20) })

			left := time.Now()
			way.leave(server)
			cpu := startProcessor(t)
			time.Sleep(outage)
			atMost(t, "processor during the outage", cpu.share(t), 5)
			for what, l := range c.components() {
				atMost(t, what+": log lines in the busiest second", l.busiest(left), 2)
			}
			note(t, "reconnecting notices a second, all 110 readers", c.notices.Load()/int64(outage.Seconds()))

			way.back(t, server)
			c.comeBack(t, time.Now())
			c.finish(t)
			c.check(t)
		})
	}
}

// crowd is what waits and works in this process.
type crowd struct {
	hub        *rpw.Hub
	notices    observer
	publishers []*publisher
	followers  []*follower
	members    []*member
	workers    []*worker
	log        *slog.Logger
	logged     atomic.Int64 // lines of log
	fallback   lines        // of the log handler
	hubLines   lines        // of slog's default

	stop chan struct{} // closed when the load ends
	load sync.WaitGroup
	ctx  context.Context // of all who wait
	end  context.CancelFunc
	all  sync.WaitGroup
}

// observer counts the tries of readers to go on.
type observer struct{ atomic.Int64 }

func (o *observer) Begin(ctx context.Context, _ rpw.Operation) context.Context { return ctx }
func (o *observer) End(context.Context, rpw.Operation, rpw.Outcome)            {}
func (o *observer) Notify(n rpw.Notice) {
	if n.Kind == rpw.NoticeReconnecting {
		o.Add(1)
	}
}

// member is a group of one, that handles the numbers of a stream.
type member struct {
	tally
	marked atomic.Bool
	err    error // of Consume
}

// worker runs the actions of a queue of its own.
type worker struct {
	tally
	lines   lines
	queue   string
	def     *actions.Definition[int, int]
	started atomic.Int64  // actions that were stored
	long    chan struct{} // closed to end the first action, which runs through the outage
	err     error         // of Run
}

const (
	longAction = -1
	markAction = -2
)

const (
	streams      = 5
	perStream    = 20 // subscribers
	groups       = 10
	workersCount = 10
)

// gather starts it all.
func gather(t *testing.T, server *redistest.Server) *crowd {
	c := &crowd{stop: make(chan struct{})}
	before := slog.Default()
	slog.SetDefault(slog.New(&c.hubLines))
	t.Cleanup(func() { slog.SetDefault(before) })
	c.hub = open(t, "redis://"+server.Addr, rpw.WithObserver(&c.notices))
	c.ctx, c.end = context.WithCancel(t.Context())
	for i := range streams {
		stream := rpw.StreamOf[int]("stream" + strconv.Itoa(i))
		p := &publisher{hub: c.hub, stream: stream}
		c.publishers = append(c.publishers, p)
		for range perStream {
			f := follow(t, c.hub, stream)
			c.followers = append(c.followers, f)
			c.all.Go(func() { f.run(c.ctx) })
		}
		c.load.Go(func() { p.run(c.ctx, t, c.stop, 50*time.Millisecond) })
	}
	for i := range groups {
		m := new(member)
		c.members = append(c.members, m)
		group := rpw.Consumer{Group: "group" + strconv.Itoa(i), From: rpw.Oldest(), Grace: time.Second}
		stream := c.publishers[i%streams].stream
		c.all.Go(func() { m.err = stream.Consume(c.ctx, c.hub, group, m.handle) })
	}
	for i := range workersCount {
		w := &worker{queue: "queue" + strconv.Itoa(i), long: make(chan struct{})}
		w.def = actions.Define[int, int]("work", actions.Queue(w.queue))
		c.workers = append(c.workers, w)
		run := workers.New(c.hub, workers.Config{Name: w.queue, Concurrency: 2, Lease: time.Minute, Logger: slog.New(&w.lines)})
		require.NoError(t, workers.Handle(run, w.def, w.handle))
		c.all.Go(func() { w.err = run.Run(c.ctx) })
		_, err := w.def.Start(c.ctx, c.hub, longAction, actions.ID("long"))
		require.NoError(t, err)
		c.load.Go(func() { w.enqueue(c.ctx, t, c.hub, c.stop) })
	}
	c.log = slog.New(logs.NewHandler(c.hub, logs.WithFallback(&c.fallback)))
	c.load.Go(func() { c.write() })
	return c
}

func (m *member) handle(_ context.Context, msg rpw.Message[int]) error {
	if msg.Type == "mark" {
		m.marked.Store(true)
	} else {
		m.add(msg.Data)
	}
	return nil
}

func (w *worker) handle(ctx context.Context, n int) (int, error) {
	switch n {
	case longAction:
		select {
		case <-w.long:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	case markAction:
	default:
		w.add(n)
	}
	return n, nil
}

// enqueue starts an action after the other, each until it is stored.
func (w *worker) enqueue(ctx context.Context, t testing.TB, hub *rpw.Hub, stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for {
			_, err := w.def.Start(ctx, hub, n, actions.ID(strconv.Itoa(n)))
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			if code := rpw.Code(err); code != "unavailable" && code != "uncertain" {
				t.Errorf("start %d: %v", n, err)
				return
			}
		}
		w.started.Add(1)
	}
}

// write logs a line after the other.
func (c *crowd) write() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			c.log.Info("line", "n", c.logged.Add(1)-1)
		}
	}
}

// components are those that log, with what they did.
func (c *crowd) components() map[string]*lines {
	busiest := &c.workers[0].lines
	for _, w := range c.workers {
		if w.lines.busiest(time.Time{}) > busiest.busiest(time.Time{}) {
			busiest = &w.lines
		}
	}
	return map[string]*lines{"hub": &c.hubLines, "log handler": &c.fallback, "the loudest worker": busiest}
}

// works reports whether everybody has got n things at least.
func (c *crowd) works(n int) bool {
	for _, f := range c.followers {
		if f.next.Load() < int64(n) {
			return false
		}
	}
	for _, m := range c.members {
		if m.lost(int64(n)) > 0 {
			return false
		}
	}
	for _, w := range c.workers {
		if w.lost(int64(n)) > 0 {
			return false
		}
	}
	return true
}

// comeBack measures how long it takes until each has got something new.
func (c *crowd) comeBack(t *testing.T, back time.Time) {
	var marks sync.WaitGroup
	var ran atomic.Int64
	for _, p := range c.publishers {
		marks.Go(func() {
			_, err := p.stream.Publish(c.ctx, c.hub, "mark", 0)
			assert.NoError(t, err)
		})
	}
	for _, w := range c.workers {
		marks.Go(func() {
			_, err := w.def.Run(c.ctx, c.hub, markAction)
			if assert.NoError(t, err) {
				ran.Store(max(ran.Load(), int64(time.Since(back))))
			}
		})
	}
	subscribers := within(t, back, "all subscribers go on", func() bool {
		for _, f := range c.followers {
			if !f.marked.Load() {
				return false
			}
		}
		return true
	})
	members := within(t, back, "all group members go on", func() bool {
		for _, m := range c.members {
			if !m.marked.Load() {
				return false
			}
		}
		return true
	})
	marks.Wait()
	atMost(t, fmt.Sprintf("%d subscribers work again after", len(c.followers)), subscribers, recovery)
	atMost(t, fmt.Sprintf("%d group members work again after", len(c.members)), members, recovery)
	atMost(t, fmt.Sprintf("%d workers work again after", len(c.workers)), time.Duration(ran.Load()), recovery)
}

// finish ends the load, lets everybody finish what there is, and stops all.
func (c *crowd) finish(t *testing.T) {
	for _, w := range c.workers {
		close(w.long)
		within(t, time.Now(), "the action that ran through the outage ends", func() bool {
			out, err := w.def.Handle(c.hub, rpw.ActionRef{Queue: w.queue, ID: "long"}).Wait(c.ctx)
			return assert.NoError(t, err) && assert.Equal(t, longAction, out)
		})
	}
	close(c.stop)
	c.load.Wait()
	within(t, time.Now(), "everybody has everything", func() bool {
		for i, f := range c.followers {
			if f.next.Load() < c.publishers[i/perStream].stored.Load() {
				return false
			}
		}
		for i, m := range c.members {
			if m.lost(c.publishers[i%streams].stored.Load()) > 0 {
				return false
			}
		}
		for _, w := range c.workers {
			if w.lost(w.started.Load()) > 0 {
				return false
			}
		}
		return true
	})
	require.NoError(t, c.log.Handler().(*logs.Handler).Flush(t.Context()))
	c.end()
	c.all.Wait()
}

// check says what was lost or doubled. Groups and actions may come again, as at least once means; a log line too, with its id.
func (c *crowd) check(t *testing.T) {
	wrong, again, twice, ids := 0, 0, 0, make(map[string]string)
	for _, f := range c.followers {
		if len(f.wrong) > 0 {
			t.Errorf("a subscriber: %v", f.wrong)
		}
		wrong += len(f.wrong)
	}
	atMost(t, "subscribers: events lost, doubled or out of order", wrong, 0)
	for _, m := range c.members {
		assert.NoError(t, m.err)
		again += m.again()
	}
	note(t, "group members: events delivered again", again)
	again = 0
	for _, w := range c.workers {
		assert.NoError(t, w.err)
		again += w.again()
	}
	note(t, "workers: actions run again", again)
	for r, err := range logs.Query(t.Context(), c.hub, rpw.LogQuery{}) {
		require.NoError(t, err)
		if other := ids[string(r.Attrs)]; other != "" && assert.Equal(t, other, r.ID, "a line that is there twice has one id") {
			twice++
		}
		ids[string(r.Attrs)] = r.ID
	}
	atMost(t, "log: lines lost", int(c.logged.Load())-len(ids), 0)
	note(t, "log: lines stored again, with their id", twice)
}
