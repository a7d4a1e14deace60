package logs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/logs"
)

func open() *rpw.Hub {
	hub, err := rpw.Open(context.Background(), "memory://")
	if err != nil {
		panic(err)
	}
	return hub
}

// To the global log and, for people, to the console.
func ExampleNewHandler() {
	hub := open()
	console := logs.Console(os.Stdout, logs.ConsoleTime("-"))
	log := slog.New(slog.NewMultiHandler(logs.NewHandler(hub, logs.WithSource("resizer")), console))

	log.Info("resized", "path", "a.png", "width", 640)
	hub.Close() // writes what is still buffered
	// Output:
	// - INF resized path=a.png width=640
}

func ExampleHandler_Flush() {
	ctx := context.Background()
	hub := open()
	defer hub.Close()
	h := logs.NewHandler(hub)
	slog.New(h).Info("started")

	if err := h.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	for r := range logs.Query(ctx, hub, rpw.LogQuery{}) {
		fmt.Println(r.Level, r.Message)
	}
	// Output:
	// INFO started
}

// What a worker's handler logs with its ctx carries where it ran.
func ExampleNewHandler_origin() {
	hub := open()
	defer hub.Close()
	h := logs.NewHandler(hub)
	ctx := rpw.WithOrigin(context.Background(), rpw.Origin{Worker: "w1", Action: rpw.ActionRef{Queue: "resize", ID: "7"}, Attempt: 2})

	slog.New(h).WarnContext(ctx, "no space left")
	h.Flush(ctx)
	for r := range logs.Query(ctx, hub, rpw.LogQuery{LogFilter: rpw.LogFilter{Action: "resize/7"}}) {
		fmt.Println(r.Worker, r.Action, r.Attempt, r.Message)
	}
	// Output:
	// w1 resize/7 2 no space left
}

func ExampleQuery() {
	ctx := context.Background()
	hub := open()
	defer hub.Close()
	h := logs.NewHandler(hub)
	log := slog.New(h).WithGroup("http")
	log.Info("served", "status", 200, "path", "/")
	log.Error("failed", "status", 500, "path", "/cart")
	log.Info("served", "status", 200, "path", "/cart")
	h.Flush(ctx)

	cart := rpw.LogFilter{Attrs: map[string]string{"http.path": "/cart"}}
	for r, err := range logs.Query(ctx, hub, rpw.LogQuery{LogFilter: cart, Reverse: true}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Level, r.Message, string(r.Attrs))
	}
	// Output:
	// INFO served {"http":{"status":200,"path":"/cart"}}
	// ERROR failed {"http":{"status":500,"path":"/cart"}}
}

func ExampleTail() {
	ctx := context.Background()
	hub := open()
	defer hub.Close()
	warn := slog.LevelWarn
	tail := logs.Tail(ctx, hub, rpw.LogFilter{Level: &warn}, rpw.Newest())

	log := slog.New(logs.NewHandler(hub))
	log.Info("working")
	log.Warn("slow", "took", "3s")
	log.Error("stopped")

	for r, err := range tail {
		if err != nil {
			fmt.Println(err) // a gap, or the end
			continue
		}
		fmt.Println(r.Level, r.Message)
		if r.Level == slog.LevelError {
			break
		}
	}
	// Output:
	// WARN slow
	// ERROR stopped
}

// No text from outside can forge a line or a colour.
func ExampleConsole() {
	log := slog.New(logs.Console(os.Stdout, logs.ConsoleTime("-")))
	log.Info("login of \x1b[31mroot\r\n- ERR disk full", "name", "x\ny")
	// Output:
	// - INF login of \x1b[31mroot\r\n- ERR disk full name="x\ny"
}
