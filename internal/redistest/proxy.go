package redistest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between clients and a server, and can swallow everything, as a network that broke without telling anybody, or cut all connections.
type Proxy struct {
	Addr string // where it listens

	to       string
	listener net.Listener
	hole     atomic.Bool
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
	p := &Proxy{Addr: l.Addr().String(), to: addr, listener: l, conns: make(map[net.Conn]struct{})}
	p.tasks.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		p.tasks.Wait()
	})
	return p
}

// Blackhole swallows all bytes, in both directions, from now on; what was swallowed stays lost.
func (p *Proxy) Blackhole(on bool) { p.hole.Store(on) }

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
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	closed := p.closed
	p.mu.Unlock()
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{client: server, server: client} {
		both.Go(func() {
			io.Copy(holed{to, p}, from)
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

// holed is a connection behind the black hole.
type holed struct {
	net.Conn
	proxy *Proxy
}

func (h holed) Write(b []byte) (int, error) {
	if h.proxy.hole.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}
