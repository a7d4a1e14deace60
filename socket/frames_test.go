package socket

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTextFrames is B38 and B39: the native protocol is binary, so text, valid or not, ends the connection.
func TestTextFrames(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	for _, text := range []string{`{"type":"ping"}`, "\xff\xfe", ""} {
		c := s.connect(nil)
		c.Write(rawFrame(fin|opText, []byte(text)))
		code, _ := c.closed()
		assert.Equal(t, websocket.StatusUnsupportedData, code, "%q", text)
	}
	s.gone()
}

// TestBrokenFrames is B40: what breaks the WebSocket protocol ends the connection with 1002, and is no flood of log lines.
func TestBrokenFrames(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	closing := func(code uint16, reason string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, code), reason...)
	}
	for what, data := range map[string][]byte{
		"unmasked":                   {fin | opBinary, 1, 'x'},
		"reserved opcode":            rawFrame(fin|3, nil),
		"reserved control opcode":    rawFrame(fin|11, nil),
		"first reserved bit":         rawFrame(fin|rsv1|opBinary, []byte("x")), // B42: of a compressed message
		"second reserved bit":        rawFrame(fin|rsv2|opBinary, []byte("x")),
		"third reserved bit":         rawFrame(fin|rsv3|opBinary, []byte("x")),
		"continuation of nothing":    rawFrame(fin|opContinuation, []byte("x")),
		"message within a message":   append(rawFrame(opBinary, []byte("x")), rawFrame(fin|opBinary, []byte("y"))...),
		"fragmented ping":            rawFrame(opPing, nil),
		"long ping":                  rawFrame(fin|opPing, make([]byte, 126)),
		"negative length":            rawHeader(fin|opBinary, 1<<63),
		"close with one byte":        rawFrame(fin|opClose, []byte{3}),
		"close with a reserved code": rawFrame(fin|opClose, closing(1005, "")),
		"close with no code":         rawFrame(fin|opClose, closing(99, "")),
		"close with a long reason":   rawFrame(fin|opClose, closing(1000, strings.Repeat("x", 124))), // B64
	} {
		c := s.connect(nil)
		c.until(t, packetHello) // what cannot be written any more would say that the client is gone
		_, err := c.Write(data)
		require.NoError(t, err, what)
		code, reason := c.closed()
		assert.Equal(t, websocket.StatusProtocolError, code, "%s: %s", what, reason)
	}
	s.gone()
	assert.Equal(t, map[string]uint64{"1002": 15}, s.srv.Stats().Closed)
	before := s.log.lines()
	for range 300 {
		c := s.connect(nil)
		c.Write([]byte{fin | opBinary, 1, 'x'})
		c.closed()
	}
	s.gone()
	assert.Less(t, s.log.lines()-before, 200)
}

// TestClosingByTheClient: its close frame is answered, with any code, and no code of its makes a new kind in the figures.
func TestClosingByTheClient(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	for _, code := range []uint16{1000, 1001, 3000, 4321} {
		c := s.connect(nil)
		c.until(t, packetHello) // what cannot be written any more would say that the client is gone
		c.Write(rawFrame(fin|opClose, binary.BigEndian.AppendUint16(nil, code)))
		got, _ := c.closed()
		assert.Equal(t, websocket.StatusCode(code), got)
	}
	c := s.connect(nil)
	c.until(t, packetHello)
	c.Write(rawFrame(fin|opClose, nil))
	c.closed()
	s.connect(nil).Close()
	s.gone()
	assert.Equal(t, map[string]uint64{"1000": 1, "1001": 1, "1005": 1, "other": 2, "gone": 1}, s.srv.Stats().Closed)
}

// TestMessageThatNeverComes is B41: a header that promises 2^62 bytes takes no memory, and time runs out for the rest. It protects K4.
func TestMessageThatNeverComes(t *testing.T) { // not parallel: it measures
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{MessageTime: 300 * time.Millisecond}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	silent := s.connect(nil)
	silent.Write(rawHeader(fin|opBinary, 1<<62))
	code, _ := silent.closed()
	assert.Equal(t, websocket.StatusPolicyViolation, code)
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
	s.gone()
}

// TestMessageThatNeverEnds is B41 and B43: whoever sends a message for ever, in empty parts or byte by byte, is closed. It protects K4.
func TestMessageThatNeverEnds(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{MessageTime: 300 * time.Millisecond}})
	fragments := s.connect(nil)
	fragments.Write(rawFrame(opBinary, nil))
	go fragments.flood(rawFrame(opContinuation, nil))
	code, _ := fragments.closed()
	assert.Equal(t, websocket.StatusPolicyViolation, code)

	trickle := s.connect(nil)
	trickle.Write(rawHeader(fin|opBinary, 1<<10))
	go func() {
		for ; ; time.Sleep(10 * time.Millisecond) {
			if _, err := trickle.Write([]byte{0}); err != nil {
				return
			}
		}
	}()
	code, _ = trickle.closed()
	assert.Equal(t, websocket.StatusPolicyViolation, code)
	s.gone()
}

// TestCompressionIsOff is B42: it is not negotiated, so there are no bombs.
func TestCompressionIsOff(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	res, c := s.knock(func(r *http.Request) {
		r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
	})
	assert.Empty(t, res.Header.Values("Sec-WebSocket-Extensions"))
	bomb := []byte("\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a")
	c.Write(rawFrame(fin|rsv1|opBinary, bytes.Repeat(bomb, 1000)))
	code, _ := c.closed()
	assert.Equal(t, websocket.StatusProtocolError, code)
	s.gone()
}

// TestPingFlood is B43: a few pings are answered, a flood of them, or of pongs, ends the connection. It protects K4.
func TestPingFlood(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	calm := s.connect(nil)
	calm.Write(rawFrame(fin|opPing, []byte("still there?")))
	for {
		opcode, payload, err := calm.next()
		require.NoError(t, err)
		if opcode == opPong {
			assert.Equal(t, "still there?", string(payload))
			break
		}
	}
	for _, opcode := range []byte{opPing, opPong} {
		c := s.connect(nil)
		go c.flood(rawFrame(fin|opcode, []byte("x")))
		code, reason := c.closed()
		assert.Equal(t, websocket.StatusPolicyViolation, code)
		assert.Equal(t, errPings.Reason, reason)
	}
	s.eventually(func(now Stats) bool { return now.Connections == 1 }) // others go on
}

// TestMessageFlood is B43, too.
func TestMessageFlood(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	c := s.connect(nil)
	go c.flood(rawFrame(fin|opBinary, nil))
	code, reason := c.closed()
	assert.Equal(t, websocket.StatusPolicyViolation, code)
	assert.Equal(t, "too many messages that are no requests", reason)
	s.gone()
}

// TestMessageRate is B43 and B47: a client that sends more messages than it may is read no faster than that, and loses nothing.
func TestMessageRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{limits: Limits{Messages: 100}, clock: clock{time.Now()}}
		began := time.Now()
		for range 1100 {
			require.NoError(t, p.message(t.Context(), 1))
		}
		assert.InDelta(t, 10, time.Since(began).Seconds(), 0.1, "a burst of 100, then 100 a second")
		time.Sleep(time.Minute)
		began = time.Now()
		for range 100 {
			require.NoError(t, p.message(t.Context(), 1))
		}
		assert.Zero(t, time.Since(began), "the burst is back")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGone)
		assert.Equal(t, errGone, p.message(ctx, 1))
	})
}

// TestLargeMessage is B12 and B44: over the limit it is refused with 1009, however it comes in parts.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{Message: 1 << 16}})
	for what, data := range map[string][]byte{
		"whole":    rawFrame(fin|opBinary, make([]byte, 1<<16+1)),
		"in parts": append(rawFrame(opBinary, make([]byte, 1<<15)), rawFrame(fin|opContinuation, make([]byte, 1<<15+1))...),
	} {
		c := s.connect(nil)
		c.Write(data)
		code, _ := c.refused(t)
		assert.Equal(t, websocket.StatusMessageTooBig, code, what)
	}
	s.gone()
}

// TestBadMessages is B45: what is no request is answered, and a hundred a minute of it end the connection.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{Bad: 5}})
	c := s.connect(nil)
	for range 5 {
		c.Write(rawFrame(fin|opBinary, []byte("\xff\xff no request")))
	}
	c.Write(rawFrame(fin|opPing, nil))
	for opcode := byte(0); opcode != opPong; {
		var err error
		opcode, _, err = c.next()
		require.NoError(t, err, "it stays open")
	}
	c.Write(rawFrame(fin|opBinary, []byte("one more")))
	code, _ := c.refused(t)
	assert.Equal(t, websocket.StatusPolicyViolation, code)
	s.gone()
}

// TestCloseReasons is B64: they are cut at 123 bytes, between characters; with more no close frame would be sent.
func TestCloseReasons(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "short", closeReason("short"))
	assert.Equal(t, strings.Repeat("x", 123), closeReason(strings.Repeat("x", 124)))
	assert.Equal(t, strings.Repeat("€", 41), closeReason(strings.Repeat("€", 42)))
	assert.Equal(t, "x"+strings.Repeat("€", 40), closeReason("x"+strings.Repeat("€", 42)))
	assert.Equal(t, "\uFFFDx", closeReason("\xff\xfex"))
}
