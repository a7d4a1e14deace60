package redis

import (
	"context"
	crand "crypto/rand"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// lingering is how long a channel stays subscribed after its last watch: most callers come back at once.
const lingering = 5 * time.Second

// Who waits looks at the store every lookEvery, should a message have been lost, and less often where so many wait that all of them
// would look more than once in lookPause.
const (
	lookEvery = 15 * time.Second
	lookPause = 5 * time.Millisecond
)

// patience is how long who waits now goes without looking at the store.
func (w *waker) patience() time.Duration {
	w.mu.Lock()
	most := max(lookEvery, time.Duration(len(w.topics))*lookPause)
	w.mu.Unlock()
	return most - rand.N(most/3)
}

// waker wakes the calls that wait: one connection, subscribed to the channels that are watched, for all of them. A message is a hint
// only, and may be lost; the store is the truth. The connection is made with the first watch, and made again when it breaks.
type waker struct {
	client rueidis.Client
	opt    Options
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	kick   chan struct{} // there is something to subscribe, or a suspect
	echo   string        // channel on which the link is tried, and claims are told what they were given
	mute   atomic.Bool   // it was published to, and nothing came yet
	tasks  sync.WaitGroup
	others *foreign // nil: nobody but rpw is heard

	mu       sync.Mutex
	topics   map[string]*topic
	size     int               // of all batches that are kept, in bytes
	fresh    []*topic          // not subscribed yet
	suspects []*topic          // whose key had an event of the server, which may be of others
	events   map[string]*topic // by the channel of the server's events for their key; nil if it tells none
	began    bool              // the goroutines run
	closed   bool
	seats    map[string]chan<- string // of claims that may be given an action, by their lane
}

// topic is a channel that is, or was lately, watched.
type topic struct {
	channel    string
	watches    []*watch
	ready      chan struct{} // closed once it is subscribed, or could not be
	err        error         // why not; to be read after ready
	subscribed bool          // once, on this link or one before
	left       time.Time     // when the last watch went
	newest     string        // the payload of the newest message on this link; of one that carries a batch, its end
	own        rpw.Position  // the end of the newest batch of this process that is known
	flights    []flight      // publishes of this process
	recent     []carried     // the newest batches that messages carried, each the one that follows the one before
	size       int           // of them, in bytes
	heard      uint64        // counts messages
	suspected  uint64        // what heard was when it became a suspect
}

// watch is woken by the messages of its channels.
type watch struct {
	C      <-chan string // the payload of the newest message; "" after a broken link, when anything may have happened
	c      chan string
	waker  *waker
	topics []*topic
}

func newWaker(client rueidis.Client, keys keyspace, opt Options) *waker {
	w := &waker{
		client: client, opt: opt, echo: keys.channel(echoChannel, crand.Text()), topics: make(map[string]*topic), seats: make(map[string]chan<- string),
		kick: make(chan struct{}, 1),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// watch returns once the server has subscribed us to all the channels: whatever is published from now on wakes. The caller looks into the
// store after it has the watch, and closes it when it has what it wanted. ErrUnavailable: the link cannot be made now.
func (w *waker) watch(ctx context.Context, channels ...string) (*watch, error) {
	c := make(chan string, 1)
	t := &watch{C: c, c: c, waker: w, topics: make([]*topic, len(channels))}
	waits := make([]chan struct{}, len(channels))
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil, rpw.Errorf(rpw.ErrClosed, "the driver is closed")
	}
	for i, channel := range channels {
		t.topics[i] = w.join(channel, t)
		waits[i] = t.topics[i].ready
	}
	if !w.began {
		w.began = true
		w.tasks.Go(w.run)
		if w.others != nil {
			w.tasks.Go(w.others.run)
		}
	}
	w.mu.Unlock()
	for i, ready := range waits {
		select {
		case <-ready:
		case <-ctx.Done():
			t.close()
			return nil, ctx.Err()
		case <-w.ctx.Done():
			t.close()
			return nil, rpw.Errorf(rpw.ErrClosed, "the driver is closed")
		}
		if err := t.topics[i].err; err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// join adds a watch to a channel's topic, which it makes if there is none. The caller holds mu.
func (w *waker) join(channel string, t *watch) *topic {
	to := w.topics[channel]
	if to == nil {
		to = &topic{channel: channel, ready: make(chan struct{})}
		w.topics[channel] = to
		w.fresh = append(w.fresh, to)
		w.nudge()
	}
	to.watches = append(to.watches, t)
	return to
}

// listens says whether all the channels are subscribed now.
func (w *waker) listens(channels ...string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(channels, func(channel string) bool { return w.topics[channel] == nil || !w.topics[channel].subscribed })
}

// sit returns where the claim of a lane hears what it is given, until rise. News of its queue cannot take the place of that.
func (w *waker) sit(lane string) <-chan string {
	w.mu.Lock()
	defer w.mu.Unlock()
	given := make(chan string, 1)
	w.seats[lane] = given
	return given
}

func (w *waker) rise(lane string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seats, lane)
}

func (w *waker) nudge() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// close ends the watch.
func (t *watch) close() {
	t.waker.mu.Lock()
	defer t.waker.mu.Unlock()
	for _, to := range t.topics {
		if i := slices.Index(to.watches, t); i >= 0 {
			to.watches[i] = to.watches[len(to.watches)-1]
			to.watches = to.watches[:len(to.watches)-1]
			to.left = time.Now()
		}
	}
}

// wake tells those who watch a topic. The waker's mu is held.
func (w *waker) wake(to *topic) {
	for _, t := range to.watches {
		t.wake(to.newest)
	}
}

// wake tells a payload, in place of one that was not taken yet. The waker's mu is held.
func (t *watch) wake(payload string) {
	select {
	case <-t.c:
	default:
	}
	t.c <- payload
}

// close ends the goroutines and the connection.
func (w *waker) close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	return ended(ctx, &w.tasks)
}

// run keeps the link, until close.
func (w *waker) run() {
	for failed := 0; ; failed++ {
		if w.idle() { // a link that nobody needs is not made again
			select {
			case <-w.kick:
				w.nudge()
			case <-w.ctx.Done():
				return
			}
		}
		if w.link() {
			failed = 0
		}
		if !w.retry(failed) {
			return
		}
	}
}

func (w *waker) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.topics) == 0
}

// retry waits before the next try, less if somebody asks for a channel in the meantime; false after close.
func (w *waker) retry(failed int) bool {
	least := time.NewTimer(rand.N(backoffBase))
	defer least.Stop()
	select {
	case <-least.C:
	case <-w.ctx.Done():
		return false
	}
	most := time.NewTimer(rand.N(min(backoffCap, backoffBase<<min(failed, 10))))
	defer most.Stop()
	select {
	case <-most.C:
	case <-w.kick:
		w.nudge()
	case <-w.ctx.Done():
		return false
	}
	return true
}

// Back-off between tries to make a link: full jitter, doubled from the base up to the cap.
const (
	backoffBase = 50 * time.Millisecond
	backoffCap  = time.Second
)

// link makes the connection and serves it until it breaks; ok says that it worked at all.
func (w *waker) link() (ok bool) {
	conn, release := w.client.Dedicate()
	defer release()
	defer conn.Close()
	broken := conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: w.deliver})
	w.mute.Store(false)
	w.listenToServer(conn)
	if !w.subscribeEcho(conn) || w.subscribe(conn, w.all()) != nil {
		return false
	}
	tick := time.NewTicker(echoTime)
	defer tick.Stop()
	var judge <-chan time.Time
	for n := 0; ; {
		var err error
		select {
		case <-w.ctx.Done():
			return true
		case <-broken:
			return true
		case <-w.kick:
			var suspects bool
			var fresh []*topic
			if fresh, suspects = w.news(); suspects && judge == nil {
				judge = time.After(ownMessage)
			}
			err = w.subscribe(conn, fresh)
		case <-judge:
			judge = nil
			w.judge()
		case <-tick.C:
			if w.mute.Load() {
				return true
			}
			if n++; n%2 == 0 {
				err = w.unsubscribe(conn)
				w.tryLink()
			}
		}
		if err != nil {
			return true
		}
	}
}

// subscribeEcho subscribes the link to its own channel: before all others, so that a claim that waits hears what it is given.
func (w *waker) subscribeEcho(conn rueidis.DedicatedClient) bool {
	ctx, cancel := context.WithTimeout(w.ctx, w.opt.Timeout)
	defer cancel()
	err := conn.Do(undated{ctx}, conn.B().Subscribe().Channel(w.echo).Build()).Error()
	if err != nil {
		w.settle(w.all(), classify(w.ctx, err, false))
	}
	return err == nil
}

// echoTime is how long a message that tries the link may take; every other one is without a try.
const echoTime = 2 * time.Second

// tryLink sends a message, by the way of all calls, that has to come back by the link in time: the link may be to a peer that says nothing any more or, after a
// failover, to a server that lives on and hears nothing.
func (w *waker) tryLink() {
	if w.idle() {
		return
	}
	w.tasks.Go(func() {
		w.mute.Store(true)
		ctx, cancel := context.WithTimeout(w.ctx, echoTime)
		defer cancel()
		err := w.client.Do(undated{ctx}, w.client.B().Publish().Channel(w.echo).Message("").Build()).Error()
		if err != nil && ctx.Err() == nil {
			w.mute.Store(false) // which says nothing of the link
		}
	})
}

// all are the topics that a new connection must be subscribed to.
func (w *waker) all() []*topic {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = nil
	return slices.Collect(maps.Values(w.topics))
}

// news are the topics that are not subscribed yet; suspects says that there are some.
func (w *waker) news() (fresh []*topic, suspects bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh, w.fresh = w.fresh, nil
	return fresh, len(w.suspects) > 0
}

// subscribe subscribes the connection to topics and tells those who wait for it. An error is one of the link; one of the server
// is told to those who wait.
func (w *waker) subscribe(conn rueidis.DedicatedClient, topics []*topic) error {
	for some := range slices.Chunk(topics, subscribeMost) {
		channels := make([]string, len(some), 2*len(some))
		for i, to := range some {
			channels[i] = to.channel
		}
		channels = append(channels, w.alsoServer(some)...)
		ctx, cancel := context.WithTimeout(w.ctx, w.opt.Timeout)
		err := conn.Do(undated{ctx}, conn.B().Subscribe().Channel(channels...).Build()).Error()
		cancel()
		w.settle(some, classify(w.ctx, err, false))
		if _, reply := rueidis.IsRedisErr(err); err != nil && !reply {
			return err
		}
	}
	return nil
}

// subscribeMost is how many channels one command subscribes to.
const subscribeMost = 1000

// settle tells how the subscription of topics went. Those who watched before look again, since they may have missed something; topics that could not be
// subscribed for the first time are given up.
func (w *waker) settle(topics []*topic, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range topics {
		switch {
		case to.subscribed && err != nil:
			continue // the next link tries again
		case to.subscribed:
			w.lookAgain(to)
			continue
		case err != nil:
			to.err = err
			delete(w.topics, to.channel)
		default:
			to.subscribed = true
		}
		close(to.ready)
	}
}

// unsubscribe leaves the channels that nobody has watched for a while, and drops what messages carried a while ago.
func (w *waker) unsubscribe(conn rueidis.DedicatedClient) error {
	w.mu.Lock()
	var idle []string
	for channel, to := range w.topics {
		if n := len(to.recent); n > 0 && time.Since(to.recent[n-1].heard) > fresh {
			w.forget(to)
		}
		if to.subscribed && len(to.watches) == 0 && time.Since(to.left) >= lingering {
			idle = append(idle, channel)
			w.forget(to)
			delete(w.topics, channel)
			if events := w.eventsOf(to); events != "" {
				idle = append(idle, events)
				delete(w.events, events)
			}
		}
	}
	w.mu.Unlock()
	if len(idle) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.opt.Timeout)
	defer cancel()
	return conn.Do(undated{ctx}, conn.B().Unsubscribe().Channel(idle...).Build()).Error()
}

// deliver runs on the connection's reader, so it is quick.
func (w *waker) deliver(m rueidis.PubSubMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Channel == w.echo {
		w.mute.Store(false)
		if len(m.Message) > laneSize {
			select {
			case w.seats[m.Message[:laneSize]] <- m.Message:
			default: // it has risen, or was given two: it looks
			}
		}
		return
	}
	if to := w.topics[m.Channel]; to != nil {
		to.heard++
		if w.hear(to, m.Message) {
			w.wake(to)
		}
	} else if to := w.events[m.Channel]; to != nil && m.Message == "xadd" {
		w.suspect(to)
	}
}
