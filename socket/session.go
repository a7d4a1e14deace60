package socket

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// maxAnswer bounds an answer, in bytes on the wire: that of a page with many large items is ErrTooLarge, and says to ask for fewer.
const maxAnswer = 64 << 20

// defaultQueue is how many bytes of answers wait to be sent, where no limit says it.
const defaultQueue = 1 << 20

// undoTime bounds how long a session takes to hand back what its client left behind.
const undoTime = 3 * time.Second

// session serves a connection that speaks the native protocol.
type session struct {
	ctx  context.Context // of the connection
	work context.Context // of what its requests ask for: ends with ctx, because of errCutOff
	conn conn
	peer *peer
	out  *writer

	asked, answers room // bytes of requests in flight, and of answers to them that are not sent

	tasks    sync.WaitGroup
	requests chan func()  // for a goroutine that is idle
	idle     atomic.Int32 // how many are
	mu       sync.Mutex
	inFlight map[uint64]inFlight // by id
}

// errCutOff tells the Hub that a caller may be back, and make the same call again: what that leases is his.
var errCutOff = rpw.Errorf(rpw.ErrUnavailable, "the client is not connected any more")

// inFlight is a request that was not replied to.
type inFlight struct {
	cancel context.CancelFunc
	done   func() // gives its place back
	bytes  int    // taken of the room for requests
}

// serveNative serves c until it ends or ctx does. The error says why; a websocket.CloseError asks to close with its code.
func serveNative(ctx context.Context, c conn, p *peer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	work, cutOff := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { cutOff(errCutOff) })
	s := &session{
		ctx: ctx, work: work, conn: c, peer: p,
		out:   newWriter(ctx, c, maxAnswer, cmp.Or(p.limits.Queue, defaultQueue), 0), // c knows a slow client
		asked: room{limit: p.limits.Bytes}, answers: room{limit: p.limits.Bytes},
		requests: make(chan func()),
		inFlight: make(map[uint64]inFlight),
	}
	s.greet()
	end := func(err error) {
		cancel(cmp.Or(err, errors.New("the connection ended")))
	}
	s.tasks.Go(func() { end(s.out.run()) })
	s.tasks.Go(s.farewell)
	end(s.read())
	s.tasks.Wait()
	return context.Cause(ctx)
}

func (s *session) greet() {
	l := s.peer.limits
	h := hello{Requests: l.Requests, Waits: l.Waits, Message: l.Message, Lifetime: s.lifetime()}
	s.out.send(packetHello, 0, func(b []byte) []byte { return helloPlan.append(b, &h) })
}

// lifetime is what is left of the client's credential. Clocks differ, so it is no time.
func (s *session) lifetime() time.Duration {
	if at := s.peer.expires(); !at.IsZero() {
		return max(time.Until(at), time.Millisecond)
	}
	return 0
}

// farewell tells the client to leave, when it should.
func (s *session) farewell() {
	select {
	case <-s.peer.leave():
		l := leave{After: s.peer.limits.DrainTime}
		s.out.send(packetLeave, 0, func(b []byte) []byte { return leavePlan.append(b, &l) })
	case <-s.ctx.Done():
	}
}

// read takes messages until the connection ends.
func (s *session) read() error {
	for {
		typ, message, err := s.conn.Read(s.ctx)
		switch {
		case err != nil:
			return err
		case typ != websocket.MessageBinary:
			return websocket.CloseError{Code: websocket.StatusUnsupportedData, Reason: Subprotocol + " has binary messages only"}
		}
		if err := s.peer.message(s.ctx, len(message)); err != nil {
			return err
		}
		if err := s.handle(message); err != nil {
			return err
		}
	}
}

// handle takes the packets of a message. What follows a broken one is lost.
func (s *session) handle(message []byte) error {
	if len(message) == 0 {
		return s.refuse(0, rpw.Errorf(rpw.ErrInvalid, "the message is empty"))
	}
	large := len(message) > 2*coalesce
	for whole := len(message); len(message) > 0; {
		f, rest, err := nextPacket(message)
		if err != nil {
			return s.refuse(0, err)
		}
		if large && len(f.body) < whole/2 {
			f.body = bytes.Clone(f.body) // it shall not keep the message, which counts for the one that is as large
		}
		if err := s.handlePacket(f); err != nil {
			return err
		}
		message = rest
	}
	return nil
}

func (s *session) handlePacket(f packet) error {
	switch f.kind {
	case packetRequest:
		d := decoder{b: f.body}
		op := lookup(d.uvarint())
		if op == nil {
			return s.refuse(f.id, rpw.Errorf(errors.ErrUnsupported, "the server does not know this operation; it is older than the client"))
		}
		return op.serve(s, f.id, d.b)
	case packetCancel:
		s.cancel(f.id)
		return nil
	case packetRefresh:
		var r refresh
		if err := refreshPlan.parse(f.body, &r); err != nil {
			return s.refuse(f.id, err)
		}
		return s.start(f.id, len(f.body), false, func(ctx context.Context) { s.refresh(ctx, f.id, r.Token) })
	}
	return s.refuse(f.id, rpw.Errorf(rpw.ErrInvalid, "a packet of kind %d has no place here", f.kind))
}

// refuse answers what is no request, and counts it.
func (s *session) refuse(id uint64, err error) error {
	s.fail(id, err)
	return s.peer.bad()
}

// fail answers a request that did not start.
func (s *session) fail(id uint64, err error) {
	f := failureOf(err)
	s.out.send(packetFailure, id, func(b []byte) []byte { return failurePlan.append(b, &f) })
}

// start runs a request of some bytes in a goroutine for it alone, if there is a place for it, and as soon as there is room. run replies once.
func (s *session) start(id uint64, bytes int, waits bool, run func(ctx context.Context)) error {
	s.mu.Lock()
	_, taken := s.inFlight[id]
	s.mu.Unlock()
	if taken || id == 0 {
		return s.refuse(id, rpw.Errorf(rpw.ErrInvalid, "the id of the request is 0 or that of another one in flight"))
	}
	done, err := s.peer.begin(waits)
	if err != nil {
		s.fail(id, err)
		return nil
	}
	if bytes = s.asked.of(bytes); waits {
		bytes = 0 // it could wait for ever
	}
	if err := s.asked.take(s.ctx, bytes); err != nil {
		done()
		return err
	}
	ctx, cancel := context.WithCancel(s.work)
	s.mu.Lock()
	s.inFlight[id] = inFlight{cancel, done, bytes}
	s.mu.Unlock()
	request := func() {
		run(ctx)
		if s.ctx.Err() != nil { // it may not have been replied to; otherwise its id may be another's by now
			s.finish(id)
		}
	}
	select {
	case s.requests <- request:
	default:
		s.tasks.Go(func() { s.serve(request) })
	}
	return nil
}

// maxIdle is how many goroutines of a session wait for the next request.
const maxIdle = 4

// serve runs a request, and then those that come while it is idle: on a stack that has grown already, as requests need it.
func (s *session) serve(request func()) {
	for {
		request()
		if s.idle.Add(1) > maxIdle {
			s.idle.Add(-1)
			return
		}
		select {
		case request = <-s.requests:
			s.idle.Add(-1)
		case <-s.ctx.Done():
			return
		}
	}
}

// reply answers a request. Its place is free from the moment on that the answer may leave: the client may use it at once.
func (s *session) reply(kind packetKind, id uint64, body func([]byte) []byte) (message uint64, err error) {
	return s.out.send(kind, id, func(b []byte) []byte {
		s.finish(id)
		return body(b)
	})
}

// replyError answers a request that came to nothing.
func (s *session) replyError(id uint64, err error) {
	f := failureOf(err)
	s.reply(packetFailure, id, func(b []byte) []byte { return failurePlan.append(b, &f) })
}

// finish forgets a request.
func (s *session) finish(id uint64) {
	s.mu.Lock()
	r, ok := s.inFlight[id]
	delete(s.inFlight, id)
	s.mu.Unlock()
	if ok {
		r.cancel()
		s.asked.leave(r.bytes)
		r.done()
	}
}

func (s *session) cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.inFlight[id]; ok {
		r.cancel()
	}
}

func (s *session) refresh(ctx context.Context, id uint64, token string) {
	if err := s.peer.refresh(ctx, token); err != nil {
		s.replyError(id, err)
		return
	}
	r := refreshed{Lifetime: s.lifetime()}
	s.reply(packetReply, id, func(b []byte) []byte { return refreshedPlan.append(b, &r) })
}

// parts are what an answer is handed back to.
func (s *session) parts() rpw.Parts {
	return rpw.Parts{Streams: s.peer.hub.Streams(), Actions: s.peer.hub.Actions()}
}

// allow checks the names of accesses, then whether the client may use them: nothing is told about a name that is none.
func (s *session) allow(ctx context.Context, accesses []Access) error {
	for _, a := range accesses {
		if err := checkName(a); err != nil {
			return err
		}
	}
	return s.peer.allow(ctx, accesses...)
}

// checkName is the Hub's check, made before the client's rights are. A listing has no name.
func checkName(a Access) error {
	if a.Name == "" && a.Right == Read {
		return nil
	}
	if a.Kind == KindStream || a.Kind == KindLog {
		if stream, group, dead := rpw.ParseDeadLetter(a.Name); dead {
			return cmp.Or(rpw.CheckName("stream", stream), rpw.CheckName("group", group))
		}
	}
	return rpw.CheckName(string(a.Kind), a.Name)
}
