package socket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
)

// soon is a generous deadline for what happens soon.
const soon = 20 * time.Second

// site is a Server on a loopback port.
type site struct {
	t    testing.TB
	hub  *rpw.Hub
	srv  *Server
	addr string
	log  *lockedBuffer
}

// openSite starts a server over a fresh memory Hub; serveSite, over any.
func openSite(t testing.TB, config Config) *site {
	hub, err := rpw.Open(t.Context(), "memory://")
	require.NoError(t, err)
	t.Cleanup(func() { hub.Close() })
	return serveSite(t, hub, config)
}

func serveSite(t testing.TB, hub *rpw.Hub, config Config) *site {
	s := &site{t: t, hub: hub, log: new(lockedBuffer)}
	config.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	s.srv, err = NewServer(hub, config)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = listener.Addr().String()
	web := s.srv.HTTPServer()
	var serving sync.WaitGroup
	serving.Go(func() { web.Serve(listener) })
	t.Cleanup(func() {
		assert.NoError(t, s.srv.Close())
		assert.NoError(t, web.Close())
		serving.Wait()
	})
	return s
}

// knock sends a handshake, changed by edit, and returns the answer. The connection is usable if it is 101.
func (s *site) knock(edit func(*http.Request)) (*http.Response, *rawConn) {
	nc, err := net.Dial("tcp", s.addr)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(3 * soon))
	req, err := http.NewRequest("GET", "http://"+s.addr+"/", nil)
	require.NoError(s.t, err)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": Subprotocol,
	} {
		req.Header.Set(name, value)
	}
	if edit != nil {
		edit(req)
	}
	require.NoError(s.t, req.Write(nc))
	r := bufio.NewReader(nc)
	res, err := http.ReadResponse(r, req)
	require.NoError(s.t, err)
	return res, &rawConn{nc, r}
}

// refused asserts that a handshake is refused, and returns what the client is told.
func (s *site) refused(status int, edit func(*http.Request)) string {
	s.t.Helper()
	res, _ := s.knock(edit)
	body, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	assert.Equal(s.t, status, res.StatusCode, "%s", body)
	return string(body)
}

// connect returns a connection that a handshake led to.
func (s *site) connect(edit func(*http.Request)) *rawConn {
	s.t.Helper()
	res, c := s.knock(edit)
	require.Equal(s.t, http.StatusSwitchingProtocols, res.StatusCode)
	return c
}

// client returns a Hub over the server, with a token if there is one.
func (s *site) client(token string) *rpw.Hub {
	s.t.Helper()
	url := "ws://" + s.addr
	if token != "" {
		url = "ws://:" + token + "@" + s.addr
	}
	hub, err := rpw.Open(s.t.Context(), url)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { hub.Close() })
	return hub
}

// eventually waits until what is true.
func (s *site) eventually(what func(Stats) bool) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return what(s.srv.Stats()) }, soon, 5*time.Millisecond)
}

// gone waits until the server has nothing left of its clients.
func (s *site) gone() {
	s.t.Helper()
	s.eventually(func(now Stats) bool { return now.Connections+now.Handshakes+now.Requests+now.Waits == 0 })
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// The opcodes of frames, and the bits beside them.
const (
	opContinuation, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10
	fin, rsv1, rsv2, rsv3                                     = 0x80, 0x40, 0x20, 0x10
)

// rawConn sends what no library would.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

// rawFrame returns a masked frame; the mask is zero.
func rawFrame(head byte, payload []byte) []byte {
	return append(rawHeader(head, uint64(len(payload))), payload...)
}

// rawHeader returns the header of a masked frame.
func rawHeader(head byte, length uint64) []byte {
	const masked = 0x80
	b := []byte{head}
	switch {
	case length < 126:
		b = append(b, masked|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), length)
	}
	return append(b, 0, 0, 0, 0)
}

// flood sends data over and over until the connection ends.
func (c *rawConn) flood(data []byte) {
	data = bytes.Repeat(data, 1+4096/len(data))
	for {
		if _, err := c.Write(data); err != nil {
			return
		}
	}
}

// next reads a frame.
func (c *rawConn) next() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		var long [2]byte
		_, err = io.ReadFull(c.r, long[:])
		length = uint64(binary.BigEndian.Uint16(long[:]))
	case 127:
		var long [8]byte
		_, err = io.ReadFull(c.r, long[:])
		length = binary.BigEndian.Uint64(long[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(c.r, payload)
	return head[0] & 0x0f, payload, err
}

// closed reads until the server closes the connection, and returns with which code; 0 without one.
func (c *rawConn) closed() (code websocket.StatusCode, reason string) {
	defer c.Close()
	return c.ending()
}

// refused is like closed, for a connection that must not go on after what was sent: it fails when a ping that follows is answered.
func (c *rawConn) refused(t testing.TB) (code websocket.StatusCode, reason string) {
	t.Helper()
	defer c.Close()
	mark := []byte("and then?")
	c.Write(rawFrame(fin|opPing, mark))
	for {
		opcode, payload, err := c.next()
		switch {
		case err != nil:
			return 0, err.Error()
		case opcode == opPong && bytes.Equal(payload, mark):
			t.Fatal("the connection goes on")
		case opcode == opClose && len(payload) >= 2:
			return websocket.StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
	}
}

// ending is like closed, but the close frame is not answered.
func (c *rawConn) ending() (code websocket.StatusCode, reason string) {
	for {
		opcode, payload, err := c.next()
		switch {
		case err != nil:
			return 0, err.Error()
		case opcode == opClose && len(payload) >= 2:
			return websocket.StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
	}
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) lines() int { return strings.Count(b.String(), "\n") }

// within returns a context for what is done soon.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return ctx
}
