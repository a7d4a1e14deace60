// Package redistest starts redis-server processes for tests: on free loopback ports, in directories of their own, ended with the test program
// even if that is killed.
package redistest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a running redis-server.
type Server struct {
	Addr string // 127.0.0.1:port
	Dir  string // its working directory

	port string
	args func(port string) []string
	via  []string // the command that runs the server, before its path; nil: none
	env  []string // beside that of the tests
	mu   sync.Mutex
	cmd  *exec.Cmd
}

// Start starts a server for the length of a test, with further arguments ("--requirepass", "x").
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := start(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// StartDurable starts a server that keeps what it acknowledged, whatever happens to its process.
func StartDurable(t testing.TB, args ...string) *Server {
	t.Helper()
	return Start(t, append(Durable(), args...)...)
}

// Durable are the arguments of a server that keeps what it acknowledged.
func Durable() []string { return []string{"--appendonly", "yes", "--appendfsync", "always"} }

func start(dir string, args ...string) (*Server, error) {
	return startWith(&Server{Dir: dir, args: serverArgs(dir, args)})
}

func serverArgs(dir string, more []string) func(port string) []string {
	return func(port string) []string {
		return append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"}, more...)
	}
}

// startWith starts a server with the arguments that args gives for its port, and all else as in like.
func startWith(like *Server) (*Server, error) {
	var err error
	for range 5 { // another process may take the port between its choice and its use
		s := &Server{Dir: like.Dir, args: like.args, via: like.via, env: like.env}
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		s.Addr = net.JoinHostPort("127.0.0.1", s.port)
		if err = s.run(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func freePort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redistest: the tests need redis-server 7.0 or later; make deps installs it: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(s.Dir, "redis-"+s.port+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	words := slices.Concat(s.via, []string{path}, s.args(s.port))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(log.Name())
		if listens(string(text[before:])) && s.up() {
			return nil
		}
		if s.gone() {
			break
		}
	}
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
	text, _ := os.ReadFile(log.Name())
	return fmt.Errorf("redistest: redis-server does not come up:\n%s", text)
}

// listens says whether a server, by what it has logged, has its port: who answers there may be another one.
func listens(log string) bool {
	return strings.Contains(log, "Server initialized") || strings.Contains(log, "Sentinel ID is")
}

// up says whether the server answers, with whatever: some want a password or TLS first.
func (s *Server) up() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Kill ends the process at once, as kill -9 does. It may be killed again, and started again.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.cmd.Process.Signal(syscall.SIGCONT)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// Restart starts the process again, on its port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// Ended reports whether the process has ended, also by itself.
func (s *Server) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone()
}

// gone is Ended with mu held.
func (s *Server) gone() bool {
	if s.cmd != nil {
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(s.cmd.Process.Pid, &status, syscall.WNOHANG, nil); pid == s.cmd.Process.Pid {
			s.cmd = nil
		}
	}
	return s.cmd == nil
}

// AwaitLoaded waits until a server that was restarted has read what it had stored.
func (s *Server) AwaitLoaded(t testing.TB) {
	t.Helper()
	waitFor(t, "the server does not finish loading", func() bool { answer, err := s.cli("PING"); return err == nil && answer == "PONG" })
}

// Freeze stops the process where it is, as a machine that hangs; Thaw lets it go on.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.cmd.Process.Signal(sig)
	}
}

// Clients are the connections of the server, one line each as CLIENT LIST tells them, without the one that asks.
func (s *Server) Clients(t testing.TB) []string {
	t.Helper()
	var clients []string
	for line := range strings.Lines(s.CLI(t, "CLIENT", "LIST")) {
		if !strings.Contains(line, " cmd=client|list ") && !strings.Contains(line, " flags=M ") {
			clients = append(clients, strings.TrimSpace(line))
		}
	}
	return clients
}

// CLI runs redis-cli with args and returns what it prints.
func (s *Server) CLI(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.cli(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *Server) cli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"-e", "-p", s.port}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("redistest: redis-cli %q: %w\n%s", args, err, out)
	}
	return strings.TrimRight(string(out), "\n"), nil
}
