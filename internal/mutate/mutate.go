// Package mutate proves that tests can fail: it breaks a package in one small way at a time and requires that the
// test which is there to notice does so. The sources stay as they are; the changes are laid over them (go test -overlay).
//
// Compiling and linking is nearly all the work, so it is done once: a function with mutants holds them all, and each process of the
// test binary switches on one. What stands outside of functions has a binary of its own.
package mutate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
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
	Test    string // the test that must fail, with its subtests: TestConformance/Streams/Read/Reverse
}

// Run breaks the package in dir by each mutant and runs the mutant's test, which must fail; without a mutant, all these tests must pass. A
// mutant fails t if its test passes, hangs or does not exist, if its text is gone, or if it does not compile. As many run at a time as go
// test -parallel says.
func Run(t *testing.T, dir string, mutants []Mutant) {
	l, err := newLab(t.Context(), dir, t.TempDir(), mutants)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if err := l.control(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range l.changes {
		t.Run(c.Promise+"/"+c.Name, func(t *testing.T) {
			t.Parallel()
			if err := l.check(t.Context(), c, t.TempDir()); err != nil {
				t.Error(err)
			}
		})
	}
}

// lab is a package with its mutants.
type lab struct {
	dir     string
	changes []*change
	joined  binary // with all mutants that can be switched on
	most    string // how long a test may take with a mutant
}

// newLab finds the places of mutants and compiles the package with those that can be switched on. What is wrong with a single mutant is
// told when it is checked.
func newLab(ctx context.Context, dir, temp string, mutants []Mutant) (*lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, most: "30s"}
	for i, m := range mutants {
		l.changes = append(l.changes, newChange(dir, i+1, m))
	}
	for {
		files, err := join(dir, l.changes)
		if err != nil {
			return nil, err
		}
		l.joined, err = compile(ctx, dir, temp, files)
		if err == nil || !blame(l.changes, err) {
			return l, err
		}
	}
}

// blame finds the mutants that a compiler complains of, and says whether there are any.
func blame(changes []*change, complaint error) bool {
	found := false
	for _, c := range changes {
		if text := c.linesOf(complaint.Error()); text != "" && c.usable() {
			c.err, found = fmt.Errorf("the mutant does not compile:\n%s", text), true
		}
	}
	return found
}

// control runs the tests of all mutants without any.
func (l *lab) control(ctx context.Context) error {
	var tests []string
	for _, c := range l.changes {
		tests = append(tests, pattern(c.Test))
	}
	out, err := l.joined.run(ctx, 0, strings.Join(tests, "|"), "10m")
	if err != nil {
		return fmt.Errorf("without any mutant the tests do not pass: %w\n%s", err, out)
	}
	return nil
}

// check returns nil if the test notices the mutant, else why it cannot be told or that it does not.
func (l *lab) check(ctx context.Context, c *change, temp string) error {
	if c.err != nil {
		return c.err
	}
	tests := l.joined
	if c.alone {
		var err error
		if tests, err = compile(ctx, l.dir, temp, map[string]string{c.path: c.apply()}); err != nil {
			return fmt.Errorf("the mutant does not compile: %w", err)
		}
	}
	out, err := tests.run(ctx, c.number, pattern(c.Test), l.most)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(out, "no tests to run"):
		return fmt.Errorf("there is no test %s", c.Test)
	case strings.Contains(out, "panic: test timed out"):
		return fmt.Errorf("%s hangs: let the mutant break the same promise in a way that is noticed sooner", c.Test)
	case err == nil:
		return fmt.Errorf("%s passes although: %s (%s)", c.Test, c.Name, c.File)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		return err
	}
	return nil
}

// pattern is what -run wants for one test.
func pattern(test string) string { return "^" + strings.ReplaceAll(test, "/", "$/^") + "$" }
