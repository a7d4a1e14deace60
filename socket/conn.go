package socket

import (
	"context"
	"io"
	"slices"

	"github.com/coder/websocket"
)

// Subprotocol is the native protocol: binary messages, see packet.go. A later version gets a name of its own, and a server may speak both.
const Subprotocol = "rpw.v1"

// conn carries messages between two peers: a *websocket.Conn, or one end of a pipe within the process. One goroutine reads, one
// writes; a context that ends during Read or Write costs the connection, so it is always the connection's own. Whoever ends that context calls
// CloseNow as well, which ends them in any case.
type conn interface {
	// Read returns the next message. What it returns is the caller's.
	Read(ctx context.Context) (websocket.MessageType, []byte, error)
	// Write sends a message; it is done with data when it returns.
	Write(ctx context.Context, typ websocket.MessageType, data []byte) error
	// Ping waits for a pong; a reader must be running.
	Ping(ctx context.Context) error
	// Close sends a close frame and waits a little for the peer's. Its reason has at most 123 bytes.
	Close(code websocket.StatusCode, reason string) error
	// CloseNow drops the connection.
	CloseNow() error
}

// inbox reads messages in one piece each. It expects one of about the size of the one before, and copies one that is much smaller, since what is
// read may be kept long.
type inbox struct{ last int }

// fragment is the size of a frame of a message, at most: pings and pongs go between its frames, which both ends wait for, also while a large message takes long
// over a slow link.
const fragment = 2 * coalesce

// writeMessage writes a message, without a context.
func writeMessage(ws *websocket.Conn, typ websocket.MessageType, data []byte) error {
	ctx := context.Background()
	if len(data) <= fragment {
		return ws.Write(ctx, typ, data)
	}
	w, err := ws.Writer(ctx, typ)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(data, fragment) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

// leastMessage is room for a small message.
const leastMessage = 128

func (i *inbox) read(r io.Reader) (message []byte, err error) {
	message = make([]byte, 0, max(leastMessage, min(i.last+i.last/8, 2*coalesce)))
	for {
		n, err := r.Read(message[len(message):cap(message)])
		message = message[:len(message)+n]
		switch {
		case err == io.EOF:
			if i.last = len(message); leastMessage < cap(message) && len(message) < cap(message)/2 {
				message = slices.Clone(message)
			}
			return message, nil
		case err != nil:
			return nil, err
		case len(message) == cap(message):
			message = slices.Grow(message, len(message))
		}
	}
}

// The codes with which a server closes a connection, beside those of RFC 6455. Those from 4000 are for clients to act upon.
const (
	// closeRestart: the server stops; come back after a while, elsewhere if there is an elsewhere (RFC 6455 registry: service restart).
	closeRestart = websocket.StatusServiceRestart
	// closeBusy: no room at the moment; come back after a while (registry: try again later).
	closeBusy = websocket.StatusTryAgainLater
	// closeExpired: the credential has expired or was revoked; come back with another.
	closeExpired websocket.StatusCode = 4001
	// closeSlow: the client does not read what it asked for; it may come back and go on where it was.
	closeSlow websocket.StatusCode = 4008
)
