package redistest

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between clients and a server, and can swallow everything, as a network that broke without telling anybody, swallow the answers alone,
// hold them back, as for a client that does not read, be as slow as a poor network, or cut all connections, at once or after so many bytes.
type Proxy struct {
	Addr string // where it listens

	to       atomic.Pointer[string]
	listener net.Listener
	hole     atomic.Bool
	mute     atomic.Bool
	held     atomic.Pointer[chan struct{}] // closed when answers go on; nil: they do
	left     atomic.Int64                  // how many bytes of answers go on until all is cut; 0: any number
	poor     atomic.Pointer[Poor]
	tasks    sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	closed   bool
}

// NewProxy starts a proxy to addr for the length of a test.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), listener: l, conns: make(map[net.Conn]struct{})}
	p.Lead(addr)
	p.tasks.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.Hold(false)
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		p.tasks.Wait()
	})
	return p
}

// Lead lets new connections go to another server.
func (p *Proxy) Lead(addr string) { p.to.Store(&addr) }

// Blackhole swallows all bytes, in both directions, from now on; what was swallowed stays lost.
func (p *Proxy) Blackhole(on bool) { p.hole.Store(on) }

// Mute swallows what the server says from now on: it does its work, and nobody learns of it.
func (p *Proxy) Mute(on bool) { p.mute.Store(on) }

// Hold reads no answer of the server from now on, so that it cannot send: the system keeps what little it does.
func (p *Proxy) Hold(on bool) {
	var next *chan struct{}
	if on {
		next = new(chan struct{})
		*next = make(chan struct{})
	}
	if before := p.held.Swap(next); before != nil {
		close(*before)
	}
}

// CutAfter ends all connections when so many bytes of answers have gone on, in the midst of one.
func (p *Proxy) CutAfter(bytes int) { p.left.Store(int64(bytes)) }

// Poor is a poor network. The zero Poor is a good one.
type Poor struct {
	Delay  time.Duration // before what came goes on, in each direction
	Jitter time.Duration // more delay, up to this, at random
	Slice  int           // bytes that go on at a time; 0: as many as came
	Rate   int           // bytes a second; 0: any number
}

// Slow lets the connections be those of a poor network from now on. Each keeps the order of its bytes.
func (p *Proxy) Slow(as Poor) { p.poor.Store(&as) }

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.tasks.Go(func() { p.pass(client) })
	}
}

// pass serves one connection.
func (p *Proxy) pass(client net.Conn) {
	server, err := net.Dial("tcp", *p.to.Load())
	if err != nil {
		client.Close()
		return
	}
	_ = server.(*net.TCPConn).SetReadBuffer(256 << 10) // or megabytes pass while they are held
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	closed := p.closed
	p.mu.Unlock()
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{client: server, server: client} {
		both.Go(func() {
			p.copy(to, from, to == client)
			client.Close()
			server.Close()
		})
	}
	if closed {
		client.Close()
		server.Close()
	}
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// parcel is what came at once.
type parcel struct {
	bytes []byte
	due   time.Time
}

// copy carries bytes in one direction until a connection ends.
func (p *Proxy) copy(to, from net.Conn, answers bool) {
	parcels := make(chan parcel, 1024)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer from.Close()
	reading.Go(func() {
		defer close(parcels)
		for {
			if held := p.held.Load(); answers && held != nil {
				<-*held
			}
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if n > 0 {
				parcels <- parcel{b[:n], time.Now().Add(p.delay())}
			}
			if err != nil {
				return
			}
		}
	})
	broken, lost := false, false
	for one := range parcels {
		switch {
		case broken:
			continue
		case p.hole.Load() || answers && p.mute.Load():
			lost = true
			continue
		}
		time.Sleep(time.Until(one.due))
		if answers && p.ends(&one) {
			_ = p.write(to, one.bytes)
			p.Cut()
			lost = true
		}
		if lost || p.write(to, one.bytes) != nil { // no network carries on a connection of which it has lost a part
			broken = true
			from.Close()
		}
	}
}

// ends counts the bytes of an answer down, and shortens the one with which CutAfter is fulfilled.
func (p *Proxy) ends(one *parcel) bool {
	for left := p.left.Load(); left > 0; left = p.left.Load() {
		n := min(left, int64(len(one.bytes)))
		if p.left.CompareAndSwap(left, left-n) {
			one.bytes = one.bytes[:n]
			return n == left
		}
	}
	return false
}

func (p *Proxy) delay() time.Duration {
	as := p.poor.Load()
	if as == nil {
		return 0
	}
	return as.Delay + rand.N(as.Jitter+1)
}

func (p *Proxy) write(to net.Conn, b []byte) error {
	as := p.poor.Load()
	if as == nil {
		as = new(Poor)
	}
	most := len(b)
	if as.Slice > 0 {
		most = as.Slice
	}
	for part := range slices.Chunk(b, most) {
		if _, err := to.Write(part); err != nil {
			return err
		}
		if as.Rate > 0 {
			time.Sleep(time.Duration(len(part)) * time.Second / time.Duration(as.Rate))
		}
	}
	return nil
}
