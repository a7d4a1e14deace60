package rpw

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw/internal/closing"
	"github.com/redis-process-worker/rpw/internal/lease"
)

// Consumer describes one member of a consumer group. Members share the events of a stream: each event goes to one of them, and to
// another one if that one fails or dies.
type Consumer struct {
	Group string // the group's name; it is created if need be
	Name  string // of this member, unique in the group; "": host, process and a random part

	From          Start         // where a new group begins; zero: Newest
	Lease         time.Duration // how long an event is held before it goes to another member; renewed while its handler runs; 0: DefaultGroupLease
	MaxDeliveries int           // 0: DefaultMaxDeliveries; Unlimited
	DeadLetter    Retention     // of the dead-letter stream
	Update        bool          // change the settings of a group that exists; without it other settings are ErrConflict

	Concurrency int           // handlers at a time; 0: 1
	Backoff     Backoff       // before an event is delivered again after its handler failed
	Grace       time.Duration // how long handlers may go on after the context ended; 0: DefaultGrace
	OnGap       GapPolicy     // nil: GapStop. The position it returns does not matter: the group goes on with the first event that is there.
}

// DefaultGrace is how long handlers may go on when they are asked to stop.
const DefaultGrace = 10 * time.Second

// Consume handles the events of the stream as a member of a group, until the context ends. It is Consume of the
// package with payloads decoded: one that is no T goes to the dead-letter stream.
func (s Stream[T]) Consume(ctx context.Context, h *Hub, c Consumer, handle func(ctx context.Context, m Message[T]) error) error {
	if handle == nil {
		return call{h: h, verb: "consume", target: s.name}.wrap(Errorf(ErrInvalid, "the handler is nil"))
	}
	return Consume(ctx, h, s.name, c, func(ctx context.Context, d Delivery) error {
		m := Message[T]{Event: d.Event}
		err := m.decode(h, s.name)
		if err != nil {
			return Permanent(err)
		}
		return handle(ctx, m)
	})
}

// Consume handles the events of a stream as a member of a group, until ctx ends; then handlers get the grace to finish, and what
// they have not finished is handed back, so that others have it at once. It survives outages of the backend. It returns nil when it
// was asked to stop and all was settled; otherwise why it could not go on.
//
// A handler that returns nil has acknowledged its event. After an error the event is delivered again, with back-off, up to
// MaxDeliveries; Permanent sends it to the dead-letter stream at once, RetryIn chooses the wait. A panic counts as an error.
// Deliveries are at least once: the handler's ctx ends with cause ErrLeaseLost if another member has taken over. DeliveryOf(ctx) has
// the attempt and the fencing token. Closing the Hub stops Consume as ctx does, with a grace of what the close has time for; it then
// returns ErrClosed.
func Consume(ctx context.Context, h *Hub, stream string, c Consumer, handle func(ctx context.Context, d Delivery) error) error {
	h = h.orClosed()
	op := call{h: h, verb: "consume", target: stream}
	switch {
	case ctx == nil:
		return op.wrap(errNilContext)
	case handle == nil:
		return op.wrap(Errorf(ErrInvalid, "the handler is nil"))
	case c.Concurrency < 0:
		return op.wrap(Errorf(ErrInvalid, "Concurrency is %d; it must be at least 1, or 0 for 1", c.Concurrency))
	case c.Grace < 0:
		return op.wrap(Errorf(ErrInvalid, "Grace is negative (%v)", c.Grace))
	}
	name := cmp.Or(c.Name, consumerName())
	if err := first(checkBackoff(c.Backoff), CheckName("consumer", name)); err != nil { // of the name a fetch would say so, with the group made
		return op.wrap(err)
	}
	m := &member{hub: h, stream: stream, Consumer: c, handle: handle, hurry: make(chan struct{}), done: make(chan struct{})}
	m.Name = name
	m.Concurrency = cmp.Or(c.Concurrency, 1)
	m.Grace = cmp.Or(c.Grace, DefaultGrace)
	m.Lease = cmp.Or(c.Lease, DefaultGroupLease)
	if m.OnGap == nil {
		m.OnGap = GapStop
	}
	return m.run(ctx)
}

var errNilContext = Errorf(ErrInvalid, "the context is nil")

func consumerName() string {
	host, _ := os.Hostname()
	if CheckName("host", host) != nil {
		host = "host"
	}
	var random [4]byte
	rand.Read(random[:])
	return fmt.Sprintf("%.100s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}

type deliveryKey struct{}

// DeliveryOf returns the delivery that a handler of Consume works on: its attempt, and a receipt whose Token fences what it writes elsewhere.
// ok is false outside of one.
func DeliveryOf(ctx context.Context) (d Delivery, ok bool) {
	if ctx == nil {
		return d, false
	}
	d, ok = ctx.Value(deliveryKey{}).(Delivery)
	return d, ok
}

// member is a running Consume.
type member struct {
	Consumer
	hub    *Hub
	stream string
	handle func(context.Context, Delivery) error

	info     GroupInfo // the group as this member knows it
	seen     Position  // after the newest event it was given
	keeper   *lease.Keeper[Receipt]
	slots    chan struct{} // holds a token for each slot that is taken
	tasks    sync.WaitGroup
	hurry    chan struct{}   // closed when the Hub cannot wait for the grace
	done     chan struct{}   // closed at the end
	carrying context.Context // of verdicts on their way to the store
	giveUp   context.CancelFunc

	mu       sync.Mutex
	running  map[Receipt]*job
	waiting  []*job       // for a goroutine, which takes the first
	coming   bool         // a goroutine is on its way to take it
	verdicts []Settlement // waiting to be settled
	settling bool
}

// job is a delivery that is handled, or will be. It is the context of its handler.
type job struct {
	context.Context
	cancel   context.CancelCauseFunc
	delivery Delivery
}

func (j *job) Value(key any) any {
	if key == (deliveryKey{}) {
		return j.delivery
	}
	return j.Context.Value(key)
}

func (m *member) run(ctx context.Context) error {
	defer close(m.done)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	remove, err := m.hub.OnClose(func(closingCtx context.Context) error {
		stop(ErrClosed)
		return closing.Await(closingCtx, m.done, 2*stopReturn, func() { close(m.hurry) })
	})
	if err != nil {
		return err
	}
	defer remove()
	if err := m.ensure(ctx, m.From); err != nil {
		return m.ignoreStop(ctx, err)
	}
	m.carrying, m.giveUp = context.WithCancel(m.hub.ctx)
	defer m.giveUp()
	m.running = make(map[Receipt]*job)
	m.slots = make(chan struct{}, m.Concurrency)
	final := func(err error) bool { return errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrNotFound) }
	m.keeper = lease.New(m.renew, final, ErrLeaseLost, MaxBatch)
	defer m.keeper.Close()
	err = m.fetchAll(ctx)
	return errors.Join(m.ignoreStop(ctx, err), m.stop())
}

// ignoreStop: being asked to stop by ctx is no failure. The close of the Hub is told as ErrClosed.
func (m *member) ignoreStop(ctx context.Context, err error) error {
	if context.Cause(ctx) == ErrClosed {
		return call{h: m.hub, verb: "consume", target: m.stream}.wrap(Errorf(ErrClosed, "the hub closes"))
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (m *member) ensure(ctx context.Context, from Start) error {
	for failures := 0; ; {
		info, err := m.hub.Streams().EnsureGroup(ctx, GroupConfig{Stream: m.stream, Group: m.Group, From: from, Lease: m.Lease,
			MaxDeliveries: m.MaxDeliveries, DeadLetter: m.DeadLetter, Update: m.Update})
		if err == nil {
			m.info, m.seen = info, info.Position
			return nil
		}
		if err := m.hub.outlast(ctx, err, &failures); err != nil {
			return err
		}
	}
}

// fetchAll leases events for the free slots and starts their handlers, until ctx ends or it cannot go on.
func (m *member) fetchAll(ctx context.Context) error {
	failures := 0
	handling := context.WithoutCancel(ctx)
	for {
		free, err := m.waitForSlots(ctx)
		if err != nil {
			return err
		}
		deliveries, err := m.hub.Streams().Fetch(ctx, FetchRequest{Stream: m.stream, Group: m.Group, Consumer: m.Name,
			Incarnation: m.info.Incarnation, Max: free, Lease: m.Lease, Wait: Forever})
		for range free - len(deliveries) {
			<-m.slots
		}
		if err == nil {
			failures = 0
			m.start(handling, deliveries)
			runtime.Gosched() // handlers that end at once leave their slots to the next fetch
			if len(deliveries) == 0 {
				sleep(ctx, m.hub.ctx, earlyPause)
			}
			continue
		}
		if err := m.recover(ctx, err, &failures); err != nil {
			return err
		}
	}
}

// waitForSlots takes all free slots, at least one.
func (m *member) waitForSlots(ctx context.Context) (free int, err error) {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for free = 1; free < MaxPage; free++ {
		select {
		case m.slots <- struct{}{}:
		default:
			return free, nil
		}
	}
	return free, nil
}

// recover deals with a failed fetch; nil means go on. Trouble right after trouble is met with a pause, whatever it is.
func (m *member) recover(ctx context.Context, err error, failures *int) error {
	gap, isGap := errors.AsType[*GapError](err)
	if !isGap && !errors.Is(err, ErrNotFound) {
		return m.hub.outlast(ctx, err, failures)
	}
	if *failures++; *failures > 1 {
		sleep(ctx, m.hub.ctx, backoff(*failures-2))
	}
	if isGap && gap.Kind != GapReset {
		return m.report(gap)
	}
	return m.rebuild(ctx, gap)
}

// rebuild makes a group again that has vanished, or takes note that another member has done so. After a flush it begins with the
// oldest event of the new history; in the same history, where this member was.
func (m *member) rebuild(ctx context.Context, gap *GapError) error {
	before := m.seen
	now, err := m.locate(ctx)
	if err != nil {
		return err
	}
	from := Oldest()
	if now.Epoch == before.Epoch {
		from = After(before)
	}
	if err := m.ensure(ctx, from); err != nil {
		return err
	}
	if gap == nil {
		gap = &GapError{Stream: m.stream, Group: m.Group, Kind: GapReset, After: before, Resume: m.info.Position, Oldest: m.info.Position}
	}
	return m.report(gap)
}

// locate returns the end of the stream.
func (m *member) locate(ctx context.Context) (Position, error) {
	for failures := 0; ; {
		now, err := m.hub.Streams().Locate(ctx, m.stream, Newest())
		if err == nil {
			return now, nil
		}
		if err := m.hub.outlast(ctx, err, &failures); err != nil {
			return now, err
		}
	}
}

func (m *member) report(gap *GapError) error {
	m.hub.notify(Notice{Kind: NoticeGap, Err: gap})
	_, err := m.OnGap(gap)
	return err
}

// start has handlers run for deliveries, which have slots.
func (m *member) start(ctx context.Context, deliveries []Delivery) {
	granted := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range deliveries {
		if p := d.Position(); p.Count > m.seen.Count || p.Epoch != m.seen.Epoch {
			m.seen = p
		}
		j := &job{delivery: d}
		j.Context, j.cancel = context.WithCancelCause(ctx)
		m.running[d.Receipt] = j
		m.waiting = append(m.waiting, j)
		m.keeper.Hold(d.Receipt, granted, m.Lease, func(err error) {
			j.cancel(ErrLeaseLost)
		})
	}
	m.beckon()
}

// beckon sees to it that a goroutine comes for what waits. mu is held.
func (m *member) beckon() {
	if len(m.waiting) > 0 && !m.coming {
		m.coming = true
		m.tasks.Go(m.work)
	}
}

// work runs handlers one after the other, while something waits. Each may take long, so another goroutine comes for what waits behind it: there are as many
// goroutines as handlers that take long, and few for those that end at once.
func (m *member) work() {
	m.mu.Lock()
	for m.coming = false; len(m.waiting) > 0; m.mu.Lock() {
		j := m.waiting[0]
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
		m.beckon()
		m.mu.Unlock()
		m.begin(j)
	}
	m.mu.Unlock()
}

// begin runs the handler of a delivery, unless it was handed back, or lost, before it could begin, and frees its slot.
func (m *member) begin(j *job) {
	defer func() { <-m.slots }()
	if j.Err() != nil {
		m.keeper.Drop(j.delivery.Receipt)
		return
	}
	m.call(j)
}

// call runs the handler and sees to it that a panic is an error. runtime.Goexit ends its goroutine, but not before the event is settled.
func (m *member) call(j *job) {
	err := errGoexit
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the handler panicked: %v\n%s", r, debug.Stack())
		}
		cause := context.Cause(j)
		j.cancel(nil)
		m.finish(j.delivery, err, cause)
	}()
	err = m.handle(j, j.delivery)
}

var errGoexit = errors.New("the handler ended its goroutine")

// finish settles what the handler said, unless the event was handed back or lost meanwhile.
func (m *member) finish(d Delivery, err, cause error) {
	m.mu.Lock()
	_, mine := m.running[d.Receipt]
	delete(m.running, d.Receipt)
	m.mu.Unlock()
	if !mine || cause == ErrLeaseLost {
		m.keeper.Drop(d.Receipt)
		return
	}
	m.settle(m.verdict(d, err))
}

// verdict is what an error of the handler means. One that panics when it is asked, often a nil pointer in an error, counts as a panic.
func (m *member) verdict(d Delivery, err error) (s Settlement) {
	defer func() {
		if r := recover(); r != nil {
			s = m.verdict(d, fmt.Errorf("the handler's error, a %T, panicked: %v", err, r))
		}
	}()
	switch {
	case err == nil:
		return Settlement{Receipt: d.Receipt, Verdict: Ack}
	case IsPermanent(err):
		return Settlement{Receipt: d.Receipt, Verdict: Reject, Reason: cut(err.Error(), maxReason)}
	}
	return Settlement{Receipt: d.Receipt, Verdict: Nack, Reason: cut(err.Error(), maxReason),
		Delay: min(m.Backoff.RetryDelay(d.Attempt, err), 24*time.Hour)}
}

// settle hands in a verdict. One goroutine at a time carries all that wait to the store.
func (m *member) settle(s ...Settlement) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.verdicts = append(m.verdicts, s...)
	if m.settling {
		return
	}
	m.settling = true
	defer func() { m.settling = false }()
	m.mu.Unlock()
	runtime.Gosched() // what is about to end goes along
	m.mu.Lock()
	for len(m.verdicts) > 0 {
		batch := m.verdicts[:min(len(m.verdicts), MaxBatch)]
		m.verdicts = m.verdicts[len(batch):]
		m.mu.Unlock()
		ok := m.send(batch)
		m.mu.Lock()
		m.drop(batch)
		if !ok { // their leases run out, and others get the events
			m.drop(m.verdicts)
			m.verdicts = nil
		}
	}
}

// send carries verdicts to the store, through outages up to a lease's length.
func (m *member) send(batch []Settlement) bool {
	ctx, cancel := context.WithTimeout(m.carrying, m.Lease)
	defer cancel()
	for failures := 0; ; {
		_, err := m.hub.Streams().Settle(ctx, SettleRequest{Stream: m.stream, Group: m.Group, Settlements: batch})
		if err == nil || m.hub.outlast(ctx, err, &failures) != nil {
			return err == nil
		}
	}
}

// drop stops renewing leases.
func (m *member) drop(settled []Settlement) {
	for _, s := range settled {
		m.keeper.Drop(s.Receipt)
	}
}

func (m *member) renew(ctx context.Context, receipts []Receipt) []error {
	settlements := make([]Settlement, len(receipts))
	for i, r := range receipts {
		settlements[i] = Settlement{Receipt: r, Verdict: Extend, Delay: m.Lease}
	}
	errs, err := m.hub.Streams().Settle(ctx, SettleRequest{Stream: m.stream, Group: m.Group, Settlements: settlements})
	if err != nil {
		errs = make([]error, len(receipts))
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// stopReturn is how long handlers may take to return once their ctx has ended.
const stopReturn = time.Second

// stop gives handlers the grace, hands back what they have not finished, and waits a moment longer for them.
func (m *member) stop() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.tasks.Wait()
	}()
	if m.finished(done) {
		return nil
	}
	defer time.AfterFunc(stopReturn, m.giveUp).Stop()
	m.mu.Lock()
	var back []Settlement
	for receipt, j := range m.running {
		back = append(back, Settlement{Receipt: receipt, Verdict: Release})
		delete(m.running, receipt)
		j.cancel(ErrClosed)
	}
	m.mu.Unlock()
	m.settle(back...)
	select {
	case <-done:
	case <-m.carrying.Done():
	}
	if m.carrying.Err() == nil {
		return nil
	}
	return call{h: m.hub, verb: "consume", target: m.stream}.wrap(
		Errorf(ErrClosed, "not all was settled within the grace and a second more: a handler still runs, or the backend is away; unfinished events are delivered again"))
}

// finished waits for done through the grace, or until the Hub is in a hurry.
func (m *member) finished(done <-chan struct{}) bool {
	grace := time.NewTimer(m.Grace)
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
	case <-m.hurry:
	}
	return false
}
