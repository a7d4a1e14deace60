package redistest

import (
	"os/exec"
	"strconv"
	"testing"
)

// StartLimited starts a server whose files can be limited, for the length of a test: as a full disk does, the limit makes writes fail. It needs
// prlimit, of util-linux.
func StartLimited(t testing.TB, args ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	s, err := startWith(&Server{Dir: dir, args: serverArgs(dir, args), via: []string{"sh", "-c", `trap '' XFSZ; exec "$@"`, "sh"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// LimitFiles lets no file grow beyond so many bytes; negative: files have no limit.
func (s *Server) LimitFiles(t testing.TB, bytes int) {
	t.Helper()
	limit := "unlimited:"
	if bytes >= 0 {
		limit = strconv.Itoa(bytes) + ":"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(s.cmd.Process.Pid), "--fsize="+limit).CombinedOutput(); err != nil {
		t.Fatalf("redistest: limiting the files of a server needs prlimit, of util-linux: %v\n%s", err, out)
	}
}
