package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Replicated is a master with replicas, and Sentinels that watch it under the name "mymaster".
type Replicated struct {
	Master    *Server
	Replicas  []*Server
	Sentinels []*Server
}

// DownAfter is how long a master is silent until the Sentinels take it for dead.
const DownAfter = time.Second

// StartReplicated starts them for the length of a test, and returns when all are connected.
func StartReplicated(t testing.TB, replicas, sentinels int) *Replicated {
	t.Helper()
	r := &Replicated{Master: Start(t)}
	for range replicas {
		r.Replicas = append(r.Replicas, Start(t, "--replicaof", "127.0.0.1 "+r.Master.port))
	}
	waitFor(t, "the replicas do not connect", func() bool {
		return strings.Count(r.Master.CLI(t, "INFO", "replication"), "state=online") == replicas
	})
	for range sentinels {
		r.Sentinels = append(r.Sentinels, startSentinel(t, r.Master.port, sentinels/2+1))
	}
	for _, s := range r.Sentinels {
		waitFor(t, "the Sentinels do not find each other", func() bool {
			info := s.CLI(t, "INFO", "sentinel")
			return strings.Contains(info, fmt.Sprintf("status=ok,address=127.0.0.1:%s,slaves=%d,sentinels=%d", r.Master.port, replicas, sentinels))
		})
	}
	return r
}

func startSentinel(t testing.TB, master string, quorum int) *Server {
	t.Helper()
	dir := t.TempDir()
	s, err := startWith(&Server{Dir: dir, args: func(port string) []string {
		file := filepath.Join(dir, "sentinel.conf")
		if _, err := os.Stat(file); err != nil { // it writes there what it knows
			os.WriteFile(file, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor mymaster 127.0.0.1 %s %d\n"+
				"sentinel down-after-milliseconds mymaster %d\nsentinel failover-timeout mymaster 10000\n",
				port, dir, master, quorum, DownAfter.Milliseconds()), 0o600)
		}
		return []string{file, "--sentinel"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Servers are the master and the replicas, whichever is which by now.
func (r *Replicated) Servers() []*Server { return append([]*Server{r.Master}, r.Replicas...) }

// Named is the master that all Sentinels name; nil if they do not agree.
func (r *Replicated) Named() *Server {
	var named *Server
	for _, sentinel := range r.Sentinels {
		answer, err := sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
		_, port, _ := strings.Cut(answer, "\n")
		if err != nil || named != nil && named.port != port {
			return nil
		}
		for _, s := range r.Servers() {
			if s.port == port {
				named = s
			}
		}
	}
	return named
}

// AwaitNamed waits until all Sentinels name the same master.
func (r *Replicated) AwaitNamed(t testing.TB) (named *Server) {
	t.Helper()
	waitFor(t, "the Sentinels do not agree on a master", func() bool { named = r.Named(); return named != nil })
	return named
}

// AwaitMaster waits until the Sentinels name another master than old.
func (r *Replicated) AwaitMaster(t testing.TB, old *Server) {
	t.Helper()
	waitFor(t, "the Sentinels name no other master", func() bool { named := r.Named(); return named != nil && named != old })
}

// Failover asks the Sentinels to make another server the master, until one begins to or they are at it by themselves.
func (r *Replicated) Failover(t testing.TB) {
	t.Helper()
	waitFor(t, "no Sentinel begins a failover", func() bool {
		_, err := r.Sentinels[0].cli("SENTINEL", "FAILOVER", "mymaster")
		return err == nil || strings.Contains(err.Error(), "INPROG")
	})
}

// AwaitReplicas waits until all servers but the master that is named are its replicas, and connected.
func (r *Replicated) AwaitReplicas(t testing.TB) {
	t.Helper()
	waitFor(t, "the replicas do not connect to the master", func() bool {
		master := r.Named()
		if master == nil {
			return false
		}
		info, err := master.cli("INFO", "replication")
		if err != nil || !strings.Contains(info, "role:master") || strings.Count(info, "state=online") != len(r.Replicas) {
			return false
		}
		for _, s := range r.Servers() {
			info, err := s.cli("INFO", "replication")
			if s != master && (err != nil || !strings.Contains(info, "master_port:"+master.port) || !strings.Contains(info, "master_link_status:up")) {
				return false
			}
		}
		return true
	})
}

// SentinelAddrs are the addresses of the Sentinels.
func (r *Replicated) SentinelAddrs() []string {
	addrs := make([]string, len(r.Sentinels))
	for i, s := range r.Sentinels {
		addrs[i] = s.Addr
	}
	return addrs
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("redistest: " + what)
		}
	}
}
