package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// config is what the flags say.
type config struct {
	dir     string // absolute, links resolved; "" for a role that needs none
	url     string
	role    string
	workers int
	slots   int
	lease   time.Duration
	passes  int
	watch   bool
}

// roles are what a process can do.
var roles = []string{"all", "scan", "work", "watch"}

func (c config) scans() bool   { return c.role == "all" || c.role == "scan" }
func (c config) works() bool   { return c.role == "all" || c.role == "work" }
func (c config) watches() bool { return c.watch || c.role == "watch" }

// usageError is a mistake of the caller.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error {
	return usageError{fmt.Errorf(format+"; -h tells the flags", args...)}
}

func flags(c *config, env func(string) string) *flag.FlagSet {
	set := flag.NewFlagSet("filewatch", flag.ContinueOnError)
	set.SetOutput(io.Discard) // run prints the error
	set.Usage = func() {}
	set.StringVar(&c.dir, "dir", "", "the `folder` to digest (default the sources of Go, $(go env GOROOT)/src)")
	set.StringVar(&c.url, "url", cmp.Or(env("RPW_URL"), "memory://"), "the backend; the environment's RPW_URL, or memory://, unless given")
	set.StringVar(&c.role, "role", "all", "what this process does: "+strings.Join(roles, ", ")+"; on memory:// it is all")
	set.IntVar(&c.workers, "workers", 2, "how many workers to run")
	set.IntVar(&c.slots, "slots", 4, "how many digests a worker makes at a time")
	set.DurationVar(&c.lease, "lease", rpw.DefaultLease, "how long after a worker died others digest the files that it had begun")
	set.IntVar(&c.passes, "passes", 1, "how many times to go over the folder")
	set.BoolVar(&c.watch, "watch", false, "go on watching the folder after that")
	return set
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "filewatch digests the files of a folder, and skips those it remembers.\n\n")
	set := flags(&config{}, func(string) string { return "" })
	set.SetOutput(w)
	set.PrintDefaults()
	fmt.Fprint(w, "\nExit codes: 0 every file is accounted for, also those that could not be read; 1 failed or interrupted; 2 wrong flags.\n")
}

// parse reads the flags and checks them before anything is done.
func parse(ctx context.Context, args []string, env func(string) string) (config, error) {
	var c config
	set := flags(&c, env)
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return c, err
	} else if err != nil {
		return c, misuse("%w", err)
	}
	switch {
	case set.NArg() > 0:
		return c, misuse("unexpected argument %q", set.Arg(0))
	case !slices.Contains(roles, c.role):
		return c, misuse("-role is %q; it is one of %s", c.role, strings.Join(roles, ", "))
	case c.role != "all" && strings.HasPrefix(c.url, "memory:"):
		return c, misuse("-role %s works with other processes, which cannot see the memory of this one; give all of them the -url of a shared backend", c.role)
	case c.workers < 1 || c.workers > 100:
		return c, misuse("-workers is %d; it must be from 1 to 100", c.workers)
	case c.slots < 1 || c.slots > 1000:
		return c, misuse("-slots is %d; it must be from 1 to 1000", c.slots)
	case c.lease < rpw.MinLease || c.lease > rpw.MaxLease:
		return c, misuse("-lease is %v; it must be from %v to %v", c.lease, rpw.MinLease, rpw.MaxLease)
	case c.passes < 1:
		return c, misuse("-passes is %d; it must be at least 1", c.passes)
	case c.watch && c.role == "work":
		return c, misuse("-watch is not for -role work; run another process with -role watch")
	}
	if !c.scans() && !c.watches() {
		return c, nil
	}
	var err error
	c.dir, err = folder(ctx, c.dir)
	return c, err
}

// folder finds the folder that dir names.
func folder(ctx context.Context, dir string) (string, error) {
	if dir == "" {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return "", misuse("the sources of Go were not found (%w); say which folder with -dir", err)
		}
		dir = filepath.Join(strings.TrimSpace(string(root)), "src")
	}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return "", misuse("-dir %s: %s", Path(dir), reason(err))
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return "", misuse("-dir %s is no folder", Path(dir))
	}
	return real, nil
}
