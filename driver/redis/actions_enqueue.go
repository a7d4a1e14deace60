package redis

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver"
)

var enqueueScript = newActionScript("actions_enqueue.lua", "careful_enqueue.lua", []string{actionPrelude, "enqueue_quick.lua", actionCore})

// What becomes of a spec, as actions_enqueue.lua says.
const (
	specNew = iota
	specExists
	specIDTaken
	specKeyTaken
	specKeyRuns
)

// Enqueue stores actions, all or none for each queue.
func (a *actionStore) Enqueue(ctx context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answers := make([]rpw.Enqueued, len(specs))
	batches := byQueue(specs, func(s *rpw.ActionSpec) string { return s.Ref.Queue })
	orders := make([]*order, 0, len(batches))
	for _, b := range batches {
		o := newOrder(b, specs, answers)
		if o == nil {
			continue
		}
		if err := a.introduce(ctx, b.queue); err != nil {
			if err := o.fail(err); err != nil {
				return nil, err
			}
			continue
		}
		orders = append(orders, o)
	}
	for _, o := range orders {
		a.submit(ctx, o, len(orders) == 1)
	}
	for i, o := range orders {
		if err := a.finish(ctx, o); err != nil {
			for _, other := range orders[i+1:] {
				a.abandon(other)
			}
			return nil, err
		}
	}
	return answers, nil
}

// finish waits for the answer to an order and reads it.
func (a *actionStore) finish(ctx context.Context, o *order) error {
	if err := a.await(ctx, o); err != nil {
		return o.fail(err)
	}
	o.read()
	if o.isNew { // also if this process has registered it before: it may have been forgotten since
		return a.reintroduce(ctx, o.queue)
	}
	return nil
}

// order is what a call enqueues into one queue.
type order struct {
	batch
	specs   []rpw.ActionSpec // of the call
	answers []rpw.Enqueued
	args    []string // how many actions, then for each its id, and its record or options
	packed  []string // their specs
	size    int      // of both, in bytes

	done   chan struct{}          // closed when it was answered
	values []rueidis.RedisMessage // what became of each; nil: all are there now, and none was
	isNew  bool                   // the queue was new
	err    error
}

// newOrder packs the specs of a queue; nil if one of them was refused.
func newOrder(b batch, specs []rpw.ActionSpec, answers []rpw.Enqueued) *order {
	o := &order{batch: b, specs: specs, answers: answers, done: make(chan struct{})}
	o.args = append(make([]string, 0, 1+2*len(b.items)), strconv.Itoa(len(b.items)))
	for _, i := range b.items {
		answers[i] = rpw.Enqueued{Ref: specs[i].Ref, Err: driver.Unsupported(&specs[i], 0)}
		how, spec := "", packSpec(&specs[i])
		if isPlain(&specs[i]) {
			how = packPlain(&specs[i])
		} else {
			how = packOptions(&specs[i])
		}
		o.args, o.packed = append(o.args, specs[i].Ref.ID, how), append(o.packed, spec)
		o.size += len(how) + len(spec)
	}
	if o.refuse() {
		return nil
	}
	return o
}

// refuse answers all items if one was refused: none is stored.
func (o *order) refuse() bool {
	var first error
	for _, i := range o.items {
		if first == nil {
			first = o.answers[i].Err
		}
	}
	if first == nil {
		return false
	}
	for _, i := range o.items {
		if answer := &o.answers[i]; answer.Err == nil {
			*answer = rpw.Enqueued{Ref: o.specs[i].Ref, Err: rpw.Errorf(rpw.ErrConflict, "not enqueued, because another action of its queue could not be: %v", first)}
		}
	}
	return true
}

// fail answers all items by ErrFull, which other queues may have been spared; another error is one of the call.
func (o *order) fail(err error) error {
	if !errors.Is(err, rpw.ErrFull) {
		return err
	}
	for _, i := range o.items {
		o.answers[i].Err = err
	}
	return nil
}

// read reads the answer.
func (o *order) read() {
	if o.values == nil {
		return
	}
	for j, i := range o.items {
		ref := rpw.ActionRef{Queue: o.queue, ID: textOf(&o.values[2*j+1])}
		spec, answer := &o.specs[i], &o.answers[i]
		switch number(&o.values[2*j]) {
		case specExists:
			answer.Ref, answer.Existing = ref, true
		case specIDTaken:
			answer.Err = rpw.Errorf(rpw.ErrConflict, "the id %s is taken by another action", rpw.QuoteName(ref.ID))
		case specKeyTaken:
			answer.Err = rpw.Errorf(rpw.ErrConflict, "the unique key %s is taken by %s", rpw.QuoteName(spec.Unique), rpw.QuoteName(ref.ID))
		case specKeyRuns:
			answer.Err = rpw.Errorf(rpw.ErrConflict, "the unique key %s is taken by %s, which is running", rpw.QuoteName(spec.Unique), rpw.QuoteName(ref.ID))
		}
	}
	o.refuse()
}

// intake gathers what is enqueued into a queue while another enqueue is under way: all of it then goes in one script.
type intake struct {
	waiting []*order
}

// The bounds of what is sent together. One order may be larger, as far as the contract goes.
const (
	intakeItems = rpw.MaxBatch
	intakeBytes = rpw.MaxBatchBytes
)

// submit sends an order, or leaves it to the enqueue of its queue that is under way. One that is alone is sent by the caller itself.
func (a *actionStore) submit(ctx context.Context, o *order, alone bool) {
	a.mu.Lock()
	if in := a.intake[o.queue]; in != nil {
		in.waiting = append(in.waiting, o)
		a.mu.Unlock()
		return
	}
	a.intake[o.queue] = new(intake)
	a.mu.Unlock()
	if !alone {
		a.tasks.Go(func() { a.serve([]*order{o}) })
		return
	}
	a.send(ctx, []*order{o})
	if more := a.gathered(o.queue); len(more) > 0 {
		a.tasks.Go(func() { a.serve(more) })
	}
}

// serve sends orders of one queue, then what has gathered meanwhile, until there is nothing.
func (a *actionStore) serve(orders []*order) {
	for len(orders) > 0 {
		a.send(context.Background(), orders)
		runtime.Gosched() // who was just answered may enqueue again, and go along
		orders = a.gathered(orders[0].queue)
	}
}

// gathered takes what waits for a queue; when there is nothing, the next order begins anew.
func (a *actionStore) gathered(queue string) []*order {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.intake[queue]
	n, items, size := 0, 0, 0
	for _, o := range in.waiting {
		items, size = items+len(o.items), size+o.size
		if n > 0 && (items > intakeItems || size > intakeBytes) {
			break
		}
		n++
	}
	if n == 0 {
		delete(a.intake, queue)
		return nil
	}
	orders := slices.Clone(in.waiting[:n])
	in.waiting = slices.Delete(in.waiting, 0, n)
	return orders
}

// send sends orders of one queue in one script and hands out the answers.
func (a *actionStore) send(ctx context.Context, orders []*order) {
	n, specs := 1, orders[0].packed
	for i, o := range orders {
		n += len(o.args)
		if i > 0 {
			specs = append(specs, o.packed...)
		}
	}
	lots := packLots(specs)
	args := append(append(make([]string, 0, n+len(lots)), strconv.Itoa(len(lots))), lots...)
	for _, o := range orders {
		args = append(args, o.args...)
	}
	values, err := a.run(ctx, enqueueScript, queueCall{queue: orders[0].queue, args: args})
	isNew := err == nil && number(&values[0]) == 1
	at := 1
	for _, o := range orders {
		if o.err = err; err == nil {
			o.isNew = isNew
		}
		if len(values) > 1 {
			end := at + 2*len(o.items)
			o.values = values[at:end]
			at = end
		}
		close(o.done)
	}
}

// await waits for the answer to an order. If ctx ends before it was sent, nothing is done.
func (a *actionStore) await(ctx context.Context, o *order) error {
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
	}
	if a.abandon(o) {
		return ctx.Err()
	}
	return rpw.Errorf(rpw.ErrUncertain, "the call was cut before its answer: %w", ctx.Err())
}

// abandon takes an order back; false: it was sent.
func (a *actionStore) abandon(o *order) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if in := a.intake[o.queue]; in != nil {
		if i := slices.Index(in.waiting, o); i >= 0 {
			in.waiting = slices.Delete(in.waiting, i, i+1)
			return true
		}
	}
	return false
}
