package socket

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/timer"
)

// Times of a link.
const (
	defaultTimeout     = 5 * time.Second
	defaultDialTimeout = 10 * time.Second

	redialBase   = 2 * time.Second        // back-off with full jitter, doubled from here ...
	redialCap    = 10 * time.Second       // ... up to here
	redialLeast  = 200 * time.Millisecond // between two tries that users' calls ask for
	restartLeast = 2 * time.Second        // for a server that restarts, between tries; from here ...
	restartMost  = 10 * time.Second       // ... to here: a thousand clients make 167 tries a second then
	restartCall  = 2 * time.Second        // at most, until a user's call is reason enough
	refusedEvery = 5 * time.Second        // at least, between tries after a refusal
	leaveMost    = time.Hour              // that a server can give for leaving it
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
	down    error         // why there is none; ErrPermission: the server will not have us
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
		if left := old; left != nil { // old is another one soon, or none
			l.tasks.Go(func() {
				ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
				defer cancel()
				left.retire(ctx)
			})
		}
		err := l.stay(c)
		if l.ctx.Err() != nil {
			c.settle()
		}
		if old = c; err != nil {
			l.set(nil, err)
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
func (l *remote) set(c *client, down error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client, l.down = c, down
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
			leave = time.After(rand.N(min(max(ask.After, 0), leaveMost) + 1))
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

// errComeLater: the server takes no connection at the moment.
var errComeLater = errors.New("it asks to come back later")

// reconnect makes the next connection, after err, or because the server asked for it: nil. It returns nil when the link is closed.
func (l *remote) reconnect(err error) *client {
	restarts := false // the server does, and must not meet all its clients at once
	for n := 0; l.ctx.Err() == nil; n++ {
		restarts = restarts || asksToWait(err)
		delay, least := l.delays(n, err, restarts)
		if err != nil {
			l.notify(rpw.Notice{Kind: reconnecting(err), Err: err, After: delay})
		}
		if !l.pause(delay, least) {
			return nil
		}
		l.dialed = time.Now()
		var c *client
		if c, err = l.connect(l.ctx); err == nil {
			return c
		}
		l.set(l.present(), err)
	}
	return nil
}

// asksToWait reports whether it was the server that ended the connection, or had no room for it.
func asksToWait(err error) bool {
	code := websocket.CloseStatus(err)
	return errors.Is(err, errComeLater) || code == closeRestart || code == closeBusy
}

// delays says when to try again after err for the nth time, and the least of it, after which a user's call is reason enough.
func (l *remote) delays(n int, err error, restarts bool) (delay, least time.Duration) {
	switch {
	case err == nil: // what it leaves serves meanwhile
		delay = max(0, redialBase-time.Since(l.dialed))
		return delay, delay
	case errors.Is(err, rpw.ErrPermission):
		delay = refusedEvery + rand.N(refusedEvery)
		return delay, delay
	case restarts:
		return restartLeast + rand.N(restartMost-restartLeast), rand.N(restartCall)
	}
	delay = rand.N(min(redialCap, redialBase<<min(n, 10)))
	return delay, min(delay, max(0, redialLeast-time.Since(l.dialed)))
}

func reconnecting(err error) rpw.NoticeKind {
	if errors.Is(err, rpw.ErrPermission) {
		return rpw.NoticeRefused
	}
	return rpw.NoticeReconnecting
}

// pause waits for d before a try to connect. After the least of it a user's call ends it; false if the link is closed.
func (l *remote) pause(d, least time.Duration) bool {
	over, stop := timer.After(least)
	defer func() { stop() }()
	select {
	case <-over:
	case <-l.ctx.Done():
		return false
	}
	if d == least {
		return true
	}
	over, stop = timer.After(d - least)
	select {
	case <-over:
	case <-l.urgent:
	case <-l.ctx.Done():
		return false
	}
	return true
}

// connected waits for a connection, within ctx, and asks for one at once if it is urgent. The error says why there is none.
func (l *remote) connected(ctx context.Context, urgent bool) (*client, error) {
	for {
		l.mu.Lock()
		c, down, changed := l.client, l.down, l.changed
		l.mu.Unlock()
		switch {
		case c != nil && c.ctx.Err() == nil:
			return c, nil
		case errors.Is(down, rpw.ErrPermission):
			return nil, down
		}
		if urgent {
			urgent = false
			select {
			case l.urgent <- struct{}{}:
			default:
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			why := strings.TrimPrefix(cmp.Or(down, errLost).Error(), "rpw: unavailable: ")
			return nil, rpw.Errorf(rpw.ErrUnavailable, "there is no connection to the server: %s", why)
		case <-l.ctx.Done():
			return nil, rpw.Errorf(rpw.ErrClosed, "the hub is closed")
		}
	}
}
