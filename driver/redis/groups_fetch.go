package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// A token is the number of its lot, which is at least the store's time in µs, and the place in the lot: at most rpw.MaxPage events.
const placeBits = 9

// fetched is the answer to one look: deliveries, a gap, or nothing yet.
type fetched struct {
	deliveries []rpw.Delivery
	gap        *rpw.GapError
	cursor     string        // of the group after these deliveries, in the form of wire
	due        time.Duration // until something is; 0: nothing will be
	over       bool          // the call is a repeat, and holds nothing of its answer any more: the caller goes on
}

func (f *fetched) empty() bool { return len(f.deliveries) == 0 && f.gap == nil && !f.over }

func (f *fetched) answer(err error) ([]rpw.Delivery, error) {
	switch {
	case err != nil:
		return nil, err
	case f.gap != nil:
		return nil, f.gap
	}
	return f.deliveries, nil
}

// Fetch implements rpw.StreamBus. Of the fetches of one group that wait in this process one at a time watches; when it has got something the
// next one looks, since there may be more.
func (b *streamBus) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req.Max = pageMax(req.Max, 1)
	p := newVigil(req.Wait)
	defer p.stop()
	f, err := b.look(ctx, &req, req.Wait <= 0)
	if err != nil || !f.empty() || req.Wait <= 0 {
		return f.answer(err)
	}
	q := b.queues.join(req.Stream, req.Group)
	defer b.queues.leave(q)
	w, err := b.waker.watch(ctx, b.keys.channel(streamChannel, req.Stream), b.groupChannelOf(req.Stream, req.Group))
	if err != nil {
		return nil, err
	}
	defer w.close()
	over, err := p.turn(ctx, q)
	if err != nil {
		return nil, err
	}
	if !over {
		defer q.pass()
	}
	for {
		f, err := b.look(ctx, &req, over)
		if err != nil || !f.empty() || over {
			return f.answer(err)
		}
		if over, err = p.waitDue(ctx, w, f.due); err != nil {
			return nil, err
		}
	}
}

// lateness is how long a look whose caller has left may still take, so that what it leased can be given back.
const lateness = 20 * time.Millisecond

// look asks the store once. last: the caller waits no longer. If ctx ends in the meantime, what was leased is given back; ErrUncertain: something may have
// been leased, and the answer did not come.
func (b *streamBus) look(ctx context.Context, req *rpw.FetchRequest, last bool) (f fetched, err error) {
	late, cancel := outlive(ctx, lateness)
	defer cancel()
	ahead, next, err := b.readAhead(late, req)
	if err != nil {
		return f, err
	}
	keys, letters := b.keysWithDead(req.Stream, req.Group)
	lane, seq := laneArgs(req.Lane)
	lease, over := "", ""
	if req.Lease > 0 {
		lease = millis(req.Lease)
	}
	if last {
		over = "1"
	}
	args := make([]string, 0, 19)
	args = append(args, b.begin(), req.Group, req.Consumer, strconv.FormatUint(req.Incarnation, 10), strconv.Itoa(req.Max), lease, over, lane, seq,
		letters, b.groupChannelOf(req.Stream, req.Group))
	m, err := b.exec(late, fetchScript, keys, ahead.appendTo(args))
	if err == nil {
		f, err = readFetched(m, req, ahead.events)
		b.cursors.learn(req, &f, next)
	}
	switch left := ctx.Err(); {
	case left == nil, f.gap != nil: // a gap is told once
		return f, err
	case errors.Is(err, rpw.ErrUncertain):
		return fetched{}, rpw.Errorf(rpw.ErrUncertain, "the call was cut before its answer: %w", left)
	case len(f.deliveries) > 0:
		b.giveBack(ctx, req, f.deliveries)
		fallthrough
	default:
		return fetched{}, left
	}
}

// outlive is a context that ends some time after another one.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	if ctx.Done() == nil { // it never ends
		return ctx, func() {}
	}
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(by)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}

// giveBack releases what was leased to a caller who has left. If it fails, the leases run out.
func (b *streamBus) giveBack(ctx context.Context, req *rpw.FetchRequest, deliveries []rpw.Delivery) {
	late, cancel := outlive(ctx, lateness)
	defer cancel()
	back := rpw.SettleRequest{Stream: req.Stream, Group: req.Group, Settlements: make([]rpw.Settlement, len(deliveries))}
	for i := range deliveries {
		back.Settlements[i] = rpw.Settlement{Receipt: deliveries[i].Receipt, Verdict: rpw.Release}
	}
	_, _ = b.Settle(late, back)
}

// readFetched reads the answer of the script.
func readFetched(m rueidis.RedisMessage, req *rpw.FetchRequest, ahead []rpw.Event) (f fetched, err error) {
	fields, err := m.ToArray()
	if err != nil {
		return f, badReply(err.Error())
	}
	r := reader{fields: fields}
	switch r.text() {
	case "none":
		if due := r.text(); due != "" {
			ms, err := strconv.ParseInt(due, 10, 64)
			if err != nil {
				return f, badReply(due)
			}
			f.due = max(time.Duration(ms)*time.Millisecond, time.Millisecond)
		}
	case "over":
		f.over = true
	case "gap":
		f.gap = &rpw.GapError{Stream: req.Stream, Group: req.Group, Kind: rpw.GapKind(r.text()), Missed: uint64(r.int()),
			After: r.position(), Resume: r.position(), Oldest: r.position()}
		if f.gap.After.Epoch == 0 {
			f.gap.After = rpw.Position{}
		}
	case "lot":
		f.deliveries, err = readLot(&r, ahead)
		f.cursor, f.over = r.text(), len(f.deliveries) == 0 // others have removed all its events
	default:
		r.fail("a strange answer to fetch")
	}
	return f, errors.Join(err, r.err)
}

// readLot reads the deliveries of a fetch. ahead are the events that the script may have leased without handing them out.
func readLot(r *reader, ahead []rpw.Event) ([]rpw.Delivery, error) {
	base, incarnation := uint64(r.int()), uint64(r.int())
	until := time.UnixMilli(r.int())
	epoch, err := strconv.ParseUint(r.text(), 10, 64)
	if err != nil {
		r.fail("a strange epoch")
	}
	last := uint64(r.int())
	events := ahead
	if m := r.next(); m.IsArray() {
		if events, err = readEntries(m, epoch); err != nil {
			return nil, err
		}
	}
	attempts := r.list()
	if r.err != nil {
		return nil, r.err
	}
	deliveries := make([]rpw.Delivery, len(events))
	for i := range events {
		deliveries[i] = rpw.Delivery{
			Event: events[i], Attempt: 1, Until: until,
			Receipt: rpw.Receipt{ID: events[i].ID, Incarnation: incarnation, Token: base<<placeBits | uint64(i)},
		}
	}
	for i := 0; i+1 < len(attempts); i += 2 {
		place, _ := attempts[i].AsInt64()
		n, _ := attempts[i+1].AsInt64()
		if place < 1 || int(place) > len(deliveries) {
			return nil, badReply("a strange lot")
		}
		deliveries[place-1].Attempt = int(n)
	}
	for i := range deliveries { // what others wrote has no count of its own
		d := &deliveries[i]
		if d.Count == 0 && d.Attempt == 1 && last > 0 {
			d.Count = last + 1
		}
		if d.Attempt == 1 {
			last = d.Count
		}
	}
	return slices.DeleteFunc(deliveries, func(d rpw.Delivery) bool { return d.ID.IsZero() }), nil
}
