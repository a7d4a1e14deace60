// Command quickstart is the first example of the README: a stream, the cache and an action in one program. RPW_URL chooses
// the backend; without it everything stays in the process.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	_ "github.com/redis-process-worker/rpw/driver/memory" // memory://
	_ "github.com/redis-process-worker/rpw/driver/redis"  // redis:// rediss:// ...
	"github.com/redis-process-worker/rpw/workers"
)

// What the processes agree on: names and types.
var (
	Changes = rpw.StreamOf[Change]("file-change")
	Resize  = actions.Define[ResizeIn, ResizeOut]("resize", actions.MaxAttempts(5), actions.Timeout(time.Minute))
)

type (
	Change    struct{ Path string }
	ResizeIn  struct{ Path string }
	ResizeOut struct{ Thumbnail string }
)

func run(ctx context.Context) error {
	hub, err := rpw.Open(ctx, cmp.Or(os.Getenv("RPW_URL"), "memory://"))
	if err != nil {
		return err
	}
	defer hub.Close() // flushes, and ends what still waits

	// Any process: run the work. A crash, a panic or a lost connection costs an attempt, not the action.
	w := workers.New(hub, workers.Config{Name: "resizer", Concurrency: 8})
	workers.Handle(w, Resize, func(ctx context.Context, in ResizeIn) (ResizeOut, error) {
		actions.Progress(ctx, 0.5)
		return ResizeOut{Thumbnail: strings.TrimSuffix(in.Path, ".png") + ".thumb.png"}, nil
	})
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- w.Run(ctx) }()
	defer func() { stop(); <-stopped }()

	// Any process: follow a stream, from this moment on, and miss nothing.
	sub, err := Changes.Subscribe(ctx, hub, rpw.Newest())
	if err != nil {
		return err
	}
	defer sub.Close()
	if _, err := Changes.Publish(ctx, hub, "write", Change{Path: "cat.png"}); err != nil {
		return err // nil means stored
	}
	for ev, err := range sub.All(ctx) {
		if err != nil {
			return err // also when history is missing: a gap is never silent
		}
		out, err := Resize.Run(ctx, hub, ResizeIn{Path: ev.Data.Path}) // start it, wait for the result
		if err != nil {
			return err
		}
		if err := rpw.Set(ctx, hub, "thumbnail:"+ev.Data.Path, out, rpw.TTL(time.Hour)); err != nil {
			return err
		}
		fmt.Println(ev.Type, ev.Data.Path, "->", out.Thumbnail)
		break
	}
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
