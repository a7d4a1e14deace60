//go:build faults

package faults

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/socket"
)

// F36, K3: a thousand clients follow streams over a socket server, which is restarted under them: gracefully, and as by a crash. All come back, not all at once,
// and none of them has lost or doubled anything.
func TestThousandClientsComeBack(t *testing.T) {
	const clients, streams = 1000, 20
	backend := redistest.StartDurable(t)
	direct := open(t, "redis://"+backend.Addr)
	at := startSite(t, direct, "127.0.0.1:0")

	var followers []*follower
	var following sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	defer end()
	for i := range clients {
		hub := open(t, "ws://"+at.addr+"/ws")
		f := follow(t, hub, rpw.StreamOf[int]("numbers"+strconv.Itoa(i%streams)))
		followers = append(followers, f)
		following.Go(func() { f.run(ctx) })
	}
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishers := make([]*publisher, streams)
	for i := range publishers {
		hub := open(t, "ws://"+at.addr+"/ws") // publishers lose their connection, too
		p := &publisher{hub: hub, stream: rpw.StreamOf[int]("numbers" + strconv.Itoa(i))}
		publishers[i] = p
		publishing.Go(func() { p.run(ctx, t, stop, 100*time.Millisecond) })
	}
	// more is whether each client has got as many events more than were stored at a time.
	more := func(n int64) func() bool {
		var least [streams]int64
		for i, p := range publishers {
			least[i] = p.stored.Load() + n
		}
		return func() bool {
			for i, f := range followers {
				if f.next.Load() < least[i%streams] {
					return false
				}
			}
			return true
		}
	}
	within(t, time.Now(), "the load runs", more(5))

	for _, restart := range []struct {
		name    string
		down    func(*site)
		absence time.Duration // from the end of the old server to the start of the new one
		dials   int           // a second, at most
	}{
		{"graceful", (*site).shutdown, 500 * time.Millisecond, 200},
		{"crash", (*site).crash, 2 * time.Second, 400},
	} {
		restart.down(at)
		time.Sleep(restart.absence) // how long a server is away is what is tried here
		back := time.Now()
		at = startSite(t, direct, at.addr)
		took := within(t, back, "all are back", func() bool { return at.server.Stats().Connections == clients+streams })
		atMost(t, restart.name+": all clients are back after", took, 15*time.Second)
		atMost(t, restart.name+": and have got what was published since after", within(t, back, "all go on", more(1)), 16*time.Second)
		atMost(t, restart.name+": dials in the busiest second", at.busiest(), restart.dials)
	}

	close(stop)
	publishing.Wait()
	for i, f := range followers {
		within(t, time.Now(), "a follower has everything", func() bool { return f.next.Load() == publishers[i%streams].stored.Load() })
	}
	end()
	following.Wait()
	wrong := 0
	for _, f := range followers {
		wrong += len(f.wrong)
	}
	atMost(t, "events lost, doubled or out of order", wrong, 0)
	note(t, "events that each client got", followers[0].next.Load())
}

// site is a socket server on an address.
type site struct {
	addr   string
	server *socket.Server
	web    *http.Server
	done   chan struct{}
	times  dialTimes
}

// dialTimes notes when connections were accepted.
type dialTimes struct {
	net.Listener
	mu    sync.Mutex
	times []time.Time
	conns []net.Conn
}

func (d *dialTimes) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.times = append(d.times, time.Now())
		d.conns = append(d.conns, c)
	}
	return c, err
}

func startSite(t testing.TB, hub *rpw.Hub, addr string) *site {
	t.Helper()
	var listener net.Listener
	within(t, time.Now(), "the address is free", func() bool {
		var err error
		listener, err = net.Listen("tcp", addr)
		return err == nil
	})
	server, err := socket.NewServer(hub, socket.Config{
		AllowAnonymous: true,
		Logger:         slog.New(slog.DiscardHandler),
		Limits:         socket.Limits{ConnectsPerIP: 10_000}, // they all have one address
	})
	require.NoError(t, err)
	s := &site{addr: listener.Addr().String(), server: server, web: server.HTTPServer(), done: make(chan struct{})}
	s.times.Listener = listener
	go func() {
		defer close(s.done)
		s.web.Serve(&s.times)
	}()
	t.Cleanup(func() { s.crash() })
	return s
}

func (s *site) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.server.Shutdown(ctx)
	s.crash()
}

// crash cuts all connections without a word.
func (s *site) crash() {
	s.web.Close()
	<-s.done
	s.times.cut()
	s.server.Close()
}

func (d *dialTimes) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
}

// busiest is the most connections that were accepted within a second.
func (s *site) busiest() int {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	most, first := 0, 0
	for i, at := range s.times.times {
		for at.Sub(s.times.times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
