package socket

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

func originalHub(t testing.TB, opts ...rpw.Option) *rpw.Hub {
	t.Helper()
	h, err := rpw.New(memory.New(memory.Options{}).Parts(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h
}

// inTime is how long tests wait for what must come.
const inTime = 20 * time.Second

// originalServer serves hub to clients of the original, anonymous ones if config does not say otherwise, and returns where.
func originalServer(t testing.TB, hub *rpw.Hub, config Config) (url string) {
	t.Helper()
	_, url = startOriginal(t, hub, config)
	return url
}

func startOriginal(t testing.TB, hub *rpw.Hub, config Config) (s *Server, url string) {
	t.Helper()
	config.Original = true
	config.AllowAnonymous = config.Authenticate == nil
	config.Logger = slog.New(slog.DiscardHandler)
	s, err := NewServer(hub, config)
	require.NoError(t, err)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		web.Close()
	})
	return s, "ws" + strings.TrimPrefix(web.URL, "http")
}

// rawClient talks in frames.
type rawClient struct {
	t    testing.TB
	conn *websocket.Conn
}

func dialOriginal(t testing.TB, url string) rawClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), inTime)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, nil)
	require.NoError(t, err)
	conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	return rawClient{t, conn}
}

func (c rawClient) send(frames ...string) {
	c.t.Helper()
	for _, frame := range frames {
		require.NoError(c.t, c.conn.Write(c.t.Context(), websocket.MessageText, []byte(frame)))
	}
}

// next returns the next frame.
func (c rawClient) next() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), inTime)
	defer cancel()
	typ, data, err := c.conn.Read(ctx)
	require.NoError(c.t, err)
	require.Equal(c.t, websocket.MessageText, typ)
	return string(data)
}

// ask sends a frame and returns the next one.
func (c rawClient) ask(frame string) string {
	c.t.Helper()
	c.send(frame)
	return c.next()
}

// closed waits for the end of the connection, and returns its code.
func (c rawClient) closed() websocket.StatusCode {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), inTime)
	defer cancel()
	for {
		if _, _, err := c.conn.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// originalFrame is what the original's client sees of a frame.
type originalFrame struct {
	Type        string          `json:"type"`
	OK          bool            `json:"ok"`
	RequestID   json.RawMessage `json:"requestId"`
	RequestMeta json.RawMessage `json:"requestMeta"`
	Error       json.RawMessage `json:"error"`
	Value       json.RawMessage `json:"value"`
	Values      []originalEntry `json:"values"`
	Stream      string          `json:"stream"`
	EventType   string          `json:"eventType"`
	Data        json.RawMessage `json:"data"`
	ID          string          `json:"id"`
}

type originalEntry struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// originalClient follows the rules of the original's browser client: requests have a UUID, a reply is matched by its requestId alone and resolves
// with the whole frame, errors too; listen and unlisten have none, and their answers are not looked at; frames of type event or response with
// a stream go to its listeners.
type originalClient struct {
	t    testing.TB
	conn *websocket.Conn

	mu        sync.Mutex
	pending   map[string]chan originalFrame
	listeners map[string][]func(originalFrame)
}

func connectOriginal(t testing.TB, url string) *originalClient {
	t.Helper()
	c := &originalClient{t: t, conn: dialOriginal(t, url).conn, pending: map[string]chan originalFrame{}, listeners: map[string][]func(originalFrame){}}
	var reading sync.WaitGroup
	reading.Go(c.read)
	t.Cleanup(func() {
		c.conn.CloseNow()
		reading.Wait()
	})
	return c
}

func (c *originalClient) read() {
	for {
		_, data, err := c.conn.Read(context.Background())
		if err != nil {
			return
		}
		var frame originalFrame
		if !assert.NoError(c.t, json.Unmarshal(data, &frame), "%s", data) {
			return
		}
		c.take(frame)
	}
}

func (c *originalClient) take(frame originalFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var id string
	_ = json.Unmarshal(frame.RequestID, &id)
	if waiting, ok := c.pending[id]; ok {
		delete(c.pending, id)
		waiting <- frame
		return
	}
	if (frame.Type == "event" || frame.Type == "response") && frame.Stream != "" {
		for _, listener := range c.listeners[frame.Stream] {
			listener(frame)
		}
	}
}

func (c *originalClient) send(message map[string]any) {
	data, err := json.Marshal(message)
	require.NoError(c.t, err)
	require.NoError(c.t, c.conn.Write(context.Background(), websocket.MessageText, data))
}

// start sends a request whose reply comes from the channel.
func (c *originalClient) start(message map[string]any) <-chan originalFrame {
	id := uuid.NewString()
	message["requestId"] = id
	reply := make(chan originalFrame, 1)
	c.mu.Lock()
	c.pending[id] = reply
	c.mu.Unlock()
	c.send(message)
	return reply
}

func (c *originalClient) request(message map[string]any) originalFrame {
	c.t.Helper()
	select {
	case frame := <-c.start(message):
		return frame
	case <-time.After(inTime):
		require.Fail(c.t, "no reply", "to %v", message)
		panic("unreachable")
	}
}

// ok is a request that must succeed.
func (c *originalClient) ok(message map[string]any) originalFrame {
	c.t.Helper()
	frame := c.request(message)
	require.Empty(c.t, string(frame.Error))
	require.True(c.t, frame.OK)
	return frame
}

// listen hands the events of a stream to the channel. Like the original's it does not wait for the acknowledgement, so that a request which follows it on
// the connection is what tells that it was carried out.
func (c *originalClient) listen(stream string) <-chan originalFrame {
	events := make(chan originalFrame, 100_000)
	c.mu.Lock()
	c.listeners[stream] = append(c.listeners[stream], func(frame originalFrame) { events <- frame })
	c.mu.Unlock()
	c.send(map[string]any{"type": "listen", "stream": stream})
	return events
}

func (c *originalClient) unlisten(stream string) {
	c.mu.Lock()
	delete(c.listeners, stream)
	c.mu.Unlock()
	c.send(map[string]any{"type": "unlisten", "stream": stream})
}

// nextEvent takes the next event.
func nextEvent(t testing.TB, events <-chan originalFrame) originalFrame {
	t.Helper()
	select {
	case frame := <-events:
		return frame
	case <-time.After(inTime):
		require.Fail(t, "no event")
		panic("unreachable")
	}
}

// testConn is a connection to a client that takes frames from out one by one, when it likes, and closes
// in to leave.
type testConn struct {
	in, out chan string
	gone    context.Context
	drop    context.CancelFunc
}

// serveTestConn serves a client until the test ends.
func serveTestConn(t *testing.T, hub *rpw.Hub, limits Limits) *testConn {
	gone, drop := context.WithCancel(context.Background())
	c := &testConn{in: make(chan string), out: make(chan string), gone: gone, drop: drop}
	var serving sync.WaitGroup
	serving.Go(func() { _ = serveOriginal(context.Background(), c, &peer{hub: hub, limits: limits}) })
	t.Cleanup(func() {
		close(c.in)
		serving.Wait()
	})
	return c
}

var errTestGone = errors.New("gone")

func (c *testConn) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	select {
	case text, ok := <-c.in:
		if !ok {
			c.drop()
			return 0, nil, errTestGone
		}
		return websocket.MessageText, []byte(text), nil
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-c.gone.Done():
		return 0, nil, errTestGone
	}
}

func (c *testConn) Write(ctx context.Context, _ websocket.MessageType, data []byte) error {
	select {
	case c.out <- string(data):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.gone.Done():
		return errTestGone
	}
}

func (c *testConn) Ping(context.Context) error               { return nil }
func (c *testConn) Close(websocket.StatusCode, string) error { return c.CloseNow() }
func (c *testConn) CloseNow() error                          { c.drop(); return nil }
