package socket_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/socket"
)

// Browser clients of the original redis-process-worker connect as they are, from the pages that are listed. Over
// "redis://localhost?layout=original&prefix=chat" they share streams and cache with processes of the original.
func ExampleConfig_original() {
	ctx := context.Background()
	hub, err := rpw.Open(ctx, "memory://")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()
	server, err := socket.NewServer(hub, socket.Config{
		Original:       true,
		AllowAnonymous: true,
		Origins:        []string{"http://localhost:7400"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()

	page, _, err := websocket.Dial(ctx, strings.Replace(web.URL, "http", "ws", 1), &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"http://localhost:7400"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer page.CloseNow()
	for _, message := range []string{
		`{"type":"setVal","requestId":"1","key":"room","value":{"topic":"rpw"}}`,
		`{"type":"getVal","requestId":"2","key":"room"}`,
		`{"type":"listen","stream":"chat"}`,
	} {
		if err := page.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			log.Fatal(err)
		}
		_, answer, err := page.Read(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(answer))
	}
	// Output:
	// {"response":true,"requestId":"1","ok":true}
	// {"response":true,"requestId":"2","ok":true,"value":{"topic":"rpw"}}
	// {"response":true,"ok":true,"subscribed":"chat"}
}
