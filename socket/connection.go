package socket

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// connection is a client's connection on the server, from its upgrade on. It is the conn of its session.
//
// The websocket package ends a connection without a word when a context ends, and waits for ever without one. So it is given
// none: what bounds a connection are deadlines of the TCP connection below.
type connection struct {
	ws     *websocket.Conn
	tcp    *tcp
	ctx    context.Context // ends with the cause for which the server ends the connection
	cancel context.CancelCauseFunc
	peer   *peer
	remote string
	pings  bucket // of the client
	sent   traffic
	inbox  inbox

	reading, writing heeded // contexts

	expiring sync.Mutex
	expiry   *time.Timer // nil: the credential does not end
}

const (
	lastWriteTime = 500 * time.Millisecond // for a message under way when the connection is to end
	lingerTime    = 2 * time.Second        // for the closing handshake
	pingRate      = 10                     // a second, of a client, with a burst of ten times as many
)

// The reasons of the server for ending a connection, beside those of the sessions.
var (
	errRestart  = websocket.CloseError{Code: closeRestart, Reason: "the server stops; come back in a moment"}
	errExpired  = websocket.CloseError{Code: closeExpired, Reason: "the credential has expired"}
	errRevoked  = websocket.CloseError{Code: closeExpired, Reason: "the credential was revoked"}
	errAnew     = websocket.CloseError{Code: closeBusy, Reason: "credentials were revoked meanwhile; come back at once"}
	errSlow     = websocket.CloseError{Code: closeSlow, Reason: "answers are not read fast enough"}
	errTooSlow  = websocket.CloseError{Code: websocket.StatusPolicyViolation, Reason: "a message took too long"}
	errPings    = websocket.CloseError{Code: websocket.StatusPolicyViolation, Reason: "too many pings"}
	errTooBig   = websocket.CloseError{Code: websocket.StatusMessageTooBig, Reason: "the message is too large"}
	errProtocol = websocket.CloseError{Code: websocket.StatusProtocolError, Reason: "no WebSocket frame that is allowed here"}
	errInternal = websocket.CloseError{Code: websocket.StatusInternalError, Reason: "internal error"}
	errGone     = errors.New("the client is gone")
)

// end ends the connection: nothing is read or written from now on, then its session returns, and it is closed with why's code, or dropped.
func (c *connection) end(why error) { c.cancel(why) }

// run runs the session until the connection is over. The error says why it is.
func (c *connection) run(session func(context.Context, conn, *peer) error) error {
	var watching sync.WaitGroup
	watching.Go(c.watch)
	err := session(c.ctx, c, c.peer)
	if c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	c.end(errGone)
	watching.Wait()
	c.reading.forget()
	c.writing.forget()
	return err
}

// expireAt ends the connection some time after t, unless another credential has come by then; zero: never.
func (c *connection) expireAt(t time.Time) {
	c.expiring.Lock()
	defer c.expiring.Unlock()
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if !t.IsZero() {
		end := t.Add(c.peer.limits.RefreshGrace) // added to what is left of a far t it could overflow
		c.expiry = time.AfterFunc(time.Until(end), func() { c.end(errExpired) })
	}
}

// Read returns the next message.
func (c *connection) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	c.reading.heed(ctx, c.unblock)
	typ, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return 0, nil, c.readError(ctx, err)
	}
	c.tcp.SetReadDeadline(time.Now().Add(c.peer.limits.MessageTime))
	if ctx.Err() != nil { // whose deadline may have been overwritten
		return 0, nil, context.Cause(ctx)
	}
	data, err := c.inbox.read(r)
	c.tcp.SetReadDeadline(time.Time{})
	if err != nil || ctx.Err() != nil { // whose deadline may have been taken away just now
		return 0, nil, c.readError(ctx, err)
	}
	return typ, data, nil
}

// readError says why there is no message: a websocket.CloseError, of the client or for it, or errGone.
func (c *connection) readError(ctx context.Context, err error) error {
	switch closed, ok := errors.AsType[websocket.CloseError](err); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ok:
		return closed
	case errors.Is(err, websocket.ErrMessageTooBig):
		return errTooBig
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTooSlow
	case isGone(err):
		return errGone
	}
	return errProtocol
}

func isGone(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// Write sends a message. A client that takes nothing of it for WriteTime is slow.
func (c *connection) Write(ctx context.Context, typ websocket.MessageType, data []byte) error {
	c.writing.heed(ctx, c.unblock)
	err := context.Cause(ctx)
	if err == nil {
		err = writeMessage(c.ws, typ, data)
	}
	switch {
	case err == nil:
		c.sent.add(len(data))
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	default:
		return errGone
	}
}

// unblock lets Read and Write return, because their context has ended: Read at once, Write when it is done with its message, or soon.
func (c *connection) unblock() {
	c.tcp.finish(lastWriteTime)
	c.tcp.SetReadDeadline(time.Now())
}

// heeded is a context that something is to be done about when it ends. Of a session's reader, or its writer, it is always the same one.
type heeded struct {
	ctx  context.Context
	stop func() bool
	done chan struct{}
}

func (h *heeded) heed(ctx context.Context, f func()) {
	if ctx == h.ctx {
		return
	}
	h.forget()
	done := make(chan struct{})
	*h = heeded{ctx, context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	}), done}
}

// forget heeds the context no more. It waits for what is being done.
func (h *heeded) forget() {
	if h.ctx != nil && !h.stop() {
		<-h.done
	}
	*h = heeded{}
}

// Ping waits for a pong.
func (c *connection) Ping(ctx context.Context) error { return c.ws.Ping(ctx) }

// Close sends a close frame and waits for the client's, both within lingerTime.
func (c *connection) Close(code websocket.StatusCode, reason string) error {
	c.tcp.telling.Store(true)
	c.tcp.finish(lingerTime)
	return c.ws.Close(code, closeReason(reason))
}

// CloseNow drops the connection.
func (c *connection) CloseNow() error {
	c.tcp.drop() // so that whoever holds a lock of ws lets it go
	return c.ws.CloseNow()
}

// closeReason makes a reason one that a close frame can hold: with more bytes there would be no frame at all.
func closeReason(s string) string {
	const most = 123
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	end := most
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// watch drops a client that gives no sign of life.
func (c *connection) watch() {
	limits := c.peer.limits
	c.end(cmp.Or(keepAlive(c.ctx, c, limits.PingEvery, limits.PongTime), errGone))
}

// pinged counts a ping or a pong of the client; false keeps the pong back. It is called within Read.
func (c *connection) pinged() bool {
	own := 2 / c.peer.limits.PingEvery.Seconds() // pongs are answers
	if c.pings.take(rateOf(pingRate+own, 10*(pingRate+own)), c.peer.clock.now()) {
		return true
	}
	c.end(errPings)
	return false
}

// tcp is the connection below a WebSocket, which gives up on a client that takes nothing.
type tcp struct {
	net.Conn
	writeTime time.Duration
	finishing atomic.Bool
	telling   atomic.Bool // the client is told why the connection ends
	failed    atomic.Bool // a write stopped in the midst of a frame: the client can be told nothing any more
}

// Write gives up when nothing could be written for writeTime, however much there is to write.
func (c *tcp) Write(p []byte) (n int, err error) {
	const chunk = 64 << 10
	for first := true; first || n < len(p); first = false {
		if !c.finishing.Load() {
			c.SetWriteDeadline(time.Now().Add(c.writeTime))
			if c.finishing.Load() { // finish's deadline may have been overwritten
				c.SetWriteDeadline(time.Now().Add(lastWriteTime))
			}
		}
		m, err := c.Conn.Write(p[n:min(len(p), n+chunk)])
		if n += m; err != nil {
			c.failed.Store(true)
			return n, err
		}
	}
	return n, nil
}

// Close waits until a client that is told why has heard it and closes, within the time that finish gives: what it sends meanwhile, if nobody takes it, would
// make the kernel reset the connection, and what is on its way to the client could be lost with it.
func (c *tcp) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.telling.Load() && !c.failed.Load() && half.CloseWrite() == nil {
		io.Copy(io.Discard, c.Conn)
	}
	return c.Conn.Close()
}

// drop closes at once.
func (c *tcp) drop() error { return c.Conn.Close() }

// finish bounds all that is still to come.
func (c *tcp) finish(d time.Duration) {
	c.finishing.Store(true)
	c.SetDeadline(time.Now().Add(d))
}

// upgrade is a ResponseWriter that keeps the connection which a WebSocket takes over.
type upgrade struct {
	http.ResponseWriter
	writeTime time.Duration
	tcp       *tcp
}

// Hijack takes the connection over.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := rw.Flush(); err != nil {
		nc.Close()
		return nil, nil, err
	}
	nc.SetDeadline(time.Time{}) // the http.Server's were for the request
	u.tcp = &tcp{Conn: nc, writeTime: u.writeTime}
	rw.Writer.Reset(u.tcp)
	return u.tcp, rw, nil
}
