package socket

import (
	"encoding/binary"
	"reflect"
	"time"
)

// A message is a run of packets, so that many small ones share one. A packet is its length, as a varint, then the kind in one byte, the id of the request as a
// varint (0 if it belongs to none), and the body. Bodies are values as codec.go writes them; that of a request has the number of its operation before.

// packetKind says what a packet is.
type packetKind byte

// The kinds. A server refuses one that it does not know, a client closes the connection on it: a new kind needs a new subprotocol, or a word in hello.
const (
	_             packetKind = iota
	packetHello              // server: first of all; body: hello
	packetRequest            // client: the number of an operation, and its request
	packetReply              // server: the answer of the operation
	packetFailure            // server: the operation failed; body: failure
	packetCancel             // client: the caller has left; the request is still replied to
	packetRefresh            // client: another credential, replied to like a request; body: refresh
	packetLeave              // server: come back elsewhere; body: leave
)

// hello is what a server says first.
type hello struct {
	Requests int           // that may be in flight at a time
	Waits    int           // that may wait at a time, beside the requests
	Message  int           // bytes of a message to the server
	Lifetime time.Duration // of the credential, from now; 0: without end
}

// refresh brings another credential for the rest of the connection.
type refresh struct{ Token string }

// refreshed answers it.
type refreshed struct {
	Lifetime time.Duration // of the new credential; 0: without end
}

// leave asks a client to go, at a random time within After.
type leave struct{ After time.Duration }

var (
	helloPlan     = planOf(reflect.TypeFor[hello]())
	refreshPlan   = planOf(reflect.TypeFor[refresh]())
	refreshedPlan = planOf(reflect.TypeFor[refreshed]())
	leavePlan     = planOf(reflect.TypeFor[leave]())
)

// packet is a packet that has come. Its body is part of the message.
type packet struct {
	kind packetKind
	id   uint64
	body []byte
}

// nextPacket takes the first packet off a message.
func nextPacket(message []byte) (f packet, rest []byte, err error) {
	d := decoder{b: message}
	inner := decoder{b: d.take(d.uvarint())}
	if d.err == nil && len(inner.b) == 0 {
		d.fail("a packet is empty")
	}
	if d.err != nil {
		return f, nil, d.err
	}
	f.kind = packetKind(inner.b[0])
	inner.b = inner.b[1:]
	f.id = inner.uvarint()
	f.body = inner.b
	return f, d.b, inner.err
}

// appendPacket appends a packet to a message; body appends its body.
func appendPacket(b []byte, kind packetKind, id uint64, body func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, byte(kind)) // the length of most packets takes one byte
	b = binary.AppendUvarint(b, id)
	if body != nil {
		b = body(b)
	}
	var length [binary.MaxVarintLen64]byte
	size := len(b) - start - 1
	n := binary.PutUvarint(length[:], uint64(size))
	if n > 1 {
		b = append(b, length[:n-1]...)
		copy(b[start+n:], b[start+1:start+1+size])
	}
	copy(b[start:], length[:n])
	return b
}
