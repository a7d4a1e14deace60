package socket

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// Pipe connects to a Hub through both ends of the protocol, in one process and without a port: for tests of what a remote Hub does, also
// in the virtual time of testing/synctest. It may do everything that the Hub may, and leaves it open when it is closed.
func Pipe(hub *rpw.Hub) (rpw.Parts, error) {
	serving, stop := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	l, err := newRemote(context.Background(), remoteConfig{
		dial: func(context.Context) (conn, error) {
			near, far := newPipe()
			sessions.Go(func() {
				defer far.CloseNow()
				serveNative(serving, far, &peer{hub: hub})
			})
			return near, nil
		},
		notify: func(rpw.Notice) {},
	})
	if err != nil { // the Hub is closed, at the most
		stop()
		return rpw.Parts{}, err
	}
	parts := l.parts()
	parts.Close = func(ctx context.Context) error {
		err := l.close(ctx)
		stop()
		sessions.Wait()
		return err
	}
	return parts, nil
}

// pipeEnd is one end of a connection within the process.
type pipeEnd struct {
	in   <-chan []byte
	out  chan<- []byte
	mine *pipeEnding // how this end closes
	peer *pipeEnding // how the other does
}

// pipeEnding is closed once, with a reason.
type pipeEnding struct {
	once   sync.Once
	closed chan struct{}
	err    error
}

func (e *pipeEnding) close(err error) {
	e.once.Do(func() {
		e.err = err
		close(e.closed)
	})
}

// newPipe makes a connection within the process, which holds as much as the buffers of a socket might.
func newPipe() (a, b *pipeEnd) {
	ab, ba := make(chan []byte, 16), make(chan []byte, 16)
	ea, eb := &pipeEnding{closed: make(chan struct{})}, &pipeEnding{closed: make(chan struct{})}
	return &pipeEnd{ba, ab, ea, eb}, &pipeEnd{ab, ba, eb, ea}
}

func (p *pipeEnd) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	select {
	case b := <-p.in:
		return websocket.MessageBinary, b, nil
	case <-p.mine.closed:
		return 0, nil, net.ErrClosed
	case <-p.peer.closed:
	case <-ctx.Done():
		p.CloseNow()
		return 0, nil, ctx.Err()
	}
	select {
	case b := <-p.in: // sent before the end
		return websocket.MessageBinary, b, nil
	default:
		p.CloseNow()
		return 0, nil, p.peer.err
	}
}

func (p *pipeEnd) Write(ctx context.Context, _ websocket.MessageType, data []byte) error {
	own := append([]byte(nil), data...)
	select {
	case <-p.mine.closed:
		return net.ErrClosed
	case <-p.peer.closed:
		return io.ErrClosedPipe
	default:
	}
	select {
	case p.out <- own:
		return nil
	case <-p.mine.closed:
		return net.ErrClosed
	case <-p.peer.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		p.CloseNow()
		return ctx.Err()
	}
}

func (p *pipeEnd) Ping(ctx context.Context) error {
	select {
	case <-p.mine.closed:
		return net.ErrClosed
	case <-p.peer.closed:
		return io.ErrClosedPipe
	default:
		return ctx.Err()
	}
}

func (p *pipeEnd) Close(code websocket.StatusCode, reason string) error {
	p.mine.close(websocket.CloseError{Code: code, Reason: reason})
	return nil
}

func (p *pipeEnd) CloseNow() error {
	p.mine.close(io.EOF)
	return nil
}
