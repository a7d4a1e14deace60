package socket

import (
	"context"
	"maps"
	"sync"

	"github.com/redis-process-worker/rpw"
)

// originalListen is a stream that a client listens to.
type originalListen struct {
	stream string
	head   []byte // what each of its frames begins with
	events *rpw.Subscription[anyJSON]
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing of it follows

	mu     sync.Mutex
	failed bool // the client is told, or about to be, that it has ended by itself
}

// anyJSON lets a subscription check payloads, and no more: they are passed on as they are.
type anyJSON struct{}

func (*anyJSON) UnmarshalJSON([]byte) error { return nil }

// originalListenMeta bounds requestId and requestMeta of a listen, together and in bytes: they stay in memory and go with every event.
const originalListenMeta = 4 << 10

// listen begins to send what is published to a stream from now on: its start is pinned before the acknowledgement leaves. Listening
// again to the same stream is acknowledged, and changes nothing.
func (s *originalSession) listen(ctx context.Context, run []*originalRequest) {
	r := run[0]
	ack := r.ok("subscribed", appendText(nil, r.name))
	if l := s.listens[r.name]; l != nil && !l.over() {
		s.send(ack)
		return
	}
	l, done, err := s.subscribe(ctx, r)
	if err != nil {
		s.fail(r, err)
		return
	}
	if len(s.listens) >= s.peer.limits.Waits {
		maps.DeleteFunc(s.listens, func(_ string, l *originalListen) bool { return l.over() })
	}
	s.listens[r.name] = l
	s.send(ack)
	following, cancel := context.WithCancel(s.listening)
	l.cancel = cancel
	s.listeners.Go(func() {
		defer close(l.done)
		defer done()
		defer cancel()
		s.follow(following, l)
	})
}

// subscribe makes a listen, and takes a place among the waits of the connection.
func (s *originalSession) subscribe(ctx context.Context, r *originalRequest) (l *originalListen, done func(), err error) {
	if n := len(r.message[fieldRequestID]) + len(r.message[fieldRequestMeta]); n > originalListenMeta {
		return nil, nil, rpw.Errorf(rpw.ErrTooLarge, "requestId and requestMeta have %d bytes; with listen, where they come back with every event, the most is %d", n, originalListenMeta)
	}
	if done, err = s.peer.begin(true); err != nil {
		return nil, nil, err
	}
	l = &originalListen{stream: r.name, head: r.head(0), done: make(chan struct{})}
	// The original goes on with what is there when a stream was trimmed before a reader came to it, so its clients expect nothing else.
	l.events, err = rpw.StreamOf[anyJSON](r.name).Subscribe(ctx, s.peer.hub, rpw.Newest(), rpw.OnGap(rpw.GapContinue))
	if err != nil {
		done()
		return nil, nil, err
	}
	return l, done, nil
}

// over reports whether a listen has ended by itself. If so, that is told before what the caller says.
func (l *originalListen) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// failListen tells that a listen has ended by itself.
func (s *originalSession) failListen(l *originalListen, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = true
	s.send(l.ended(err))
}

// follow sends the events of a listen until it ends.
func (s *originalSession) follow(ctx context.Context, l *originalListen) {
	for m, err := range l.events.All(ctx) {
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && m.ID.IsZero():
			s.failListen(l, err)
			return
		case m.Type == "": // nothing that the original would send
		case !s.send(l.frame(m.Event, err == nil || len(m.Event.Data) == 0)):
			return
		}
	}
}

// frame is what is sent for an event.
func (l *originalListen) frame(e rpw.Event, readable bool) []byte {
	b := make([]byte, 0, len(l.head)+len(l.stream)+len(e.Type)+len(e.Data)+128)
	b = append(append(b, l.head...), `,"type":"response","stream":`...)
	b = append(appendText(b, l.stream), `,"eventType":`...)
	b = append(appendText(b, e.Type), `,"data":`...)
	b = append(appendPayload(b, e.Data, readable), `,"id":"`...)
	return append(append(b, e.ID.String()...), `"}`...)
}

// ended tells that a listen has ended by itself, for what time does not mend. Its type is none that the original's client hands to listeners.
func (l *originalListen) ended(err error) []byte {
	b := append(append([]byte(nil), l.head...), `,"type":"error","stream":`...)
	b = append(appendText(b, l.stream), `,"error":`...)
	return append(appendText(b, originalText(err)), '}')
}

// unlisten ends a listen. When it is acknowledged no event follows. The acknowledgement has no type: the original's client sends unlisten without
// a requestId, and of what has none it looks only at frames of type event or response with a stream, which would go to a listener.
func (s *originalSession) unlisten(_ context.Context, run []*originalRequest) {
	r := run[0]
	if l := s.listens[r.name]; l != nil {
		l.cancel()
		<-l.done
		delete(s.listens, r.name)
	}
	s.send(r.ok("unsubscribed", appendText(nil, r.name)))
}
