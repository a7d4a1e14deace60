package redistest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed preload/clock.c
var clockSource []byte

// Clock is the wall clock of a server, which can be set. The monotonic one goes on as it is.
type Clock struct{ file *os.File }

// StartClocked starts a server whose clock can be set, for the length of a test. It needs a C compiler, as the race detector does: $CC, or cc.
func StartClocked(t testing.TB, args ...string) (*Server, *Clock) {
	t.Helper()
	dir := t.TempDir()
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("redistest: setting the clock of a server needs a C compiler: %v\n%s", err, out)
	}
	file, err := os.Create(filepath.Join(dir, "offset"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	c := &Clock{file}
	c.Set(t, 0)
	s, err := startWith(&Server{Dir: dir, args: serverArgs(dir, args), env: []string{"LD_PRELOAD=" + library, "CLOCK_OFFSET_FILE=" + file.Name()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s, c
}

// Set makes the clock differ from the true one by so much.
func (c *Clock) Set(t testing.TB, offset time.Duration) {
	t.Helper()
	if _, err := c.file.WriteAt(fmt.Appendf(nil, "%+021d", offset.Microseconds()), 0); err != nil { // in one step, of one length
		t.Fatal(err)
	}
}
