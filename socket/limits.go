package socket

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis-process-worker/rpw"
)

// withDefaults returns the limits to use; a negative one is ErrInvalid.
func (l Limits) withDefaults() (Limits, error) {
	var err error
	err = orDefault(err, &l.Connections, 10_000, "Connections")
	err = orDefault(err, &l.Handshakes, 1_000, "Handshakes")
	err = orDefault(err, &l.HandshakeTime, 15*time.Second, "HandshakeTime")
	err = orDefault(err, &l.ConnectsPerIP, 50, "ConnectsPerIP")
	err = orDefault(err, &l.Message, rpw.MaxBatchBytes+1<<20, "Message")
	err = orDefault(err, &l.MessageTime, 10*time.Second, "MessageTime")
	err = orDefault(err, &l.Messages, 20_000, "Messages")
	err = orDefault(err, &l.Requests, 256, "Requests")
	err = orDefault(err, &l.Waits, 1_024, "Waits")
	err = orDefault(err, &l.Bytes, 64<<20, "Bytes")
	err = orDefault(err, &l.Bad, 100, "Bad")
	err = orDefault(err, &l.Queue, 1<<20, "Queue")
	err = orDefault(err, &l.WriteTime, 5*time.Second, "WriteTime")
	err = orDefault(err, &l.PingEvery, 25*time.Second, "PingEvery")
	err = orDefault(err, &l.PongTime, 10*time.Second, "PongTime")
	err = orDefault(err, &l.RefreshGrace, 25*time.Second, "RefreshGrace")
	err = orDefault(err, &l.DrainTime, 5*time.Second, "DrainTime")
	return l, err
}

func orDefault[T int | float64 | time.Duration](err error, limit *T, value T, name string) error {
	switch {
	case err != nil:
	case *limit == 0:
		*limit = value
	case !(*limit > 0): // NaN, too
		err = rpw.Errorf(rpw.ErrInvalid, "Limits.%s is %v; it must be positive, or 0 for the default", name, *limit)
	}
	return err
}

// rate is how often something may happen: once in every, and in advance as often as fits into burst.
type rate struct{ every, burst time.Duration }

// rateOf returns the rate of perSecond, with a burst of so many, at least one.
func rateOf(perSecond, burst float64) rate {
	const most = math.MaxInt64 / 4
	every := min(float64(time.Second)/perSecond, most)
	return rate{time.Duration(every), time.Duration(min(every*max(0, burst-1), most))}
}

// bucket counts what happens against a rate (the generic cell rate algorithm). Its zero value is a full bucket. It is safe for concurrent use.
type bucket struct{ next atomic.Int64 } // the time at which what happened so far would be due, in ns

// take reports whether it may happen once more.
func (b *bucket) take(r rate, now time.Duration) bool {
	for {
		next := b.next.Load()
		due := max(next, int64(now))
		if due-int64(now) > int64(r.burst) {
			return false
		}
		if b.next.CompareAndSwap(next, due+int64(r.every)) {
			return true
		}
	}
}

// reserve lets it happen once more, as soon as the time that it returns has passed.
func (b *bucket) reserve(r rate, now time.Duration) time.Duration {
	for {
		next := b.next.Load()
		due := max(next, int64(now))
		if b.next.CompareAndSwap(next, due+int64(r.every)) {
			return time.Duration(due) - now - r.burst
		}
	}
}

// clock is time since the server began, for buckets: it never falls back.
type clock struct{ start time.Time }

func (c clock) now() time.Duration { return time.Since(c.start) }

// perAddress limits how often an address may connect. Its memory is bounded by how many addresses connected lately.
type perAddress struct {
	clock clock
	rate  rate
	mu    sync.Mutex
	sweep int // how many buckets there may be until those of idle addresses are removed
	known map[netip.Prefix]*bucket
}

const fewAddresses = 1024

func newPerAddress(c clock, perSecond float64) *perAddress {
	return &perAddress{clock: c, rate: rateOf(perSecond, 10*perSecond), sweep: fewAddresses, known: map[netip.Prefix]*bucket{}}
}

// take reports whether the address of remote, as in http.Request.RemoteAddr, may connect. IPv6 addresses count by their /64, which is
// what one subscriber has; what has no address (a unix socket) is not limited.
func (p *perAddress) take(remote string) bool {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return true
	}
	addr, bits := from.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return true
	}
	now := p.clock.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.known[prefix]
	if b == nil {
		p.makeRoom(now)
		b = new(bucket)
		p.known[prefix] = b
	}
	return b.take(p.rate, now)
}

func (p *perAddress) makeRoom(now time.Duration) {
	if len(p.known) < p.sweep {
		return
	}
	for prefix, b := range p.known {
		if b.next.Load() <= int64(now) {
			delete(p.known, prefix)
		}
	}
	p.sweep = max(fewAddresses, 2*len(p.known))
}
