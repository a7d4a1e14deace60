package socket

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// Times of a link.
const (
	defaultTimeout     = 5 * time.Second
	defaultDialTimeout = 10 * time.Second

	redialBase   = 200 * time.Millisecond // back-off with full jitter, doubled from here ...
	redialCap    = 10 * time.Second       // ... up to here
	redialLeast  = 200 * time.Millisecond // between two tries that users' calls ask for
	redialSpread = 2 * time.Second        // over which clients come back to a server that restarts
	refusedEvery = 5 * time.Second        // at least, between tries after a refusal
	refreshShare = 0.8                    // of a credential's life, after which the next is fetched
	refreshLeast = time.Second
	crowdedWait  = 250 * time.Millisecond // of a wait while there are more of them than places
)

// remoteConfig is what a link needs.
type remoteConfig struct {
	dial        func(ctx context.Context) (conn, error)
	token       func(ctx context.Context) (string, error) // nil: the credential cannot be refreshed
	timeout     time.Duration                             // of a request, with the time until it can be sent; 0: defaultTimeout
	dialTimeout time.Duration                             // 0: defaultDialTimeout
	notify      func(rpw.Notice)
}

// remote is a server: a connection to a server that is made again when it is lost, with the calls that go over it.
type remote struct {
	remoteConfig
	ctx    context.Context // ends with the link
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	urgent chan struct{} // holds one when a user's call waits for the link
	dialed time.Time     // the last try, of run

	mu      sync.Mutex
	client  *client       // nil: there is none at the moment
	refused error         // the server will not have us
	changed chan struct{} // closed when one of the two has changed
}

// newRemote makes a link. The first connection is made within ctx; its error is its own.
func newRemote(ctx context.Context, cfg remoteConfig) (*remote, error) {
	l := &remote{remoteConfig: cfg, urgent: make(chan struct{}, 1), changed: make(chan struct{})}
	l.timeout, l.dialTimeout = cmp.Or(l.timeout, defaultTimeout), cmp.Or(l.dialTimeout, defaultDialTimeout)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	c, err := l.connect(ctx)
	if err != nil {
		l.cancel()
		return nil, err
	}
	l.tasks.Go(func() { l.run(c) })
	return l, nil
}

// close ends the link and everything that goes over it. When ctx ends it drops the connection, and waits no longer.
func (l *remote) close(ctx context.Context) error {
	l.cancel()
	done := make(chan struct{})
	go func() {
		l.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		if c := l.present(); c != nil {
			c.conn.CloseNow()
		}
		return ctx.Err()
	}
}

// connect makes a connection.
func (l *remote) connect(ctx context.Context) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, l.dialTimeout)
	defer cancel()
	c, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newClient(ctx, c)
}

// run keeps the link up, beginning with c, until it is closed.
func (l *remote) run(c *client) {
	var old *client // which c replaces
	for c != nil {
		l.set(c, nil)
		l.notify(rpw.Notice{Kind: rpw.NoticeConnected})
		if old != nil {
			l.tasks.Go(func() {
				ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
				defer cancel()
				old.retire(ctx)
			})
		}
		err := l.stay(c)
		if old = c; err != nil {
			l.set(nil, nil)
			c.close()
			old = nil
		}
		c = l.reconnect(err)
	}
	if old != nil {
		old.close()
	}
}

// set makes c the connection for all calls, or tells them that there is none.
func (l *remote) set(c *client, refused error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client, l.refused = c, refused
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *remote) present() *client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client
}

// stay looks after a connection until it is lost, whose error it returns, or it is time to leave it: nil.
func (l *remote) stay(c *client) error {
	var refresh, leave <-chan time.Time
	if l.token != nil {
		refresh = refreshAfter(c.hello.Lifetime)
	}
	for {
		select {
		case <-refresh:
			refresh = refreshAfter(l.refresh(c))
		case ask := <-c.leave:
			leave = time.After(rand.N(ask.After + 1))
		case <-leave:
			return nil
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		case <-l.ctx.Done():
			return rpw.ErrClosed
		}
	}
}

// refreshAfter is when to bring another credential, for one that has so long to live; nil: never.
func refreshAfter(lifetime time.Duration) <-chan time.Time {
	if lifetime <= 0 {
		return nil
	}
	return time.After(max(refreshLeast, time.Duration(float64(lifetime)*refreshShare)))
}

// refresh brings the server another credential. It returns how long that lives; after a failure, when to try again.
func (l *remote) refresh(c *client) time.Duration {
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	token, err := l.token(ctx)
	if err != nil {
		return refreshLeast
	}
	reply, _, err := c.ask(ctx, request{kind: packetRefresh, body: func(b []byte) []byte {
		return refreshPlan.append(b, &refresh{Token: token})
	}})
	var r refreshed
	if err != nil || reply.kind != packetReply || refreshedPlan.parse(reply.body, &r) != nil {
		return refreshLeast // until the server closes the connection, and the next one brings its own credential
	}
	return r.Lifetime
}

// reconnect makes the next connection, after err, or because the server asked for it: nil. It returns nil when the link is closed.
func (l *remote) reconnect(err error) *client {
	patient := false // a restarting server must not meet all its clients at once
	switch websocket.CloseStatus(err) {
	case closeRestart, closeBusy:
		patient = true
	}
	for n := 0; l.ctx.Err() == nil; n++ {
		delay := rand.N(min(redialCap, redialBase<<min(n, 10)))
		switch {
		case err == nil:
			delay = 0
		case errors.Is(err, rpw.ErrPermission):
			delay = refusedEvery + rand.N(refusedEvery)
		case patient:
			delay += rand.N(redialSpread)
		}
		if err != nil && !errors.Is(err, rpw.ErrPermission) {
			l.notify(rpw.Notice{Kind: rpw.NoticeReconnecting, Err: err, After: delay})
		}
		if !l.pause(delay, patient) {
			return nil
		}
		patient = false
		l.dialed = time.Now()
		var c *client
		if c, err = l.connect(l.ctx); err == nil {
			return c
		}
		if errors.Is(err, rpw.ErrPermission) {
			l.notify(rpw.Notice{Kind: rpw.NoticeRefused, Err: err, After: delay})
			l.set(l.present(), err)
		}
	}
	return nil
}

// pause waits before a try to connect. Unless it is patient a user's call ends it, but not right after the last try; false if the link is closed.
func (l *remote) pause(d time.Duration, patient bool) bool {
	least := d
	if !patient {
		least = min(d, max(0, redialLeast-time.Since(l.dialed)))
	}
	timer := time.NewTimer(least)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
		return false
	}
	if d == least {
		return true
	}
	timer.Reset(d - least)
	select {
	case <-timer.C:
	case <-l.urgent:
	case <-l.ctx.Done():
		return false
	}
	return true
}

// connected waits for a connection, within ctx, and asks for one at once.
func (l *remote) connected(ctx context.Context) (*client, error) {
	for asked := false; ; {
		l.mu.Lock()
		c, refused, changed := l.client, l.refused, l.changed
		l.mu.Unlock()
		switch {
		case c != nil && c.ctx.Err() == nil:
			return c, nil
		case refused != nil:
			return nil, refused
		}
		if !asked {
			asked = true
			select {
			case l.urgent <- struct{}{}:
			default:
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.ctx.Done():
			return nil, rpw.Errorf(rpw.ErrClosed, "the hub is closed")
		}
	}
}
