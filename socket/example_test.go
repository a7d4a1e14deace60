package socket_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/socket"
)

// endpoint serves a Hub to clients with a token, beside what a load balancer asks for.
func endpoint(hub *rpw.Hub, tokens *socket.Tokens) (*socket.Server, http.Handler, error) {
	server, err := socket.NewServer(hub, socket.Config{Authenticate: tokens.Authenticate})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", server)
	mux.HandleFunc("/healthz", server.Healthz)
	mux.HandleFunc("/readyz", server.Readyz)
	return server, mux, nil
}

// A server lets processes with a token share its Hub; a client opens it like any other.
func ExampleNewServer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()
	tokens, err := socket.NewTokens(strings.NewReader(`{"tokens": [
		{"name": "edge-1", "token": "a-long-random-text", "grants": [{"rights": ["read", "write"], "streams": ["orders*"]}]}
	]}`))
	if err != nil {
		log.Fatal(err)
	}
	server, handler, err := endpoint(hub, tokens)
	if err != nil {
		log.Fatal(err)
	}
	web := server.HTTPServer()
	web.Handler = handler
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- web.Serve(listener) }()

	client, err := rpw.Open(ctx, "ws://:a-long-random-text@"+listener.Addr().String()+"/ws")
	if err != nil {
		log.Fatal(err)
	}
	orders, bills := rpw.StreamOf[int]("orders"), rpw.StreamOf[int]("bills")
	_, err = orders.Publish(ctx, client, "placed", 1)
	fmt.Println(err)
	_, err = bills.Publish(ctx, client, "sent", 1)
	fmt.Println(err)
	client.Close()

	server.Shutdown(ctx) // first the connections, which http.Server forgets
	web.Shutdown(ctx)
	fmt.Println(<-served)
	// Output:
	// <nil>
	// rpw: publish "bills" (socket): permission denied: this client has no right to write the stream "bills"
	// http: Server closed
}
