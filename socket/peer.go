package socket

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

// peer is a connected client as its session sees it, whatever protocol it speaks. It is safe for concurrent use.
type peer struct {
	hub    *rpw.Hub
	limits Limits
}

// allow says whether the client may do all of accesses; the error is ErrPermission.
func (p *peer) allow(ctx context.Context, accesses ...Access) error { return nil }

// visible reports whether a name found by a listing may be shown.
func (p *peer) visible(ctx context.Context, a Access) bool { return p.allow(ctx, a) == nil }

// bind makes a producer's or a lane's id one of the client's identity, so that no client can speak for another's.
func (p *peer) bind(id [16]byte) [16]byte { return id }

// message counts a message of n bytes. An error closes the connection: it is a websocket.CloseError.
func (p *peer) message(n int) error { return nil }

// bad counts a message that is no request. An error closes the connection: it is a websocket.CloseError.
func (p *peer) bad() error { return nil }

// begin takes a place for a request, or for a wait; done gives it back. Without a free place the error is ErrFull.
func (p *peer) begin(waits bool) (done func(), err error) { return func() {}, nil }

// refresh takes another credential for the rest of the connection. The error is ErrPermission.
func (p *peer) refresh(ctx context.Context, token string) error { return nil }

// expires is when the present credential ends; zero: never.
func (p *peer) expires() time.Time { return time.Time{} }

// leave is closed when the client should go and come back elsewhere; session tells it so in its protocol, and goes on serving until
// the connection ends.
func (p *peer) leave() <-chan struct{} { return nil }
