package workers_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/workers"
)

type ResizeIn struct {
	Path  string
	Width int
}

type ResizeOut struct{ Path string }

var Resize = actions.Define[ResizeIn, ResizeOut]("resize", actions.MaxAttempts(5))

func ExampleHandle() {
	ctx, stop := context.WithCancel(context.Background())
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()

	w := workers.New(hub, workers.Config{Name: "resizer", Concurrency: 8})
	workers.Handle(w, Resize, func(ctx context.Context, in ResizeIn) (ResizeOut, error) {
		actions.Progress(ctx, 0.5)
		return ResizeOut{Path: fmt.Sprintf("%d-%s", in.Width, in.Path)}, nil
	})
	stopped := make(chan error)
	go func() { stopped <- w.Run(ctx) }()

	out, err := Resize.Run(ctx, hub, ResizeIn{Path: "cat.png", Width: 320})
	fmt.Println(out.Path, err)

	stop() // handlers get the grace, the rest is handed back
	fmt.Println("stopped:", <-stopped, w.Stats().Completed)
	// Output:
	// 320-cat.png <nil>
	// stopped: <nil> 1
}

// A service runs beside the handlers, is restarted when it fails, and, as a singleton, runs in one worker at a time.
func ExampleWorker_Service() {
	ctx, stop := context.WithCancel(context.Background())
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()

	w := workers.New(hub, workers.Config{Name: "scheduler"})
	w.Service("midnight", func(ctx context.Context) error {
		run, _ := actions.Current(ctx)
		fmt.Println("leading, with a fencing token:", run.Token > 0)
		stop() // this example is over
		<-ctx.Done()
		return ctx.Err()
	}, workers.Singleton(), workers.RestartBackoff(rpw.Backoff{First: time.Second, Max: time.Minute}))
	fmt.Println(w.Run(ctx))
	// Output:
	// leading, with a fencing token: true
	// <nil>
}

// Work that recurs: a singleton starts an action for each time, ahead. Its id is made of the time, so each is started once, whoever
// leads, also when a lead changes hands in between.
func ExampleSingleton() {
	ctx, stop := context.WithCancel(context.Background())
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()

	const every = 20 * time.Millisecond // in a program: an hour
	report := actions.Define[time.Time, string]("report")
	w := workers.New(hub, workers.Config{Name: "reporter", Concurrency: 1})
	w.Service("hourly", func(ctx context.Context) error {
		for {
			next := time.Now().UTC().Truncate(every).Add(every)
			if _, err := report.Start(ctx, hub, next, actions.ID(next.Format("20060102T150405.000")), actions.RunAt(next)); err != nil {
				return err // tried again with back-off
			}
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
				return nil
			}
		}
	}, workers.Singleton())
	reports := 0
	workers.Handle(w, report, func(ctx context.Context, at time.Time) (string, error) {
		if reports++; reports == 3 {
			stop() // this example is over
		}
		return "report of " + at.String(), nil
	})
	fmt.Println(w.Run(ctx), reports >= 3)
	// Output: <nil> true
}

// A worker consumes streams beside its actions; each event goes to one of all workers of its name.
func ExampleStream() {
	ctx, stop := context.WithCancel(context.Background())
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()

	uploads := rpw.StreamOf[string]("uploads")
	if _, err := uploads.Publish(ctx, hub, "new", "cat.png"); err != nil {
		log.Fatal(err)
	}
	w := workers.New(hub, workers.Config{Name: "thumbnails"})
	workers.Stream(w, uploads, rpw.Consumer{From: rpw.Oldest()}, func(ctx context.Context, m rpw.Message[string]) error {
		fmt.Println(m.Type, m.Data)
		stop()
		return nil
	})
	fmt.Println(w.Run(ctx))
	// Output:
	// new cat.png
	// <nil>
}

// What is wrong with a registration is told by Run, too, so a program needs to look at one error only.
func ExampleWorker_Run() {
	ctx := context.Background()
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()

	w := workers.New(hub, workers.Config{})
	workers.Handle[ResizeIn, ResizeOut](w, Resize, nil)
	err = w.Run(ctx)
	fmt.Println(errors.Is(err, rpw.ErrInvalid), err)
	// Output:
	// true rpw: register with worker "worker": invalid: the handler of "resize" is nil
}
