// Command rpw looks into a backend of rpw and works on it: it publishes and tails streams, reads and writes the cache, follows the
// log, starts and watches actions, administers groups and queues, and finds what is wrong.
//
//	export RPW_URL=redis://localhost
//	rpw tail file-change --from start
//	rpw action start resize '{"path":"cat.png"}' --wait
//	rpw doctor
//
// rpw help lists the commands, rpw help exit-codes what their exit codes mean.
//
// What to read: app.go runs a command over a Hub, print.go writes what it answers; then there is a file for each command.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/redis-process-worker/rpw/driver/memory"
	_ "github.com/redis-process-worker/rpw/driver/redis"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
