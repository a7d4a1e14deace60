package actions_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/workers"
)

// Shout is shared by the programs that start it and those that run it.
var Shout = actions.Define[string, string]("shout", actions.MaxAttempts(3), actions.Timeout(time.Minute))

func shout(ctx context.Context, in string) (string, error) {
	if in == "" {
		return "", rpw.Permanent(errors.New("nothing to shout"))
	}
	actions.Progress(ctx, 0.5)
	return strings.ToUpper(in), nil
}

// backend opens a hub with a worker that runs Shout. Programs usually do one or the other.
func backend(ctx context.Context) (*rpw.Hub, func()) {
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	w := workers.New(hub, workers.Config{Name: "shouter"})
	workers.Handle(w, Shout, shout)
	go w.Run(ctx)
	return hub, func() { hub.Close() } // which stops the worker first
}

func ExampleDefinition_Run() {
	ctx := context.Background()
	hub, done := backend(ctx)
	defer done()

	out, err := Shout.Run(ctx, hub, "hello")
	fmt.Println(out, err)
	_, err = Shout.Run(ctx, hub, "")
	if failure, ok := errors.AsType[*actions.Error](err); ok {
		fmt.Println(failure.State, "after attempt", failure.Failure.Attempt, "because of", failure.Failure.Message)
	}
	// Output:
	// HELLO <nil>
	// failed after attempt 1 because of nothing to shout
}

func ExampleDefinition_Start() {
	ctx := context.Background()
	hub, done := backend(ctx)
	defer done()

	handle, err := Shout.Start(ctx, hub, "hello", actions.ID("greeting-1"), actions.Label("greetings"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("started", handle.Ref)

	// Any process that knows the reference can wait for the result.
	out, err := Shout.Wait(ctx, hub, handle.Ref)
	fmt.Println(out, err)
	// Output:
	// started shout/greeting-1
	// HELLO <nil>
}

func ExampleDefinition_StartAll() {
	ctx := context.Background()
	hub, done := backend(ctx)
	defer done()

	handles, err := Shout.StartAll(ctx, hub, []string{"one", "two", "three"})
	if err != nil {
		log.Fatal(err)
	}
	for _, handle := range handles {
		out, err := handle.Wait(ctx)
		fmt.Println(out, err)
	}
	// Output:
	// ONE <nil>
	// TWO <nil>
	// THREE <nil>
}

func ExampleHandle_Watch() {
	ctx := context.Background()
	hub, done := backend(ctx)
	defer done()

	handle, err := Shout.Start(ctx, hub, "hello", actions.Delay(20*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	for u, err := range handle.Watch(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %s %q\n", u.Seq, u.Kind, u.State, u.Result)
	}
	// Output:
	// 1 snapshot: pending ""
	// 2 claimed: running ""
	// 3 data: running ""
	// 4 completed: completed "HELLO"
}

func ExampleHandle_Cancel() {
	ctx := context.Background()
	hub, done := backend(ctx)
	defer done()

	handle, err := Shout.Start(ctx, hub, "hello", actions.Delay(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	state, err := handle.Cancel(ctx, "not so loud")
	fmt.Println(state, err)
	_, err = handle.Wait(ctx)
	fmt.Println(errors.Is(err, rpw.ErrCancelled))
	// Output:
	// cancelled <nil>
	// true
}

// Unique keeps a second action of the same kind from being started while the first has not finished.
func ExampleUnique() {
	ctx := context.Background()
	hub, done := backend(ctx)
	defer done()

	for _, text := range []string{"first", "second"} {
		handle, err := Shout.Start(ctx, hub, text, actions.Delay(20*time.Millisecond), actions.Unique("greeting", rpw.UniqueJoin))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(text, "joined:", handle.Existing)
	}
	// Output:
	// first joined: false
	// second joined: true
}

// A handler is a plain function, and can be tested as one.
func ExampleNewContext() {
	out, err := shout(context.Background(), "quiet") // Progress does nothing
	fmt.Println(out, err)

	ctx := actions.NewContext(context.Background(), actions.Run{Attempt: 2}, func(_ context.Context, m rpw.Move) error {
		fmt.Println("progress", m.Progress)
		return nil
	})
	run, _ := actions.Current(ctx)
	fmt.Println("attempt", run.Attempt)
	shout(ctx, "quiet")
	// Output:
	// QUIET <nil>
	// attempt 2
	// progress 0.5
}
