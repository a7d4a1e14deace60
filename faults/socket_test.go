//go:build faults

package faults

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

// TestStalledClients: F37, K4: ten of a thousand clients of a socket server read nothing of what they ask for. They alone are closed, soon, and hold
// little; what comes to the others comes as soon as it does without them.
func TestStalledClients(t *testing.T) {
	const clients, streams, stalled, rounds, length = 990, 20, 10, 3, 4 * time.Second
	direct := open(t, "redis://"+redistest.Start(t).Addr)
	at := startSite(t, direct, "127.0.0.1:0")
	big := rpw.NewEvent{Type: "text", Data: make([]byte, rpw.MaxPayload-1024)}
	for range 8 {
		_, err := direct.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "big", Events: []rpw.NewEvent{big}}})
		require.NoError(t, err)
	}

	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	var delays latencies
	for i := range clients {
		sub, err := rpw.StreamOf[time.Time]("times"+strconv.Itoa(i%streams)).Subscribe(t.Context(), open(t, "ws://"+at.addr+"/ws"), rpw.Newest())
		require.NoError(t, err)
		running.Go(func() {
			for m, err := range sub.All(ctx) {
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("one that reads: %v", err)
					}
					return
				}
				delays.add(time.Since(m.Data))
			}
		})
	}
	running.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond / streams)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if _, err := rpw.StreamOf[time.Time]("times"+strconv.Itoa(i%streams)).Publish(ctx, direct, "time", time.Now()); err != nil && ctx.Err() == nil {
				t.Errorf("publish: %v", err)
			}
		}
	})
	within(t, time.Now(), "the load runs", func() bool { return delays.count() > clients })

	// calm is within what time 99 of 100 events come while the others are alone.
	calm := func() time.Duration {
		delays.reset()
		time.Sleep(length)
		return delays.share(0.99)
	}
	// stall is the same from when the ten have had all that fits between them and the server, until they are closed.
	stall := func() (p99 time.Duration) {
		proxy := redistest.NewProxy(t, at.addr)
		before, closed := memory(), at.server.Stats().Closed["4008"]
		var reading sync.WaitGroup
		defer reading.Wait()
		defer proxy.Cut()
		defer proxy.Hold(false)
		var hubs []*rpw.Hub
		for range stalled {
			hubs = append(hubs, open(t, "ws://"+proxy.Addr+"/ws"))
		}
		proxy.Hold(true)
		began := time.Now()
		for _, hub := range hubs {
			reading.Go(func() {
				_, err := hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "big"})
				assert.Error(t, err)
			})
		}
		time.Sleep(time.Second)
		delays.reset()
		took := within(t, began, "they are closed", func() bool { return at.server.Stats().Closed["4008"] == closed+stalled })
		p99 = delays.share(0.99)
		if closed == 0 {
			assert.Equal(t, map[string]uint64{"4008": stalled}, at.server.Stats().Closed, "and nobody else")
		}
		atMost(t, "those who do not read are closed after", took, 5*time.Second+recovery) // 5 s after the last that went out
		atMost(t, "memory, heap and stacks, more for ten that do not read", memory()-before, 5*stalled)
		return p99
	}
	var calms, stalls []time.Duration
	for range rounds {
		calms, stalls = append(calms, calm()), append(stalls, stall())
	}
	note(t, "99 of 100 events come to the others within", calms)
	note(t, "and while the ten do not read", stalls)
	slices.Sort(calms)
	slices.Sort(stalls)
	atMost(t, "in the middle of the rounds, while they do not", stalls[rounds/2], max(calms[rounds/2]*11/10, calms[rounds/2]+5*time.Millisecond))
}

// latencies are how long events took.
type latencies struct {
	mu   sync.Mutex
	list []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, d)
}

func (l *latencies) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

func (l *latencies) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = l.list[:0]
}

// share is the time within which such a share of them came.
func (l *latencies) share(of float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.list)
	return l.list[int(of*float64(len(l.list)-1))]
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
