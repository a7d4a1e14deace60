package socket

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestRequestFlood is B47: what is over a limit is answered with ErrFull, and the rest goes on. It protects K4.
func TestRequestFlood(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true, Limits: Limits{Waits: 3}})
	c := s.connect(nil)
	wait := func(id uint64) []byte {
		return rawRequest(id, opRead, rpw.ReadRequest{Stream: "x", Wait: time.Minute})
	}
	for id := range uint64(10) {
		c.Write(rawFrame(fin|opBinary, wait(id+1)))
	}
	c.Write(rawFrame(fin|opBinary, rawRequest(11, opStreams, rpw.StreamsRequest{}))) // the rest has been looked at when this is answered
	full := 0
	for rest := true; rest; {
		for _, f := range c.packets(t) {
			if f.kind == packetFailure {
				assert.Equal(t, "full", failed(t, f).Code)
				full++
			}
			rest = rest && f.id != 11
		}
	}
	assert.Equal(t, 7, full)
	assert.Equal(t, 3, s.srv.Stats().Waits)
	c.Close()
	s.gone()
}

// TestManyNames: a message full of names, which no Hub takes, costs little more than its own bytes: nobody is asked about each of them (K4).
func TestManyNames(t *testing.T) {
	t.Parallel()
	hub, asked := memoryHub(t), 0
	d := directTo(t, &peer{hub: hub, authorize: func(context.Context, Identity, Access) error { asked++; return nil }})
	d.ask(1, opGet, &rpw.GetRequest{Keys: slices.Repeat([]string{"k"}, 500_000)})
	assert.Equal(t, "too_large", d.failure(1))
	assert.Zero(t, asked)
	d.ask(2, opGet, &rpw.GetRequest{Keys: slices.Repeat([]string{"k"}, rpw.MaxBatch)})
	assert.Equal(t, packetReply, d.next().kind)
	assert.Equal(t, rpw.MaxBatch, asked)
}

// TestRequestIDs is B46: the id of a request in flight cannot be used for another, nor can 0.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	c := s.connect(nil)
	wait := rawRequest(1, opRead, rpw.ReadRequest{Stream: "x", Wait: time.Minute})
	c.Write(rawFrame(fin|opBinary, wait))
	c.Write(rawFrame(fin|opBinary, wait))
	c.Write(rawFrame(fin|opBinary, rawRequest(0, opStreamInfo, "x")))
	for n := 0; n < 2; {
		for _, f := range c.packets(t) {
			if f.kind == packetFailure {
				assert.Equal(t, "invalid", failed(t, f).Code)
				n++
			}
		}
	}
	assert.Equal(t, 1, s.srv.Stats().Waits)
}

// rawRequest returns a message with one request.
func rawRequest[Q, A any](id uint64, v *verb[Q, A], q Q) []byte {
	return appendPacket(nil, packetRequest, id, func(b []byte) []byte {
		return v.info().request.append(binary.AppendUvarint(b, v.number), &q)
	})
}

// packets reads a message of the native protocol.
func (c *rawConn) packets(t testing.TB) (list []packet) {
	opcode, message, err := c.next()
	require.NoError(t, err)
	if opcode != opBinary {
		return nil
	}
	for len(message) > 0 {
		f, rest, err := nextPacket(message)
		require.NoError(t, err)
		list, message = append(list, f), rest
	}
	return list
}

func failed(t testing.TB, f packet) (out failure) {
	require.NoError(t, failurePlan.parse(f.body, &out))
	return out
}

// TestLargePayload is B12: a payload over the limit is ErrTooLarge before it is sent, and the connection stays.
func TestLargePayload(t *testing.T) {
	t.Parallel()
	s := openSite(t, Config{AllowAnonymous: true})
	ctx, h := within(t), s.client("")
	_, err := h.Cache().Set(ctx, []rpw.CacheSet{{Key: "x", Data: make([]byte, rpw.MaxPayload+1), TTL: rpw.NoTTL}})
	assert.ErrorIs(t, err, rpw.ErrTooLarge)
	_, err = h.Cache().Set(ctx, []rpw.CacheSet{{Key: "x", Data: make([]byte, rpw.MaxPayload), TTL: rpw.NoTTL}})
	assert.NoError(t, err)

	c := s.connect(nil) // a client without a guard
	c.Write(rawFrame(fin|opBinary, rawRequest(1, opSet, []rpw.CacheSet{{Key: "y", Data: make([]byte, rpw.MaxPayload+1), TTL: rpw.NoTTL}})))
	for answered := false; !answered; {
		for _, f := range c.packets(t) {
			if f.kind == packetFailure {
				assert.Equal(t, "too_large", failed(t, f).Code)
				answered = true
			}
		}
	}
	assert.Equal(t, uint64(2), s.srv.Stats().Accepted, "the connection of the client was not lost")
}
