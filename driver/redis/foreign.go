package redis

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// foreign finds events that others than rpw have added, by a plain XADD: it looks, a few hundred streams at a time and without blocking, whether a
// stream that is watched goes on behind the newest message. So a lost message is found too.
type foreign struct {
	store *store
	known map[string]string // by channel: the id behind which nothing was found
}

const (
	foreignEvery = 1500 * time.Millisecond // with jitter, and what a look takes, less than 2 s
	foreignLooks = 200                     // streams in one command
)

// run looks until the waker closes.
func (f *foreign) run() {
	w := f.store.waker
	for {
		timer := time.NewTimer(foreignEvery)
		select {
		case <-w.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			f.look(w.ctx)
		}
	}
}

// look takes all streams that are watched once.
func (f *foreign) look(ctx context.Context) {
	watched := f.store.waker.watched(f.store.keys)
	for channel := range f.known {
		if _, ok := watched[channel]; !ok {
			delete(f.known, channel)
		}
	}
	var behind []string // channels whose stream goes on, or of which nothing is known
	var some []string
	for channel, told := range watched {
		if told != "" {
			f.known[channel] = told
		}
		if f.known[channel] == "" {
			behind = append(behind, channel)
			continue
		}
		if some = append(some, channel); len(some) == foreignLooks {
			behind = append(behind, f.goOn(ctx, some)...)
			some = nil
		}
	}
	behind = append(behind, f.goOn(ctx, some)...)
	for some := range slices.Chunk(behind, foreignLooks) {
		f.catchUp(ctx, some)
	}
}

func (f *foreign) key(channel string) string {
	name, _ := f.store.keys.streamOf(channel)
	return f.store.keys.stream(name).main
}

// goOn gives those of the channels whose stream has events behind the known id.
func (f *foreign) goOn(ctx context.Context, channels []string) []string {
	if len(channels) == 0 {
		return nil
	}
	together := len(channels)
	if f.store.clustered() { // each stream has a slot of its own
		together = 1
	}
	byKey := make(map[string]string, len(channels))
	var commands []rueidis.Completed
	for i := 0; i < len(channels); i += together {
		keys := make([]string, 0, together)
		ids := make([]string, 0, together)
		for _, channel := range channels[i : i+together] {
			key := f.key(channel)
			byKey[key] = channel
			keys = append(keys, key)
			ids = append(ids, f.known[channel])
		}
		commands = append(commands, f.store.client.B().Xread().Count(1).Streams().Key(keys...).Id(ids...).Build())
	}
	bounded, cancel := f.store.bounded(ctx)
	defer cancel()
	var found []string
	for _, result := range f.store.client.DoMulti(bounded, commands...) {
		streams, err := result.AsXRead()
		if err != nil {
			continue // nothing is new, or it is found the next time
		}
		for key := range streams {
			found = append(found, byKey[key])
		}
	}
	return found
}

// catchUp notes where streams end, and wakes who has not been told so.
func (f *foreign) catchUp(ctx context.Context, channels []string) {
	commands := make([]rueidis.Completed, len(channels))
	for i, channel := range channels {
		commands[i] = f.store.client.B().Xrevrange().Key(f.key(channel)).End("+").Start("-").Count(1).Build()
	}
	bounded, cancel := f.store.bounded(ctx)
	defer cancel()
	for i, result := range f.store.client.DoMulti(bounded, commands...) {
		entries, err := result.AsXRange()
		if err != nil {
			continue
		}
		last := "0-0"
		if len(entries) > 0 {
			last = entries[0].ID
		}
		f.known[channels[i]] = last
		f.store.waker.goesOn(channels[i], last)
	}
}

// watched are the channels of streams that somebody watches, with the id that the newest message told, "" if none did.
func (w *waker) watched(keys keyspace) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	watched := make(map[string]string)
	for channel, to := range w.topics {
		if _, ok := keys.streamOf(channel); ok && len(to.watches) > 0 && to.subscribed {
			watched[channel] = toldID(to.newest)
		}
	}
	return watched
}

// toldID is the id in a message of a stream, which begins with the place after its newest event: "epoch id count".
func toldID(message string) string {
	_, rest, _ := strings.Cut(message, " ")
	id, _, _ := strings.Cut(rest, " ")
	return id
}

// goesOn wakes those who watch a stream that ends with an id, unless the newest message told of that.
func (w *waker) goesOn(channel, last string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to := w.topics[channel]; to != nil && toldID(to.newest) != last {
		w.lookAgain(to)
	}
}

// lookAgain wakes those who watch, to look into the store; what messages have told is not to be trusted. The waker's mu is held.
func (w *waker) lookAgain(to *topic) {
	to.newest, to.own = "", rpw.Position{}
	w.forget(to)
	w.wake(to)
}

// ownMessage is how long after an event of the server the message of our own script comes, at most, if it was one.
const ownMessage = 2 * time.Millisecond

// listenToServer makes out whether the server tells what happens to streams: then others are heard at once. In a cluster each node tells of its own keys only,
// so there it is left to the look.
func (w *waker) listenToServer(conn rueidis.DedicatedClient) {
	w.mu.Lock()
	w.events, w.suspects = nil, nil
	w.mu.Unlock()
	if w.others == nil || w.others.store.clustered() {
		return
	}
	bounded, cancel := w.others.store.bounded(w.ctx)
	defer cancel()
	settings, err := conn.Do(bounded, conn.B().ConfigGet().Parameter("notify-keyspace-events").Build()).AsStrMap()
	flags := settings["notify-keyspace-events"]
	if err != nil || !strings.Contains(flags, "K") || !strings.ContainsAny(flags, "At") {
		return
	}
	probe := w.others.store.keys.events(w.others.store.keys.stream("check").main)
	if conn.Do(bounded, conn.B().Subscribe().Channel(probe).Build()).Error() != nil {
		return // the user may not
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = make(map[string]*topic)
}

// eventsOf is the channel of the server's events for the stream of a topic, "" if there is none. The waker's mu is held.
func (w *waker) eventsOf(to *topic) string {
	if w.events == nil {
		return ""
	}
	keys := w.others.store.keys
	name, ok := keys.streamOf(to.channel)
	if !ok {
		return ""
	}
	return keys.events(keys.stream(name).main)
}

// alsoServer are the channels of the server's events for topics.
func (w *waker) alsoServer(topics []*topic) (channels []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range topics {
		if events := w.eventsOf(to); events != "" {
			w.events[events] = to
			channels = append(channels, events)
		}
	}
	return channels
}

// suspect notes that something was added to a stream: if no message follows, others did. The waker's mu is held.
func (w *waker) suspect(to *topic) {
	if to.suspected == to.heard+1 {
		return // it is one
	}
	to.suspected = to.heard + 1
	w.suspects = append(w.suspects, to)
	w.nudge()
}

// judge wakes those who watch the suspects of whom no message came.
func (w *waker) judge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range w.suspects {
		if to.suspected == to.heard+1 {
			w.lookAgain(to)
		}
		to.suspected = 0
	}
	w.suspects = nil
}
