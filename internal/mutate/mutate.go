// Package mutate proves that tests can fail: it breaks a package in one small way at a time and requires that the
// test which is there to notice does so. The sources stay as they are; the change is laid over them (go test -overlay).
package mutate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Mutant is one fault.
type Mutant struct {
	Name    string // what is broken, in words
	Promise string // the promise that is broken with it
	File    string // of the package or of one it imports, relative to the package's folder
	Old     string // the text to replace; it must stand in the file exactly once
	New     string
	Test    string   // the test that must fail, with its subtests: TestConformance/Streams/Read/Reverse
	With    []string // other test files that the test needs
}

// Run lays each mutant over the package in dir and runs its test, which must fail. A mutant fails t if its test passes, hangs or does
// not exist, if its text is gone, or if it does not compile. As many run at a time as go test -parallel says.
//
// Of the test files of the package only the one with the test itself is compiled, and those it needs, which saves most of the time.
func Run(t *testing.T, dir string, mutants []Mutant) {
	for _, m := range mutants {
		t.Run(m.Promise+"/"+m.Name, func(t *testing.T) {
			t.Parallel()
			if err := m.check(t.Context(), dir, t.TempDir()); err != nil {
				t.Error(err)
			}
		})
	}
}

// check returns nil if the test notices the mutant, else why it cannot be told or that it does not.
func (m Mutant) check(ctx context.Context, dir, temp string) error {
	overlay, err := m.overlay(dir, temp)
	if err != nil {
		return err
	}
	out, err := goTest(ctx, dir, m.Test, overlay)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return fmt.Errorf("the mutant does not compile:\n%s", out)
	case strings.Contains(out, "no tests to run"):
		return fmt.Errorf("there is no test %s", m.Test)
	case strings.Contains(out, "panic: test timed out"):
		return fmt.Errorf("%s hangs: let the mutant break the same promise in a way that is noticed sooner", m.Test)
	case err == nil:
		return fmt.Errorf("%s passes although: %s (%s)", m.Test, m.Name, m.File)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		return err
	}
	return nil
}

// overlay writes the changed file into temp, and the description that go test wants.
func (m Mutant) overlay(dir, temp string) (description string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	replace, err := otherTests(dir, m.Test, m.With)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, m.File)
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.Old); n != 1 {
		return "", fmt.Errorf("the text of this mutant stands %d times in %s, it must be once; give the mutant its new text:\n%s", n, m.File, m.Old)
	}
	changed := filepath.Join(temp, filepath.Base(file))
	replace[file] = changed
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	description = filepath.Join(temp, "overlay.json")
	return description, errors.Join(
		os.WriteFile(changed, []byte(strings.Replace(string(source), m.Old, m.New, 1)), 0o600),
		os.WriteFile(description, overlay, 0o600),
	)
}

// otherTests maps the test files without the test, but for those in with, to nothing, which hides them.
func otherTests(dir, test string, with []string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(test, "/")
	hidden := make(map[string]string)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(source), "\nfunc "+name+"(") && !slices.Contains(with, filepath.Base(file)) {
			hidden[file] = ""
		}
	}
	return hidden, nil
}

// Compiling and linking is nearly all the work, so it is done in the quickest way.
var quick = []string{"-vet=off", "-gcflags=github.com/redis-process-worker/rpw/...=-l -dwarf=false", "-ldflags=-s -w"}

// goTest runs one test of the package in dir under an overlay.
func goTest(ctx context.Context, dir, test, overlay string) (out string, err error) {
	pattern := "^" + strings.ReplaceAll(test, "/", "$/^") + "$"
	args := append([]string{"test", "-overlay", overlay, "-count=1", "-timeout=30s", "-run", pattern}, quick...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RPW_CONFORMANCE_SUMMARY=") // it counts no mutants
	output, err := cmd.CombinedOutput()
	return string(output), err
}
