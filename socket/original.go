package socket

import (
	"context"
	"errors"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// originalGrace is how long requests that were read are still carried out after their client has gone: a page publishes, and is closed.
const originalGrace = 5 * time.Second

// originalSession serves one client of the original redis-process-worker: text frames with a JSON object each.
//
// One goroutine reads, one carries out the requests in the order in which they came, several of a kind in one call, one
// writes, and there is one for each stream that is listened to. Order is what the original's clients have, since theirs all went down one
// connection to Redis: who sets a key and gets it, without waiting in between, gets what he has set.
type originalSession struct {
	conn conn
	peer *peer

	requests *boundedQueue[originalRequest]
	frames   *boundedQueue[[]byte]

	listening context.Context // ends the listens
	listens   map[string]*originalListen
	listeners sync.WaitGroup
	writeErr  error // of the writer, once it has ended
}

// serveOriginal serves the original's protocol until the connection is over. There is nothing in it to tell a client to leave: when the server
// stops, clients are closed, and the original's comes back by itself after a second.
func serveOriginal(ctx context.Context, c conn, p *peer) error {
	s := &originalSession{
		conn:     c,
		peer:     p,
		requests: newBoundedQueue[originalRequest](p.limits.Queue),
		frames:   newBoundedQueue[[]byte](p.limits.Queue),
		listens:  make(map[string]*originalListen),
	}
	listening, stopListening := context.WithCancel(ctx)
	defer stopListening()
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	s.listening = listening

	var worker, writer sync.WaitGroup
	worker.Go(func() { s.work(working) })
	writer.Go(func() { s.writeErr = s.write(ctx) })
	err := s.read(ctx)

	stopListening()
	s.requests.close()
	grace := time.AfterFunc(originalGrace, stopWorking)
	defer grace.Stop()
	worker.Wait()
	s.listeners.Wait()
	s.frames.close()
	writer.Wait()
	if closing, ok := errors.AsType[websocket.CloseError](s.writeErr); ok {
		return closing
	}
	return err
}

// read reads messages until the connection is over.
func (s *originalSession) read(ctx context.Context) error {
	share := max(1, s.peer.limits.Queue/max(1, s.peer.limits.Requests)) // of the queue, so that no more requests than allowed wait, however small
	for {
		typ, data, err := s.conn.Read(ctx)
		if err != nil {
			return err
		}
		if err := s.peer.message(ctx, len(data)); err != nil {
			return err
		}
		r, err := parseOriginal(typ, data)
		if err == nil {
			s.requests.put(r, max(len(data), share))
			continue
		}
		if _, closing := errors.AsType[websocket.CloseError](err); closing {
			return err
		}
		s.fail(&r, err)
		if r.verb == nil {
			if err := s.peer.bad(); err != nil {
				return err
			}
		}
	}
}

// parseOriginal makes a request of a message. The request of an error has what the answer repeats, and its verb if that is known.
func parseOriginal(typ websocket.MessageType, data []byte) (r originalRequest, err error) {
	if typ != websocket.MessageText {
		return r, errOriginalFormat
	}
	if !utf8.Valid(data) {
		return r, websocket.CloseError{Code: websocket.StatusInvalidFramePayloadData, Reason: "text must be valid UTF-8"}
	}
	if r.message, err = decodeOriginal(data); err != nil {
		return r, err
	}
	return r, r.parse()
}

// work carries out requests, until there are no more.
func (s *originalSession) work(ctx context.Context) {
	var all []originalRequest
	for all = s.requests.take(all); len(all) > 0; all = s.requests.take(all) {
		for rest := all; len(rest) > 0; {
			n := 1
			for n < min(len(rest), rest[0].verb.most) && rest[n].verb == rest[0].verb {
				n++
			}
			s.do(ctx, rest[:n])
			rest = rest[n:]
		}
	}
}

// do carries out requests of one verb.
func (s *originalSession) do(ctx context.Context, run []originalRequest) {
	allowed := make([]*originalRequest, 0, len(run))
	for i := range run {
		r := &run[i]
		if err := s.check(ctx, r); err != nil {
			s.fail(r, err)
			continue
		}
		allowed = append(allowed, r)
	}
	if len(allowed) > 0 {
		run[0].verb.do(s, ctx, allowed)
	}
}

// check looks at the name of a request, and whether the client may. Of a pattern it asks whether the client may at all.
func (s *originalSession) check(ctx context.Context, r *originalRequest) error {
	access := r.verb.access
	if !r.verb.pattern {
		if err := rpw.CheckName(originalFieldNames[r.verb.subject], r.name); err != nil {
			return err
		}
		access.Name = r.name
	}
	if access.Verb == "" {
		return nil
	}
	return s.peer.allow(ctx, access)
}

// send hands a frame to the writer. false: it takes no more.
func (s *originalSession) send(frame []byte) bool { return s.frames.put(frame, len(frame)) }

// fail answers a request with an error.
func (s *originalSession) fail(r *originalRequest, err error) { s.send(r.failure(err)) }

// write sends frames until there are no more. A client that does not take them in time is cut off, alone.
func (s *originalSession) write(ctx context.Context) error {
	var frames [][]byte
	for frames = s.frames.take(frames); len(frames) > 0; frames = s.frames.take(frames) {
		for _, frame := range frames {
			if err := s.conn.Write(ctx, websocket.MessageText, frame); err != nil {
				s.frames.drop()
				_ = s.conn.CloseNow() // ends the reading
				return err
			}
		}
	}
	return nil
}
