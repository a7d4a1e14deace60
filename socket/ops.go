package socket

import (
	"context"
	"reflect"
	"time"

	"github.com/redis-process-worker/rpw"
)

// operation is a verb, whatever its types.
type operation interface {
	info() *opInfo
	// serve runs a request. An error closes the connection.
	serve(s *session, id uint64, body []byte) error
}

// opInfo is what is known of a verb without its types.
type opInfo struct {
	number uint64 // on the wire; never used again for another verb
	method string // of the contracts: "Streams.Publish"
	name   string // as in Access and rpw.Operation
	reads  bool   // it changes nothing: a repeat does no harm

	requestType, answerType reflect.Type
	request, answer         *plan
}

func (o *opInfo) info() *opInfo { return o }

// verb is an operation: a method of the contracts, or Health. It is all that the two ends know about it.
type verb[Q, A any] struct {
	opInfo
	// call does it.
	call func(h *rpw.Hub, ctx context.Context, q Q) (A, error)
	// access lists the names in a request with what the client must be allowed; nil: anyone may.
	access func(q *Q, n *needs)
	// wait finds how long a request waits; nil: it never does.
	wait func(q *Q) *time.Duration
	// bind makes producers and lanes those of the client; nil: it has none.
	bind func(q *Q, bind func(id *[16]byte))
	// fits reports whether an answer has an item for each of the request; nil: it has none by item.
	fits func(q *Q, a *A) bool
	// filter takes out of an answer what the client may not see; nil: there is nothing to hide.
	filter func(l lister[Q, A], q Q, a *A) error
	// holds is the most that an answer may hold, in bytes, and size what it does; nil: answers are small.
	holds func(q *Q) int
	size  func(a *A) int
	// undo hands back what an answer gave to a client that is not there to take it; nil: it gave nothing.
	undo func(p rpw.Parts, ctx context.Context, q *Q, a A)
}

// define completes a verb.
func define[Q, A any](number uint64, method, name string, v verb[Q, A]) *verb[Q, A] {
	v.number, v.method, v.name = number, method, name
	v.requestType, v.answerType = reflect.TypeFor[Q](), reflect.TypeFor[A]()
	v.request, v.answer = planOf(v.requestType), planOf(v.answerType)
	return &v
}

// needs collects what a request needs, of which there may be maxNeeds: a Hub takes a call of MaxBatch items, but a message has room for a million.
type needs struct {
	verb string
	list []Access
}

const maxNeeds = 16 * rpw.MaxBatch

func (n *needs) add(right Right, kind Kind, name string) {
	n.addAs(n.verb, right, kind, name)
}

func (n *needs) addAs(verb string, right Right, kind Kind, name string) {
	if len(n.list) <= maxNeeds {
		n.list = append(n.list, Access{Verb: verb, Right: right, Kind: kind, Name: name})
	}
}

// verbTrim takes away what others wrote.
const verbTrim = "trim"

// trims adds what the retention needs that comes with something to write: it does what a trim does.
func (n *needs) trims(keep rpw.Retention, kind Kind, name string) {
	if keep != (rpw.Retention{}) {
		n.addAs(verbTrim, Admin, kind, name)
	}
}

// lister is what a filter may ask.
type lister[Q, A any] struct {
	see   func(Kind, string) bool
	again func(Q) (A, error) // calls with another request
	hub   *rpw.Hub
	ctx   context.Context
}

// waits finds how long a request waits; nil: it does not.
func (v *verb[Q, A]) waits(q *Q) *time.Duration {
	if v.wait != nil {
		if d := v.wait(q); *d > 0 {
			return d
		}
	}
	return nil
}

// serve implements operation.
func (v *verb[Q, A]) serve(s *session, id uint64, body []byte) error {
	q := new(Q)
	if err := v.request.parse(body, q); err != nil {
		return s.refuse(id, err)
	}
	return s.start(id, len(body), v.waits(q) != nil, func(ctx context.Context) { v.run(s, ctx, id, q) })
}

// run does a request and replies.
func (v *verb[Q, A]) run(s *session, ctx context.Context, id uint64, q *Q) {
	a, held, err := v.do(s, ctx, q)
	defer func() { s.answers.leave(held) }()
	if err != nil {
		s.replyError(id, err)
		return
	}
	var message uint64
	if err = ctx.Err(); err == nil && v.waits(q) != nil { // the client is there, but its rights may have changed meanwhile
		err = v.allowed(s, ctx, q)
	}
	if err == nil {
		message, err = s.reply(packetReply, id, func(b []byte) []byte { return v.answer.append(b, &a) })
	}
	if err != nil { // or it asked for too much
		s.replyError(id, err)
	} else if v.undo != nil {
		err = s.out.written(message)
	}
	if err != nil && v.undo != nil {
		v.handBack(s.ctx, s.parts(), q, a)
	}
}

// handBack undoes what nobody has taken.
func (v *verb[Q, A]) handBack(ctx context.Context, p rpw.Parts, q *Q, a A) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	v.undo(p, ctx, q, a)
}

// allowed checks the client's rights to all that a request names.
func (v *verb[Q, A]) allowed(s *session, ctx context.Context, q *Q) error {
	if v.access == nil {
		return nil
	}
	n := needs{verb: v.name}
	v.access(q, &n)
	if len(n.list) > maxNeeds {
		return rpw.Errorf(rpw.ErrTooLarge, "the request has more than %d names; split it", maxNeeds)
	}
	return s.allow(ctx, n.list)
}

// do takes a request through the client's rights to the Hub. The answer holds bytes of the room for answers, until it is sent.
func (v *verb[Q, A]) do(s *session, ctx context.Context, q *Q) (a A, held int, err error) {
	if v.bind != nil {
		v.bind(q, func(id *[16]byte) {
			if *id != ([16]byte{}) {
				*id = s.peer.bind(*id)
			}
		})
	}
	if v.size == nil {
		a, err = v.ask(s, ctx, q)
		return a, 0, err
	}
	return v.doWithin(s, ctx, q)
}

// doWithin keeps within the room for answers: a call begins when there is room for the largest answer that it can have, one that waits at once. An answer for which
// there is no room is let go, and asked for again when there is.
func (v *verb[Q, A]) doWithin(s *session, ctx context.Context, q *Q) (a A, held int, err error) {
	owed := false // an answer that was let go gave something
	defer func() {
		if owed && ctx.Err() != nil {
			v.recall(s, q)
		}
	}()
	most := s.answers.of(v.holds(q))
	for reserve := v.waits(q) == nil; ; reserve = true {
		if reserve {
			if err = s.answers.take(ctx, most); err != nil {
				return a, 0, err
			}
			held = most
		}
		if a, err = v.ask(s, ctx, q); err != nil {
			return a, held, err
		}
		size := s.answers.of(v.size(&a))
		if s.answers.change(held, size) {
			owed = false
			return a, size, nil
		}
		s.answers.leave(held)
		held, most = 0, max(most, size)
		if v.undo != nil {
			if owed = v.remembered(q); !owed {
				v.handBack(s.ctx, s.parts(), q, a)
			}
		}
		var none A
		a = none // until there is room for it
	}
}

// remembered reports whether the store answers a request the same when it is asked again.
func (v *verb[Q, A]) remembered(q *Q) (by bool) {
	v.bind(q, func(id *[16]byte) { by = *id != [16]byte{} })
	return by
}

// recall hands back what the store remembers to have given for a request whose client takes it no more.
func (v *verb[Q, A]) recall(s *session, q *Q) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), undoTime)
	defer cancel()
	*v.wait(q) = 0
	if a, err := v.call(s.peer.hub, ctx, *q); err == nil {
		v.handBack(ctx, s.parts(), q, a)
	}
}

// ask calls the Hub, if the client may.
func (v *verb[Q, A]) ask(s *session, ctx context.Context, q *Q) (a A, err error) {
	if err := v.allowed(s, ctx, q); err != nil {
		return a, err
	}
	if a, err = v.call(s.peer.hub, ctx, *q); err != nil || v.filter == nil {
		return a, err
	}
	return a, v.filter(lister[Q, A]{
		see: func(kind Kind, name string) bool {
			return s.peer.visible(ctx, Access{Verb: v.name, Right: Read, Kind: kind, Name: name})
		},
		again: func(q Q) (A, error) { return v.call(s.peer.hub, ctx, q) },
		hub:   s.peer.hub,
		ctx:   ctx,
	}, *q, &a)
}

// itemByItem is the fits of requests that are their items.
func itemByItem[Q, A any](q *[]Q, a *[]A) bool { return len(*q) == len(*a) }

// Methods of the contracts as calls to a Hub.

func streams[Q, A any](method func(rpw.StreamBus, context.Context, Q) (A, error)) func(*rpw.Hub, context.Context, Q) (A, error) {
	return func(h *rpw.Hub, ctx context.Context, q Q) (A, error) { return method(h.Streams(), ctx, q) }
}

func cache[Q, A any](method func(rpw.Cache, context.Context, Q) (A, error)) func(*rpw.Hub, context.Context, Q) (A, error) {
	return func(h *rpw.Hub, ctx context.Context, q Q) (A, error) { return method(h.Cache(), ctx, q) }
}

func logs[Q, A any](method func(rpw.LogSink, context.Context, Q) (A, error)) func(*rpw.Hub, context.Context, Q) (A, error) {
	return func(h *rpw.Hub, ctx context.Context, q Q) (A, error) { return method(h.Logs(), ctx, q) }
}

func actions[Q, A any](method func(rpw.ActionStore, context.Context, Q) (A, error)) func(*rpw.Hub, context.Context, Q) (A, error) {
	return func(h *rpw.Hub, ctx context.Context, q Q) (A, error) { return method(h.Actions(), ctx, q) }
}

// operations are all of them, by number. A new one takes the next number; a number is never given again.
var operations = []operation{
	opPublish, opLocate, opRead, opStreams, opStreamInfo, opTrim, opDeleteEvents, opDeleteStream,
	opEnsureGroup, opFetch, opSettle, opGroups, opPending, opAdminister,
	opGet, opSet, opDelete, opIncrement, opScan,
	opWriteLog, opQueryLog,
	opEnqueue, opClaim, opAdvance, opControl, opGetAction, opListActions, opCountActions, opQueues, opChanges, opHeartbeat, opWorkers,
	opHealth,
}

// lookup finds an operation by its number; nil: there is none.
func lookup(number uint64) operation {
	if number == 0 || number > uint64(len(operations)) {
		return nil
	}
	return operations[number-1]
}

// opHealth asks the server's backend for a sign of life.
var opHealth = define(33, "Health", "health", verb[struct{}, struct{}]{
	opInfo: opInfo{reads: true},
	call: func(h *rpw.Hub, ctx context.Context, _ struct{}) (struct{}, error) {
		return struct{}{}, h.Health(ctx)
	},
})
