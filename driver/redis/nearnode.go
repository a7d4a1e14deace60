package redis

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// nearBound is how old the proof of a value may be, whatever MaxStale says.
const nearBound = 3 * time.Second

const (
	nearProof = time.Second // how often the link proves itself, while it is in use
	nearIdle  = time.Minute // without a read, after which it is not in use
)

// nearNode is the near cache of one server: a connection on which the server tells of changes to the keys that were read by it (CLIENT TRACKING), and
// their values. A value is served while the last proof is young: a command that was answered on the connection proves that all
// changes before it was sent have been told.
type nearNode struct {
	near   *near
	addr   string // in a cluster
	values *nearValues
	wanted chan struct{}                           // somebody reads
	conn   atomic.Pointer[rueidis.DedicatedClient] // nil while there is no link
	asked  atomic.Pointer[string]                  // a key that was read by it
	proven atomic.Pointer[time.Time]               // when the last command that was answered was sent
	used   atomic.Int64                            // when it was read last, about, Unix ms
}

// find gives a value from here, into value; false: there is none. A nil node has none.
func (n *nearNode) find(key string, now time.Time, maxStale time.Duration, value *rpw.Value) bool {
	if n == nil {
		return false
	}
	n.touch(now)
	proven := n.proven.Load()
	if proven == nil || age(now, *proven) > min(maxStale, nearBound) {
		return false
	}
	return n.values.get(key, now, value)
}

// age is how long ago a time was, by the clock that says more: one stands still while the machine sleeps, the other can be set back.
func age(now, then time.Time) time.Duration {
	return max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
}

// touch keeps the link up.
func (n *nearNode) touch(now time.Time) {
	ms := now.UnixMilli()
	if since := ms - n.used.Load(); since >= 0 && since < nearProof.Milliseconds()/4 { // the clock may be set back
		return
	}
	n.used.Store(ms)
	select {
	case n.wanted <- struct{}{}:
	default:
	}
}

// load reads the values of cache keys by the link, and keeps them; without a link it only reads.
func (n *nearNode) load(ctx context.Context, keys []string) ([]rpw.Value, error) {
	conn := n.conn.Load()
	if conn == nil {
		return n.near.read(ctx, n.near.store.client, n.near.full(keys))
	}
	sent := time.Now()
	begun := n.values.begin(keys)
	full := n.near.full(keys)
	values, err := n.near.read(ctx, *conn, full)
	n.values.finish(keys, begun, values, sent)
	if err == nil {
		n.asked.Store(&full[0])
		n.prove(sent)
	}
	return values, err
}

// prove notes that a command sent then was answered.
func (n *nearNode) prove(sent time.Time) {
	for old := n.proven.Load(); old == nil || sent.After(*old); old = n.proven.Load() {
		if n.proven.CompareAndSwap(old, &sent) {
			return
		}
	}
}

// run keeps the link while it is in use.
func (n *nearNode) run() {
	for {
		select {
		case <-n.near.ctx.Done():
			return
		case <-n.wanted:
		}
		n.link()
		n.near.slots.Store(nil) // it may not have them any more
		if n.near.off.Load() || !pause(n.near.ctx, backoffCap) {
			return
		}
	}
}

// link makes the connection and proves it, until it breaks or nobody reads any more.
func (n *nearNode) link() {
	client := n.near.client(n.addr)
	if client == nil {
		return
	}
	conn, release := client.Dedicate()
	defer release()
	defer conn.Close()
	broken := conn.SetOnInvalidations(n.values.invalidate)
	if !n.track(conn) {
		return
	}
	n.asked.Store(nil)
	n.conn.Store(&conn)
	defer n.values.clear()
	defer n.conn.Store(nil)
	tick := time.NewTicker(nearProof)
	defer tick.Stop()
	for {
		select {
		case <-n.near.ctx.Done():
			return
		case <-broken:
			return
		case now := <-tick.C:
			if now.UnixMilli()-n.used.Load() > nearIdle.Milliseconds() || !n.ping(conn) {
				return
			}
		}
	}
}

// track turns tracking on. A server that does not let us ends the near cache, and is told once.
func (n *nearNode) track(conn rueidis.DedicatedClient) bool {
	ctx, cancel := context.WithTimeout(n.near.ctx, nearBound)
	defer cancel()
	for _, word := range []string{"OFF", "ON"} { // the client may have it on in another mode
		err := conn.Do(undated{ctx}, conn.B().Arbitrary("CLIENT", "TRACKING", word).Build()).Error()
		reply, refused := rueidis.IsRedisErr(err)
		if refused && !errors.Is(classifyReply(reply.Error()), rpw.ErrUnavailable) && !n.near.off.Swap(true) {
			n.near.store.opt.notify(rpw.Notice{Kind: rpw.NoticeDegraded, Err: rpw.Errorf(rpw.ErrPermission, "the near cache is off, since CLIENT TRACKING is refused: %w", err)})
		}
		if err != nil {
			return false
		}
	}
	return true
}

// ping proves the link. A node of a cluster answers a PING also when others have its slots, or may have, but not for a key in them.
func (n *nearNode) ping(conn rueidis.DedicatedClient) bool {
	ctx, cancel := context.WithTimeout(n.near.ctx, nearBound)
	defer cancel()
	proof := conn.B().Ping().Build()
	if key := n.asked.Load(); key != nil && n.addr != "" {
		proof = conn.B().Pttl().Key(*key).Build() // cache_get needs the same right
	}
	sent := time.Now()
	if conn.Do(undated{ctx}, proof).Error() != nil {
		return false
	}
	n.prove(sent)
	return true
}
