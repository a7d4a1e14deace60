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

	mu    sync.Mutex
	last  uint64 // id
	calls map[uint64]*exchange
}

// exchange is a request on its way.
type exchange struct {
	places chan struct{}
	reply  chan packet  // holds one
	late   func([]byte) // set when the caller has left: takes the answer
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
	_, message, err := c.conn.Read(ctx)
	if err != nil {
		return nil, err
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
	places := c.places[0]
	for range cap(places) {
		select {
		case places <- struct{}{}:
		case <-c.ctx.Done():
		case <-ctx.Done():
		}
	}
	c.close()
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
	delete(c.calls, f.id)
	var late func([]byte)
	if x != nil {
		late = x.late
	}
	c.mu.Unlock()
	if x == nil {
		return
	}
	<-x.places
	x.reply <- f
	if late != nil && f.kind == packetReply {
		late(f.body)
	}
}

// request is what a client sends and is replied to.
type request struct {
	kind  packetKind
	waits bool
	body  func([]byte) []byte
	late  func([]byte) // takes an answer that comes when the caller has left; nil: nobody does
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

// forget takes back a request that was not sent.
func (c *client) forget(id uint64) {
	c.mu.Lock()
	x := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	<-x.places
}

// abandon tells the server that the caller has left, unless the reply is there.
func (c *client) abandon(id uint64, x *exchange, late func([]byte)) (reply packet, ok bool) {
	c.mu.Lock()
	_, waiting := c.calls[id]
	x.late = late
	c.mu.Unlock()
	if !waiting {
		return <-x.reply, true
	}
	c.out.urge(packetCancel, id)
	return reply, false
}

// crowded reports whether waits should be short, so that all of them get their turn at the places that the server has.
func (c *client) crowded() bool {
	waits := c.places[1]
	return len(waits) > cap(waits)*3/4
}
