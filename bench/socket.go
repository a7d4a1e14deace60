package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/socket"
)

// socketArea is what a WebSocket puts between a program and a store in memory.
var socketArea = area{
	name:  "socket",
	title: "Over WebSockets",
	notes: "100 bytes an event; server and clients in one process, over the loopback, the store in memory. Latency: from before a publish over one connection until a subscriber on " +
		"another has it, one at a time. To 100: deliveries to 100 clients of what the server publishes, at most 4,096 events ahead of the slowest; latency there is that of the call that " +
		"publishes.",
	contestants: []contestant{
		{name: "rpw, latency", run: socketLatency},
		{name: "echo, latency", run: echoLatency, about: "the limit: a message there and back on the same library"},
		{name: "centrifuge, latency", run: centrifugeLatency, about: "JSON; published in the server's process, so that one way less is on the wire"},
		{name: "rpw, to 100", run: socketFanOut(100), about: "each client a Hub, with a subscription that decodes JSON"},
		{name: "centrifuge, to 100", run: centrifugeFanOut(centrifugeJSON), about: "JSON; its clients count messages and decode nothing; nothing is kept"},
		{name: "centrifuge with a delay, to 100", run: centrifugeFanOut(centrifugeDelayed), about: "JSON; it gathers messages for 2 ms"},
		{name: "centrifuge protobuf, to 100", run: centrifugeFanOut(centrifugeProtobuf)},
		{name: "direct writes, to 100", run: directFanOut, about: "a message a write to each client in turn, on the same library"},
	},
	targets: []target{
		{id: "ws-p50", what: "publish to subscriber over the socket, p50, to a raw echo", metric: P50, of: "rpw, latency", to: "echo, latency", want: 2.5, beyond: 1.5, atMost: true},
		{id: "ws-fan", what: "deliveries to 100 clients, to centrifuge JSON", metric: Rate, of: "rpw, to 100", to: "centrifuge, to 100", want: 1.5, beyond: 3},
	},
}

// smallPayload is JSON of 100 bytes.
var smallPayload = append(append([]byte{'"'}, payload[1:99]...), '"')

// listen serves on a loopback port until it is stopped.
func listen(h http.Handler) (url string, stop func()) {
	web := httptest.NewServer(h)
	return "ws" + web.URL[len("http"):], func() {
		web.CloseClientConnections()
		web.Close()
	}
}

// serve puts a store in memory behind a server.
func serve(ctx context.Context) (hub *rpw.Hub, url string, stop func(), err error) {
	if hub, err = rpw.Open(ctx, "memory://"); err != nil {
		return nil, "", nil, err
	}
	server, err := socket.NewServer(hub, socket.Config{AllowAnonymous: true, Logger: quiet})
	if err != nil {
		return nil, "", nil, err
	}
	url, unlisten := listen(server)
	return hub, url, func() {
		server.Close()
		unlisten()
		hub.Close()
	}, nil
}

func socketLatency(ctx context.Context, t *trial) (Sample, error) {
	_, url, stop, err := serve(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	publisher, err := rpw.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer publisher.Close()
	subscriber, err := rpw.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer subscriber.Close()
	got := make(arrivals, 1)
	unsubscribe, err := follow(ctx, subscriber, events, got.now)
	if err != nil {
		return nil, err
	}
	defer unsubscribe()
	return t.oneByOne(ctx, t.Length, breath, func() (time.Time, error) {
		if _, err := events.PublishBatch(ctx, publisher, rpw.NewEvent{Type: "t", Data: smallPayload}); err != nil {
			return time.Time{}, err
		}
		return <-got, nil
	})
}

func socketFanOut(clients int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		hub, url, stop, err := serve(ctx)
		if err != nil {
			return nil, err
		}
		defer stop()
		readers := newReaders(clients)
		for _, r := range readers {
			client, err := openPatiently(ctx, url)
			if err != nil {
				return nil, err
			}
			defer client.Close()
			if _, err := follow(ctx, client, events, func() { r.got.Add(1) }); err != nil {
				return nil, err
			}
		}
		return t.fanOut(ctx, readers, func() error {
			_, err := events.PublishBatch(ctx, hub, rpw.NewEvent{Type: "t", Data: smallPayload})
			return err
		})
	}
}

// openPatiently comes back as often as the server asks for it: of so many connects from one address it takes 500 at once, and then 50 a second.
func openPatiently(ctx context.Context, url string) (hub *rpw.Hub, err error) {
	for range 1_000 {
		if hub, err = rpw.Open(ctx, url); !errors.Is(err, rpw.ErrUnavailable) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return hub, err
}

// dial connects to a server; messages may be large.
func dial(ctx context.Context, url string) (*websocket.Conn, error) {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err == nil {
		conn.SetReadLimit(-1)
	}
	return conn, err
}

func echoLatency(ctx context.Context, t *trial) (Sample, error) {
	url, stop := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	defer stop()
	conn, err := dial(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.CloseNow()
	return t.oneByOne(ctx, t.Length, breath, func() (time.Time, error) {
		if err := conn.Write(ctx, websocket.MessageBinary, smallPayload); err != nil {
			return time.Time{}, err
		}
		_, _, err := conn.Read(ctx)
		return time.Now(), err
	})
}

// dialect is how a client speaks with centrifuge.
type dialect struct {
	query   string
	kind    websocket.MessageType
	connect []byte                 // the first command
	count   func(frame []byte) int // of the messages in a frame
	delay   time.Duration          // for which the server gathers messages
}

var (
	centrifugeJSON = dialect{
		kind:    websocket.MessageText,
		connect: []byte(`{"id":1,"connect":{}}`),
		count:   func(frame []byte) int { return bytes.Count(bytes.TrimSuffix(frame, []byte("\n")), []byte("\n")) + 1 },
	}
	centrifugeDelayed  = dialect{kind: centrifugeJSON.kind, connect: centrifugeJSON.connect, count: centrifugeJSON.count, delay: 2 * time.Millisecond}
	centrifugeProtobuf = dialect{
		query:   "?cf_protocol=protobuf",
		kind:    websocket.MessageBinary,
		connect: []byte{4, 0x08, 1, 0x22, 0}, // its length; Command{id: 1, connect: {}}
		count: func(frame []byte) (n int) {
			for ; len(frame) > 0; n++ {
				size, prefix := binary.Uvarint(frame)
				frame = frame[prefix+int(size):]
			}
			return n
		},
	}
)

// serveCentrifuge puts a node behind a server, and connects so many clients, which call got with how many messages came.
func serveCentrifuge(ctx context.Context, d dialect, clients int, got func(client, messages int)) (node *centrifuge.Node, stop func(), err error) {
	if node, err = newNode(d.delay); err != nil {
		return nil, nil, err
	}
	url, unlisten := listen(centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: time.Hour, PongTimeout: time.Minute},
	}))
	var conns []*websocket.Conn
	var wg sync.WaitGroup
	stop = func() {
		for _, conn := range conns {
			conn.CloseNow()
		}
		wg.Wait()
		node.Shutdown(context.Background())
		unlisten()
	}
	for client := range clients {
		conn, err := dial(ctx, url+d.query)
		if err != nil {
			return nil, nil, err
		}
		conns = append(conns, conn)
		if err := conn.Write(ctx, d.kind, d.connect); err != nil {
			return nil, nil, err
		}
		if _, _, err := conn.Read(ctx); err != nil { // its answer
			return nil, nil, err
		}
		wg.Go(func() {
			for {
				_, frame, err := conn.Read(ctx)
				if err != nil {
					return
				}
				got(client, d.count(frame))
			}
		})
	}
	return node, stop, nil
}

func centrifugeLatency(ctx context.Context, t *trial) (Sample, error) {
	got := make(arrivals, 1)
	node, stop, err := serveCentrifuge(ctx, centrifugeJSON, 1, func(int, int) { got.now() })
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.oneByOne(ctx, t.Length, breath, func() (time.Time, error) {
		if _, err := node.Publish("events", smallPayload); err != nil {
			return time.Time{}, err
		}
		return <-got, nil
	})
}

func centrifugeFanOut(d dialect) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		readers := newReaders(100)
		node, stop, err := serveCentrifuge(ctx, d, len(readers), func(client, messages int) { readers[client].got.Add(int64(messages)) })
		if err != nil {
			return nil, err
		}
		defer stop()
		return t.fanOut(ctx, readers, func() error {
			_, err := node.Publish("events", smallPayload)
			return err
		})
	}
}

func directFanOut(ctx context.Context, t *trial) (Sample, error) {
	accepted := make(chan *websocket.Conn)
	url, stop := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, nil); err == nil {
			accepted <- conn
			<-conn.CloseRead(r.Context()).Done()
		}
	}))
	defer stop()
	readers := newReaders(100)
	var servers []*websocket.Conn
	for _, r := range readers {
		conn, err := dial(ctx, url)
		if err != nil {
			return nil, err
		}
		defer conn.CloseNow()
		servers = append(servers, <-accepted)
		go func() {
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
				r.got.Add(1)
			}
		}()
	}
	return t.fanOut(ctx, readers, func() error {
		for _, conn := range servers {
			if err := conn.Write(ctx, websocket.MessageBinary, smallPayload); err != nil {
				return err
			}
		}
		return nil
	})
}
