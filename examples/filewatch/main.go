// Command filewatch digests the files of a folder with rpw, and can go on watching it.
//
// It walks the folder and starts an action for each file, with as many under way as are good for the store. Workers
// take the actions, remember each digest in the cache and publish an event when a file is done; a consumer group folds the events
// into totals. A file whose size and time are as remembered is skipped. The same program runs in one process over memory://,
// or in several over a shared backend:
//
//	go run ./examples/filewatch -passes 2            # all in one process; the second pass skips everything
//	go run ./examples/filewatch -dir ~/src -watch    # and go on watching
//	filewatch -url redis://localhost -role work      # on as many machines as see the folder
//	filewatch -url redis://localhost -role scan -dir /srv/files
//
// What to read: files.go has the definitions that all parts share, scan.go starts actions, work.go handles them, totals.go accounts
// for them, watch.go follows changes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes.
const (
	exitOK     = 0 // every file is accounted for, also those that could not be read
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// run is main with everything it takes from outside. Tables and lines go to stdout, progress and errors to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) string) int {
	cfg, err := parse(ctx, args, env)
	if errors.Is(err, flag.ErrHelp) {
		printUsage(stdout)
		return exitOK
	}
	if err == nil {
		p := &program{config: cfg, out: &console{w: stdout}, status: stderr}
		err = p.run(ctx)
	}
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = errInterrupted
	}
	fmt.Fprintln(stderr, "filewatch:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}
