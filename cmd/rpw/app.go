package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

// app is what all commands share: what they take from outside, and the flags that are everywhere.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	open           func(ctx context.Context, url string, opts ...rpw.Option) (*rpw.Hub, error)

	url       string
	namespace string
	timeout   time.Duration
	json      bool

	started bool // the arguments were good, and a command runs
}

// run is main with everything it takes from outside. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env, open: rpw.Open}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRootCommand(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if _, ok := errors.AsType[usageError](err); ok || err != nil && !a.started { // or cobra refused a flag
		err = misuse("%w; see %s --help", err, cmd.CommandPath())
	}
	a.report(err)
	return exitCode(err)
}

// usageError is a mistake in what the caller typed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// failures are the errors of several items of one command, one line each.
type failures []error

func (f failures) Error() string   { return fmt.Sprintf("%d failed, the first with: %v", len(f), f[0]) }
func (f failures) Unwrap() []error { return f }

// err is nil if nothing failed.
func (f failures) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// report writes an error, one line for each thing that failed.
func (a *app) report(err error) {
	if _, told := errors.AsType[verdict](err); err == nil || told {
		return
	}
	if several, ok := errors.AsType[failures](err); ok {
		for _, each := range several {
			a.report(each)
		}
		return
	}
	switch code := rpw.Code(err); {
	case code == "canceled":
		a.warn("interrupted")
	case code == "deadline_exceeded" && a.timeout > 0:
		a.warn(fmt.Sprintf("--timeout passed: not done within %v", a.timeout))
	default:
		a.warn(err.Error())
	}
}

// passwords finds user and password in what looks like a URL: some errors quote what was typed. It rather takes too much than too little.
var passwords = regexp.MustCompile(`(?s)://.*@`)

// warn writes one line to stderr.
func (a *app) warn(text string) {
	text = passwords.ReplaceAllString(bare(text), "://***@")
	fmt.Fprintln(a.stderr, "rpw: "+logs.Escape(text))
}

// bare takes off the mark that each error of rpw begins with, also within others.
func bare(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "rpw: "), ": rpw: ", ": ")
}

// command is what a command does with an open Hub.
type command func(ctx context.Context, hub *rpw.Hub, args []string) error

// over runs f over the Hub that the flags name.
func (a *app) over(f command, opts ...rpw.Option) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		a.started = true
		ctx := cmd.Context()
		if a.timeout < 0 {
			return misuse("--timeout is %v; it must be positive, or 0 for none", a.timeout)
		}
		if a.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.timeout)
			defer cancel()
		}
		url := cmp.Or(a.url, a.env("RPW_URL"))
		if url == "" {
			return misuse("which backend? Give its URL by --url or in the environment as RPW_URL: redis://host:6379/0, rediss://host, redis+cluster://host:port,host:port")
		}
		hub, err := a.open(ctx, url, append(opts, rpw.WithNamespace(a.namespace))...)
		if err != nil {
			return err
		}
		defer func() { err = cmp.Or(err, hub.Close()) }()
		return f(ctx, hub, args)
	}
}

// local runs f, which needs no Hub.
func (a *app) local(f func() error) func(*cobra.Command, []string) error {
	return func(*cobra.Command, []string) error {
		a.started = true
		return f()
	}
}
