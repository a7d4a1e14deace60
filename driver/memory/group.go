package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
)

// group is a consumer group. The mutex of its stream guards it.
type group struct {
	rpw.GroupConfig // with the defaults filled in
	st              *stream
	incarnation     uint64
	token           uint64       // of the newest delivery
	cursor          rpw.Position // after the newest event delivered
	pending         pendingList
	due             heap[*pending] // leases by their end, and what was given back by its time
	ready           heap[*pending] // what can be delivered again, by id
	consumers       map[string]*consumer
	swept           time.Time // when idle consumers were last looked for

	settled     recent[rpw.Receipt, rpw.Verdict]
	fetched     lanes[fetched]
	settlements lanes[[]error]

	waiting waiters
	watcher *waiter   // the one waiter that wakes itself when the next event is due, at
	watches time.Time // this time
}

// consumer is a member of a group.
type consumer struct {
	name    string
	pending int64
	seen    time.Time
	waits   int           // Fetch calls that wait right now
	gap     *rpw.GapError // to be told at its next Fetch
}

// pending is an event that a group has delivered and not settled.
type pending struct {
	id        rpw.ID
	event     rpw.Event
	size      int       // of the event
	redriven  bool      // the group has an event of its own, which counts beside that of the stream
	holder    *consumer // the last one
	token     uint64
	attempt   int
	leased    bool      // or given back
	until     time.Time // the end of the lease, or when it may be delivered again
	delivered time.Time // first
	reason    string    // of the last Nack
	nacked    int       // the attempt that it ended
	settled   bool
	in        *heap[*pending]
	place     int
}

const (
	mostSettled  = 10_000    // verdicts a group remembers
	consumerIdle = time.Hour // after which a consumer without pending events is forgotten
	sweepEvery   = time.Minute
)

func newGroup(st *stream, cfg rpw.GroupConfig, now time.Time) *group {
	cfg.Update = false
	stamp := st.store.stamp(now)
	g := &group{GroupConfig: cfg, st: st, incarnation: stamp, token: stamp, cursor: st.locate(cfg.From), consumers: make(map[string]*consumer), swept: now}
	g.settled.most = mostSettled
	place := func(p *pending) *int { return &p.place }
	g.due = heap[*pending]{less: func(a, b *pending) bool { return a.until.Before(b.until) }, place: place}
	g.ready = heap[*pending]{less: func(a, b *pending) bool { return a.id.Compare(b.id) < 0 }, place: place}
	return g
}

// dropGroup ends a group. A later one of the same name gets greater tokens and another incarnation.
func (st *stream) dropGroup(g *group) {
	g.clear()
	st.store.stampAbove(g.token)
	delete(st.groups, g.Group)
	g.waiting.wakeAll()
}

// clear forgets all that is pending, and returns how much it was.
func (g *group) clear() int64 {
	n := g.pending.len()
	for g.pending.len() > 0 {
		g.forget(g.pending.first())
	}
	return int64(n)
}

// seat returns the consumer of this name, who is one of the group from now on.
func (g *group) seat(name string, now time.Time) *consumer {
	g.sweep(now)
	c := g.consumers[name]
	if c == nil {
		c = &consumer{name: name}
		g.consumers[name] = c
	}
	c.seen = now
	return c
}

// sweep forgets consumers that have been idle for long, now and then.
func (g *group) sweep(now time.Time) {
	if now.Sub(g.swept) < sweepEvery {
		return
	}
	g.swept = now
	for name, c := range g.consumers {
		if c.idle(now) {
			delete(g.consumers, name)
		}
	}
}

func (c *consumer) idle(now time.Time) bool {
	return c.pending == 0 && c.waits == 0 && now.Sub(c.seen) > consumerIdle
}

// noteGap moves the cursor over missing history, and leaves word for every consumer.
func (g *group) noteGap() {
	_, gap := g.st.resume(g.cursor)
	if gap == nil {
		return
	}
	gap.Group = g.Group
	g.cursor = gap.Resume
	for _, c := range g.consumers {
		c.gap = joinGaps(c.gap, gap)
	}
	g.waiting.wakeAll()
}

// joinGaps makes one gap of two that follow each other, of which the first may be nil.
func joinGaps(first, second *rpw.GapError) *rpw.GapError {
	if first == nil {
		return second
	}
	both := *second
	both.After = first.After
	both.Missed = 0
	if first.Missed > 0 && second.Missed > 0 {
		both.Missed = first.Missed + second.Missed
	}
	if first.Kind == rpw.GapReset {
		both.Kind = rpw.GapReset
	}
	return &both
}

// queue puts a pending event where it waits: to become due, or to be delivered.
func (g *group) queue(p *pending, in *heap[*pending]) {
	if p.in == in {
		in.fix(p)
		return
	}
	g.unqueue(p)
	p.in = in
	in.push(p)
}

func (g *group) unqueue(p *pending) {
	if p.in != nil {
		p.in.remove(p)
		p.in = nil
	}
}

// forget ends what is pending.
func (g *group) forget(p *pending) {
	g.unqueue(p)
	g.hold(p, nil)
	g.st.letGo(p)
	p.event = rpw.Event{}
	g.pending.remove(p)
}

// hold makes a consumer the holder of an event, in place of the last one.
func (g *group) hold(p *pending, c *consumer) {
	if p.holder != nil {
		p.holder.pending--
	}
	if p.holder = c; c != nil {
		c.pending++
	}
}

// promote makes all deliverable whose time has come; what has no delivery left becomes a dead letter.
func (g *group) promote(now time.Time) {
	for g.due.len() > 0 && !g.due.first().until.After(now) {
		p := g.due.first()
		if g.exhausted(p) {
			g.bury(p, p.failure(), now)
		} else {
			g.queue(p, &g.ready)
		}
	}
}

func (g *group) exhausted(p *pending) bool {
	return g.MaxDeliveries != rpw.Unlimited && p.attempt >= g.MaxDeliveries
}

// failure is why the last attempt ended.
func (p *pending) failure() string {
	if p.reason != "" && p.nacked == p.attempt {
		return p.reason
	}
	return "max deliveries"
}

// deliverable reports whether a Fetch would find an event now.
func (g *group) deliverable(now time.Time) bool {
	return g.ready.len() > 0 ||
		g.due.len() > 0 && !g.due.first().until.After(now) ||
		g.st.after(g.cursor.Count) < g.st.events.len()
}

// handOver is what a call does last that may have changed what can be delivered, or that stops waiting: if something can be
// delivered, or nobody watches for when the next event is due, it wakes one waiting consumer to see to it.
func (g *group) handOver(now time.Time) {
	if g.waiting.empty() {
		return
	}
	if g.deliverable(now) || g.due.len() > 0 && g.unwatched() {
		g.waiting.wake(1)
	}
}

// unwatched reports whether no waiter will wake in time for the next event that is due.
func (g *group) unwatched() bool {
	return g.watcher == nil || g.due.first().until.Before(g.watches)
}

// watch returns how long a waiter may sleep: until the next event is due if it is the watcher, without end if another one is.
func (g *group) watch(w *waiter, now time.Time) time.Duration {
	if g.due.len() == 0 || !g.unwatched() {
		return rpw.Forever
	}
	g.watcher, g.watches = w, g.due.first().until
	return g.watches.Sub(now)
}

func (g *group) unwatch(w *waiter) {
	if g.watcher == w {
		g.watcher = nil
	}
}

// info describes the group. deadLetters is the size of its dead-letter stream.
func (g *group) info(now time.Time, deadLetters int64) rpw.GroupInfo {
	info := rpw.GroupInfo{
		GroupConfig: g.GroupConfig,
		Incarnation: g.incarnation,
		Position:    g.cursor,
		Lag:         g.st.lag(g.cursor.Count),
		Pending:     int64(g.pending.len()),
		DeadLetters: deadLetters,
	}
	if g.pending.len() > 0 {
		info.OldestPending = now.Sub(g.pending.first().delivered)
	}
	for _, c := range g.consumers {
		if !c.idle(now) {
			seen := c.seen
			if c.waits > 0 {
				seen = now
			}
			info.Consumers = append(info.Consumers, rpw.ConsumerInfo{Name: c.name, Pending: c.pending, LastSeen: seen})
		}
	}
	slices.SortFunc(info.Consumers, func(a, b rpw.ConsumerInfo) int { return cmp.Compare(a.Name, b.Name) })
	return info
}
