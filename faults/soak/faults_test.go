package soak

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw/internal/history/load"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// away waits while a fault lasts.
func away(r *rand.Rand, most time.Duration) { time.Sleep(most/10 + upTo(r, most*9/10)) }

func upTo(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most) + 1))
}

// serverFaults are those of one server, chosen anew each time. back waits until it serves again.
func serverFaults(t testing.TB, most time.Duration, server func(*rand.Rand) *redistest.Server, back func()) []load.Fault {
	fault := func(kind string, do func(r *rand.Rand, s *redistest.Server)) load.Fault {
		return load.Fault{Kind: kind, Do: func(r *rand.Rand) { do(r, server(r)); back() }}
	}
	return []load.Fault{
		fault("server killed", func(r *rand.Rand, s *redistest.Server) {
			s.Kill()
			away(r, most)
			s.Restart(t)
			s.AwaitLoaded(t)
		}),
		fault("server frozen", func(r *rand.Rand, s *redistest.Server) {
			s.Freeze()
			away(r, most)
			s.Thaw()
			s.AwaitLoaded(t)
		}),
		fault("server full", func(r *rand.Rand, s *redistest.Server) {
			s.CLI(t, "CONFIG", "SET", "maxmemory", "1")
			away(r, most)
			s.CLI(t, "CONFIG", "SET", "maxmemory", "0")
		}),
		fault("server busy", func(r *rand.Rand, s *redistest.Server) { busy(t, r, s, most/3) }),
	}
}

// linkFaults are those of the links to one server, which hurt little.
func linkFaults(t testing.TB, most time.Duration, server func(*rand.Rand) *redistest.Server) []load.Fault {
	return []load.Fault{
		{Kind: "writes paused", Do: func(r *rand.Rand) {
			length := most/10 + upTo(r, most/3)
			server(r).CLI(t, "CLIENT", "PAUSE", fmt.Sprint(length.Milliseconds()), "WRITE")
			time.Sleep(length)
		}},
		{Kind: "clients killed", Do: func(r *rand.Rand) {
			s := server(r)
			for range 1 + r.IntN(3) {
				s.CLI(t, "CLIENT", "KILL", "TYPE", "normal")
				s.CLI(t, "CLIENT", "KILL", "TYPE", "pubsub")
				time.Sleep(upTo(r, most/10))
			}
		}},
		{Kind: "scripts forgotten", Do: func(r *rand.Rand) { server(r).CLI(t, "SCRIPT", "FLUSH") }},
	}
}

// proxyFaults are those of a network.
func proxyFaults(p *redistest.Proxy, what string, most time.Duration) []load.Fault {
	return []load.Fault{
		{Kind: what + " reset", Do: func(r *rand.Rand) {
			for range 1 + r.IntN(5) {
				p.Cut()
				time.Sleep(upTo(r, most/10))
			}
		}},
		{Kind: what + " silent", Do: func(r *rand.Rand) { p.Blackhole(true); away(r, most); p.Blackhole(false) }},
		{Kind: what + " without answers", Do: func(r *rand.Rand) { p.Mute(true); away(r, most); p.Mute(false) }},
		{Kind: what + " poor", Do: func(r *rand.Rand) {
			p.Slow(redistest.Poor{Delay: upTo(r, 20*time.Millisecond), Jitter: 10 * time.Millisecond, Slice: 16 + r.IntN(1000), Rate: 256 << 10})
			away(r, most)
			p.Slow(redistest.Poor{})
		}},
	}
}

// childFaults are those of a worker's process.
func childFaults(c *child) []load.Fault {
	return []load.Fault{
		{Kind: "worker killed", Do: func(*rand.Rand) { c.signal(syscall.SIGKILL) }},
		{Kind: "worker stopped beyond its leases", Do: func(r *rand.Rand) {
			c.signal(syscall.SIGSTOP)
			time.Sleep(lease + upTo(r, 2*lease))
			c.signal(syscall.SIGCONT)
		}},
	}
}

// userRemoved takes the rights of the load's user away, and gives them back.
func userRemoved(t testing.TB, most time.Duration, s *redistest.Server) load.Fault {
	return load.Fault{Kind: "user removed", Do: func(r *rand.Rand) {
		s.CLI(t, "ACL", "DELUSER", "soak")
		away(r, most)
		s.CLI(t, append([]string{"ACL", "SETUSER"}, soakUser...)...)
	}}
}

// soakUser is the user of the load, as ACL SETUSER and the configuration want it.
var soakUser = []string{"soak", "on", ">secret", "~*", "&*", "+@all"}

// demoted makes a server the replica of one that is not there, and a master again.
func demoted(t testing.TB, most time.Duration, s *redistest.Server) load.Fault {
	return load.Fault{Kind: "server demoted", Do: func(r *rand.Rand) {
		s.CLI(t, "REPLICAOF", "127.0.0.1", "1")
		away(r, most)
		s.CLI(t, "REPLICAOF", "NO", "ONE")
	}}
}

// crowded lets a server take no more clients, and ends those it has.
func crowded(t testing.TB, most time.Duration, s *redistest.Server) load.Fault {
	return load.Fault{Kind: "too many clients", Do: func(r *rand.Rand) {
		admin := newAdmin(t, s)
		defer admin.Close()
		admin.ask("CONFIG SET maxclients 1")
		admin.ask("CLIENT KILL TYPE normal SKIPME yes")
		admin.ask("CLIENT KILL TYPE pubsub")
		away(r, most)
		admin.ask("CONFIG SET maxclients 10000")
	}}
}

// busy keeps a server busy with a script of others, which writes nothing.
func busy(t testing.TB, r *rand.Rand, s *redistest.Server, most time.Duration) {
	admin, script := newAdmin(t, s), newAdmin(t, s)
	defer admin.Close()
	defer script.Close()
	_, err := script.Write([]byte("*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n"))
	require.NoError(t, err)
	away(r, most)
	for until := time.Now().Add(time.Minute); strings.HasPrefix(admin.ask("PING"), "-BUSY"); time.Sleep(20 * time.Millisecond) {
		require.False(t, time.Now().After(until), "the script does not end")
		admin.ask("SCRIPT KILL")
	}
}

// admin is a connection that is there already when others would be refused.
type admin struct {
	net.Conn
	t       testing.TB
	answers *bufio.Reader
}

func newAdmin(t testing.TB, s *redistest.Server) *admin {
	conn, err := net.Dial("tcp", s.Addr)
	require.NoError(t, err)
	a := &admin{conn, t, bufio.NewReader(conn)}
	a.ask("PING") // the server has taken it
	return a
}

func (a *admin) ask(words string) string {
	_, err := fmt.Fprintf(a, "%s\r\n", words)
	require.NoError(a.t, err)
	line, err := a.answers.ReadString('\n')
	require.NoError(a.t, err)
	return line
}
