package socket

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// How a client looks after a connection.
const (
	clientQueue     = 1 << 20          // bytes that wait to be sent
	clientWriteTime = 10 * time.Second // for the server to take a message
	clientPingEvery = 25 * time.Second
	clientPongTime  = 10 * time.Second
	clientCloseTime = 250 * time.Millisecond // for the server to take leave
	lateness        = 20 * time.Millisecond  // how long a caller who leaves waits for the server to see it
	maxPlaces       = 1 << 16
)

// errLost: the connection ended before the reply came.
var errLost = errors.New("the connection was lost")

// client is one connection to a server, until it ends.
type client struct {
	ctx    context.Context // ends with the connection
	cancel context.CancelCauseFunc
	conn   conn
	out    *writer
	hello  hello
	places [2]chan struct{} // for requests and for waits, as many as the server allows
	leave  chan leave       // the server asks to go
	tasks  sync.WaitGroup

	mu      sync.Mutex
	last    uint64 // id
	calls   map[uint64]*exchange
	handing int           // answers that are handed back, since their callers have left
	settled chan struct{} // closed when there is no call and none is handed back; nil: nobody waits for it
}

// exchange is a request on its way.
type exchange struct {
	places chan struct{}
	reply  chan packet                    // holds one
	late   func(body []byte, done func()) // set when the caller has left: takes the answer, and says when it was handed back
}

// newClient waits for the server's hello, within ctx. On an error the connection is dropped.
func newClient(ctx context.Context, conn conn) (*client, error) {
	c := &client{conn: conn, calls: make(map[uint64]*exchange), leave: make(chan leave, 1)}
	rest, err := c.welcome(ctx)
	if err != nil {
		conn.CloseNow()
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	for i, n := range [...]int{c.hello.Requests, c.hello.Waits} {
		c.places[i] = make(chan struct{}, atMost(n, maxPlaces))
	}
	c.out = newWriter(c.ctx, conn, atMost(c.hello.Message, maxAnswer), clientQueue, clientWriteTime)
	c.tasks.Go(func() { c.end(c.out.run()) })
	c.tasks.Go(func() { c.end(keepAlive(c.ctx, conn, clientPingEvery, clientPongTime)) })
	c.tasks.Go(func() { c.end(c.read(rest)) })
	return c, nil
}

// atMost is a limit that the server tells, 0 being none, or most.
func atMost(limit, most int) int {
	if limit < 1 {
		return most
	}
	return min(limit, most)
}

// welcome reads the hello, which is the first packet of the first message.
func (c *client) welcome(ctx context.Context) (rest []byte, err error) {
	defer context.AfterFunc(ctx, func() { c.conn.CloseNow() })()
	_, message, err := c.conn.Read(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, rpw.Errorf(rpw.ErrUnavailable, "the server did not greet in time: %w", ctx.Err())
	case err != nil:
		return nil, rpw.Errorf(rpw.ErrUnavailable, "the connection ended before the server's greeting: %w", err)
	}
	f, rest, err := nextPacket(message)
	if err == nil && f.kind == packetHello {
		err = helloPlan.parse(f.body, &c.hello)
	}
	if err != nil || f.kind != packetHello {
		return nil, rpw.Errorf(rpw.ErrUnavailable, "the server does not greet as one of rpw does")
	}
	return rest, nil
}

// end drops the connection.
func (c *client) end(err error) {
	c.cancel(err)
	c.conn.CloseNow()
}

// close takes leave of the server, if it is there, and waits until nothing is left of the connection.
func (c *client) close() {
	hurry := time.AfterFunc(clientCloseTime, func() { c.conn.CloseNow() })
	defer hurry.Stop()
	c.conn.Close(websocket.StatusNormalClosure, "")
	c.end(errLost)
	c.tasks.Wait()
}

// retire waits until the requests that do not wait are answered, then closes.
func (c *client) retire(ctx context.Context) {
	defer c.close()
	for range cap(c.places[0]) { // when all places are taken, nobody has one
		select {
		case c.places[0] <- struct{}{}:
		case <-c.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// keepAlive pings the peer. It returns when the peer does not answer in time, or ctx ends.
func keepAlive(ctx context.Context, c conn, every, within time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := ping(ctx, c, within); err != nil {
			return rpw.Errorf(rpw.ErrUnavailable, "no sign of life from the peer within %v", within)
		}
	}
}

func ping(ctx context.Context, c conn, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return c.Ping(ctx)
}

// read takes messages until the connection ends.
func (c *client) read(message []byte) error {
	for {
		if err := c.handle(message); err != nil {
			return err
		}
		var err error
		if _, message, err = c.conn.Read(c.ctx); err != nil {
			return err
		}
	}
}

func (c *client) handle(message []byte) error {
	for len(message) > 0 {
		f, rest, err := nextPacket(message)
		if err != nil {
			return err
		}
		switch f.kind {
		case packetReply, packetFailure:
			c.deliver(f)
		case packetLeave:
			var l leave
			if err := leavePlan.parse(f.body, &l); err != nil {
				return err
			}
			select {
			case c.leave <- l:
			default:
			}
		default:
			return rpw.Errorf(rpw.ErrInvalid, "the server sent a packet of kind %d", f.kind)
		}
		message = rest
	}
	return nil
}

// deliver hands a reply to its caller, and his place to another.
func (c *client) deliver(f packet) {
	c.mu.Lock()
	x := c.calls[f.id]
	if x == nil {
		c.mu.Unlock()
		return
	}
	delete(c.calls, f.id)
	late := x.late
	if f.kind != packetReply {
		late = nil
	}
	if late != nil {
		c.handing++
	}
	c.isSettled()
	c.mu.Unlock()
	<-x.places
	x.reply <- f
	if late != nil {
		late(f.body, c.handedBack)
	}
}

func (c *client) handedBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handing--
	c.isSettled()
}

// isSettled tells who waits for it. c.mu is held.
func (c *client) isSettled() bool {
	if len(c.calls) > 0 || c.handing > 0 {
		return false
	}
	if c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
	return true
}

// settle waits until what came for callers who have left is handed back, but not long.
func (c *client) settle() {
	c.mu.Lock()
	if c.isSettled() {
		c.mu.Unlock()
		return
	}
	settled := make(chan struct{})
	c.settled = settled
	c.mu.Unlock()
	late := time.NewTimer(clientCloseTime)
	defer late.Stop()
	select {
	case <-settled:
	case <-c.ctx.Done():
	case <-late.C:
	}
}

// request is what a client sends and is replied to.
type request struct {
	kind  packetKind
	waits bool
	body  func([]byte) []byte
	late  func(body []byte, done func()) // takes an answer that comes when the caller has left, and says when it was handed back; nil: nobody does
}

// ask sends a request and waits for the reply, within ctx. sent says whether the request may have left, so that it may have been done; after an error of
// ctx it still may leave. The error is errLost, that of ctx, or ErrTooLarge.
func (c *client) ask(ctx context.Context, r request) (reply packet, sent bool, err error) {
	places := c.places[0]
	if r.waits {
		places = c.places[1]
	}
	select {
	case places <- struct{}{}:
	case <-c.ctx.Done():
		return reply, false, errLost
	case <-ctx.Done():
		return reply, false, ctx.Err()
	}
	x := &exchange{places: places, reply: make(chan packet, 1)}
	c.mu.Lock()
	c.last++
	id := c.last
	c.calls[id] = x
	c.mu.Unlock()
	message, err := c.out.sendWithin(ctx, r.kind, id, r.body)
	if err != nil {
		c.forget(id)
		if c.ctx.Err() != nil {
			err = errLost
		}
		return reply, false, err
	}
	select {
	case reply = <-x.reply:
		c.out.confirm(message)
		return reply, true, nil
	case <-c.ctx.Done():
		select {
		case reply = <-x.reply:
			return reply, true, nil
		default:
			return reply, c.out.left(message), errLost
		}
	case <-ctx.Done():
		if reply, ok := c.abandon(id, x, r.late); ok {
			return reply, true, nil
		}
		return reply, true, ctx.Err()
	}
}

// forget takes back a request that was not sent. A server may have answered it all the same: then its place is free already.
func (c *client) forget(id uint64) {
	c.mu.Lock()
	x, waiting := c.calls[id]
	delete(c.calls, id)
	c.isSettled()
	c.mu.Unlock()
	if waiting {
		<-x.places
	}
}

// abandon tells the server that the caller has left, unless the reply is there. Where the answer would have to be handed back the caller stays a moment longer, until
// the server has seen it: then nothing that happens from now on is given to him.
func (c *client) abandon(id uint64, x *exchange, late func([]byte, func())) (reply packet, ok bool) {
	c.mu.Lock()
	_, waiting := c.calls[id]
	x.late = late
	c.mu.Unlock()
	if !waiting {
		return <-x.reply, true
	}
	c.out.urge(packetCancel, id)
	if late != nil {
		timer := time.NewTimer(lateness)
		defer timer.Stop()
		select {
		case <-x.reply:
		case <-c.ctx.Done():
		case <-timer.C:
		}
	}
	return reply, false
}

// crowded reports whether waits should be short, so that all of them get their turn at the places that the server has.
func (c *client) crowded() bool {
	waits := c.places[1]
	return len(waits) > cap(waits)*3/4
}
