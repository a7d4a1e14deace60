package socket

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// peer is a connected client as its session sees it, whatever protocol it speaks. It is safe for concurrent use. One with nothing but
// a hub may do everything, and as much as it likes: it is the other end of a pipe.
type peer struct {
	hub    *rpw.Hub
	limits Limits // with defaults; a zero one is none

	clock     clock
	authorize func(context.Context, Identity, Access) error // nil: everything is allowed
	// renew finds who has a token and hands it to take, or returns why not; nil: the client has no credential to renew.
	renew   func(ctx context.Context, token string, take func(Identity) error) error
	leaving chan struct{} // nil: it stays

	identity atomic.Pointer[Identity] // nil: anonymous
	renewing sync.Mutex               // nobody waits for it
	renewed  func(expires time.Time)  // is told of each new credential

	messages, mistakes bucket
	requests, waits    places
	received           traffic
}

// who returns the identity of the client.
func (p *peer) who() Identity {
	if id := p.identity.Load(); id != nil {
		return *id
	}
	return Identity{}
}

// expires returns when the client's credential ends; zero: never.
func (p *peer) expires() time.Time { return p.who().Expires }

// allow says whether the client may do all of accesses; the error is ErrPermission.
func (p *peer) allow(ctx context.Context, accesses ...Access) error {
	if p.authorize == nil {
		return nil
	}
	id := p.who()
	for _, a := range accesses {
		if p.authorize(ctx, id, a) == nil {
			continue
		}
		switch {
		case a.Verb == verbTrim:
			return rpw.Errorf(rpw.ErrPermission, "this client has no right to %s the %s %s, as Keep needs it: it takes away what others wrote", a.Right, a.Kind, rpw.QuoteName(a.Name))
		case a.Name == "":
			return rpw.Errorf(rpw.ErrPermission, "this client has no right to %s any %s", a.Right, a.Kind)
		}
		return rpw.Errorf(rpw.ErrPermission, "this client has no right to %s the %s %s", a.Right, a.Kind, rpw.QuoteName(a.Name))
	}
	return nil
}

// visible reports whether a name found by a listing may be shown.
func (p *peer) visible(ctx context.Context, a Access) bool {
	return p.authorize == nil || p.authorize(ctx, p.who(), a) == nil
}

// bind makes a producer's or a lane's id one of the client's identity, so that no client can speak for another's. Anonymous clients are
// nobody, so theirs stay as they are.
func (p *peer) bind(id [16]byte) (bound [16]byte) {
	name := p.who().Name
	if name == "" {
		return id
	}
	named := append(make([]byte, 0, 128), name...)
	sum := sha256.Sum256(append(named, id[:]...))
	copy(bound[:], sum[:])
	return bound
}

// message counts a message of n bytes. A client that sends more than it may is made to wait: it returns when the message's turn has come. The error is
// why ctx ended.
func (p *peer) message(ctx context.Context, n int) error {
	p.received.add(n)
	if p.limits.Messages == 0 {
		return nil
	}
	delay := p.messages.reserve(rateOf(p.limits.Messages, p.limits.Messages), p.clock.now())
	if delay <= 0 {
		return nil
	}
	turn := time.NewTimer(delay)
	defer turn.Stop()
	select {
	case <-turn.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bad counts a message that is no request. An error closes the connection: it is a websocket.CloseError.
func (p *peer) bad() error {
	most := float64(p.limits.Bad)
	if most > 0 && !p.mistakes.take(rateOf(most/60, most), p.clock.now()) {
		return websocket.CloseError{Code: websocket.StatusPolicyViolation, Reason: "too many messages that are no requests"}
	}
	return nil
}

// begin takes a place for a request, or for a wait; done gives it back. Without a free place the error is ErrFull.
func (p *peer) begin(waits bool) (done func(), err error) {
	taken, most, what := &p.requests, p.limits.Requests, "requests in flight"
	if waits {
		taken, most, what = &p.waits, p.limits.Waits, "requests that wait"
	}
	if !taken.take(most) {
		return nil, rpw.Errorf(rpw.ErrFull, "%d %s are the most that a connection may have; let some end first", most, what)
	}
	return taken.leave, nil
}

// refresh takes another credential for the rest of the connection. The error is ErrPermission, ErrFull while another one is looked at, or ErrConflict after a
// revocation meanwhile.
func (p *peer) refresh(ctx context.Context, token string) error {
	if p.renew == nil {
		return rpw.Errorf(rpw.ErrPermission, "this connection has no credential to refresh")
	}
	if !p.renewing.TryLock() { // a flood would keep Authenticate at work
		return rpw.Errorf(rpw.ErrFull, "another credential of this connection is being looked at; wait for the answer")
	}
	defer p.renewing.Unlock()
	return p.renew(ctx, token, func(id Identity) error {
		if id.Name != p.who().Name { // what it has begun is bound to its name
			return rpw.Errorf(rpw.ErrPermission, "the credential is another client's; connect anew with it")
		}
		p.identity.Store(&id)
		p.renewed(id.Expires)
		return nil
	})
}

// leave is closed when the client should go and come back elsewhere; session tells it so in its protocol, and goes on serving until
// the connection ends.
func (p *peer) leave() <-chan struct{} { return p.leaving }

// traffic counts messages and their bytes.
type traffic struct{ messages, bytes atomic.Uint64 }

func (t *traffic) add(n int) {
	t.messages.Add(1)
	t.bytes.Add(uint64(n))
}

// places counts what is under way.
type places struct{ taken atomic.Int64 }

// take reports whether there was a free place among most; 0: there always is.
func (p *places) take(most int) bool {
	if p.taken.Add(1) <= int64(most) || most == 0 {
		return true
	}
	p.taken.Add(-1)
	return false
}

func (p *places) leave() { p.taken.Add(-1) }
