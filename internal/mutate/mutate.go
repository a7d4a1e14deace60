// Package mutate proves that tests can fail: it breaks a package in one small way at a time and requires that the
// test which is there to notice does so. The sources stay as they are; the change is laid over them (go test -overlay).
package mutate

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Mutant is one fault.
type Mutant struct {
	Name    string // what is broken, in words
	Promise string // the promise that is broken with it
	File    string // of the package, relative to its folder or absolute
	Old     string // the text to replace; it must stand in the file exactly once
	New     string
	Test    string // the test that must fail, with its subtests: TestConformance/Streams/Read/...
}

// limit bounds one mutant's run; a mutant that hangs its test for so long counts as noticed.
const limit = 2 * time.Minute

// Run lays each mutant over the package in dir and runs its test, which must fail. A mutant whose text is gone, or that does not compile, fails t.
func Run(t *testing.T, dir string, mutants []Mutant) {
	for _, m := range mutants {
		t.Run(m.Promise+"/"+strings.ReplaceAll(m.Name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			m.run(t, dir)
		})
	}
}

func (m Mutant) run(t *testing.T, dir string) {
	out, failed := goTest(t, dir, m.Test, "-overlay", m.overlay(t, dir))
	switch {
	case !failed && strings.Contains(out, "no tests to run"):
		t.Errorf("there is no test %s", m.Test)
	case !failed:
		t.Errorf("%s passes although: %s (%s)", m.Test, m.Name, m.File)
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		t.Errorf("the mutant does not compile:\n%s", out)
	}
}

// overlay writes the changed file and the description that go test wants.
func (m Mutant) overlay(t *testing.T, dir string) string {
	file := m.File
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	file, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.Old); n != 1 {
		t.Fatalf("the text of this mutant stands %d times in %s, it must be once; give the mutant its new text:\n%s", n, m.File, m.Old)
	}
	temp := t.TempDir()
	changed := filepath.Join(temp, filepath.Base(file))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, changed, []byte(strings.Replace(string(source), m.Old, m.New, 1)))
	description := filepath.Join(temp, "overlay.json")
	write(t, description, overlay)
	return description
}

func write(t *testing.T, file string, data []byte) {
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// goTest runs one test of the package in dir.
func goTest(t *testing.T, dir, test string, args ...string) (out string, failed bool) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	pattern := "^" + strings.ReplaceAll(test, "/", "$/^") + "$"
	args = append([]string{"test", "-count=1", "-timeout", "60s", "-run", pattern}, args...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	return string(output), err != nil
}
