package redis

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// foreign finds events that were added by others than rpw, who ring no bell: while calls wait it asks, every other second, whether
// their streams have more than they have seen. It costs a command for some hundred streams, which does not block the server.
type foreign struct {
	store  *store
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	mu      sync.Mutex
	waits   map[string]*outlook // by stream
	running chan struct{}       // closed when the sweeping goroutine has ended; nil: there is none

	asked  bool
	speaks bool // the server tells of changes of streams
}

// channels are what to watch beside a stream's own channel to hear of events of others at once: where the server tells of changes of
// streams (notify-keyspace-events with K and t), the stream's key. Nodes of a cluster tell of their own keys only, so there the sweep must do.
func (f *foreign) channels(ctx context.Context, stream string) []string {
	if f == nil || f.store.clustered() {
		return nil
	}
	if !f.told(ctx) {
		return nil
	}
	return []string{"__keyspace@" + cmp.Or(f.store.keys.db, "0") + "__:" + f.store.keys.stream(stream).main}
}

// told reports whether the server tells of changes of streams. Who may not ask for its configuration does without.
func (f *foreign) told(ctx context.Context) bool {
	f.mu.Lock()
	asked, speaks := f.asked, f.speaks
	f.mu.Unlock()
	if asked {
		return speaks
	}
	client := f.store.client
	bounded, cancel := f.store.bounded(ctx)
	defer cancel()
	settings, err := client.Do(bounded, client.B().ConfigGet().Parameter("notify-keyspace-events").Build()).AsStrMap()
	if _, refused := rueidis.IsRedisErr(err); err != nil && !refused {
		return false
	}
	flags := settings["notify-keyspace-events"]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.speaks = true, strings.Contains(flags, "K") && strings.ContainsAny(flags, "tA")
	return f.speaks
}

// added is what the server says when an event was added to a stream, by whomever. If it was by rpw its own message follows at once.
const (
	added = "xadd"
	soon  = 2 * time.Millisecond
)

// outlook is what the waiting calls of a stream have seen of it.
type outlook struct {
	waits int
	id    rpw.ID // the newest event that one of them has seen, or knows not to be there
}

// The sweep: how often, and how many streams by one command.
const (
	sweepEvery = 1700 * time.Millisecond
	sweepChunk = 500
)

func newForeign(s *store) *foreign {
	f := &foreign{store: s, waits: make(map[string]*outlook)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// watch looks after a stream until leave is called. id is where the caller is. A nil foreign does nothing.
func (f *foreign) watch(stream string, id rpw.ID) (leave func()) {
	if f == nil {
		return func() {}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.waits[stream]
	if o == nil {
		o = &outlook{}
		f.waits[stream] = o
	}
	o.waits++
	if o.id.Compare(id) < 0 {
		o.id = id
	}
	if f.running == nil && f.ctx.Err() == nil {
		f.running = make(chan struct{})
		go f.run(f.running)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if o.waits--; o.waits == 0 {
			delete(f.waits, stream)
		}
	}
}

// close ends the sweep.
func (f *foreign) close(ctx context.Context) error {
	if f == nil {
		return nil
	}
	f.cancel()
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	if running == nil {
		return nil
	}
	select {
	case <-running:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run sweeps until nobody waits.
func (f *foreign) run(done chan struct{}) {
	defer close(done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(sweepEvery - rand.N(sweepEvery/5))
		select {
		case <-timer.C:
		case <-f.ctx.Done():
			return
		}
		streams := f.streams()
		if streams == nil {
			return
		}
		for some := range slices.Chunk(streams, sweepChunk) {
			f.sweep(some)
		}
	}
}

// sighting is a stream and what was seen of it.
type sighting struct {
	stream string
	id     rpw.ID
}

// streams are those that are waited for; nil: nobody waits, and the goroutine ends.
func (f *foreign) streams() []sighting {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waits) == 0 {
		f.running = nil
		return nil
	}
	streams := make([]sighting, 0, len(f.waits))
	for stream, o := range f.waits {
		streams = append(streams, sighting{stream, o.id})
	}
	return streams
}

// sweep wakes those who wait for streams that have more.
func (f *foreign) sweep(some []sighting) {
	ctx, cancel := f.store.bounded(f.ctx)
	defer cancel()
	byKey := make(map[string]*sighting, len(some))
	keys, ids := make([]string, len(some)), make([]string, len(some))
	for i := range some {
		keys[i], ids[i] = f.store.keys.stream(some[i].stream).main, some[i].id.String()
		byKey[keys[i]] = &some[i]
	}
	for _, result := range f.read(ctx, keys, ids) {
		news, err := result.AsXRead() // nothing is an error, too; of any other one the next sweep will know more
		if err != nil {
			continue
		}
		for key, entries := range news {
			if t := byKey[key]; t != nil && len(entries) > 0 {
				f.found(t, entries[len(entries)-1].ID)
			}
		}
	}
}

// read asks for one event of each stream: by one command, or in a cluster by one for each, as they have slots of their own.
func (f *foreign) read(ctx context.Context, keys, ids []string) []rueidis.RedisResult {
	client := f.store.client
	if !f.store.clustered() {
		return []rueidis.RedisResult{client.Do(ctx, client.B().Xread().Count(1).Streams().Key(keys...).Id(ids...).Build())}
	}
	commands := make([]rueidis.Completed, len(keys))
	for i := range keys {
		commands[i] = client.B().Xread().Count(1).Streams().Key(keys[i]).Id(ids[i]).Build()
	}
	return client.DoMulti(ctx, commands...)
}

// found wakes those who wait for a stream. An event is found once: whom it does not concern waits on.
func (f *foreign) found(t *sighting, id string) {
	at, err := rpw.ParseID(id)
	if err != nil {
		return
	}
	f.mu.Lock()
	if o := f.waits[t.stream]; o != nil && o.id.Compare(at) < 0 {
		o.id = at
	}
	f.mu.Unlock()
	f.store.waker.poke(f.store.keys.channel(streamChannel, t.stream))
}
