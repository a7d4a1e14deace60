package memory

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// streamStore implements rpw.StreamBus. Each stream has a mutex of its own, so streams do not contend.
type streamStore struct {
	store *Store

	mu      sync.RWMutex // guards what follows; never held while the mutex of a stream is awaited
	byName  map[string]*stream
	sorted  []string            // the names, nil when they have changed
	letters map[string][]string // the names of the dead-letter streams of each stream

	admin    sync.Mutex // held during Administer, before the mutex of a stream
	commands lanes[[]rpw.GroupAnswer]
}

var _ rpw.StreamBus = (*streamStore)(nil)

func newStreamStore(store *Store) *streamStore {
	return &streamStore{store: store, byName: make(map[string]*stream), letters: make(map[string][]string)}
}

// lock returns a stream with its mutex held, and creates it if need be.
func (b *streamStore) lock(name string) *stream {
	for {
		st := b.find(name)
		if st == nil {
			st = b.create(name)
		}
		st.mu.Lock()
		if !st.gone {
			return st
		}
		st.mu.Unlock()
	}
}

// lockExisting returns a stream with its mutex held, nil if it does not exist.
func (b *streamStore) lockExisting(name string) *stream {
	for {
		st := b.find(name)
		if st == nil {
			return nil
		}
		st.mu.Lock()
		if !st.gone {
			return st
		}
		st.mu.Unlock()
	}
}

func (b *streamStore) find(name string) *stream {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.byName[name]
}

func (b *streamStore) create(name string) *stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.byName[name]
	if st == nil {
		st = newStream(b.store, name)
		b.byName[name] = st
		b.sorted = nil
		if parent, _, dead := rpw.ParseDeadLetter(name); dead {
			b.letters[parent] = append(b.letters[parent], name)
		}
	}
	return st
}

// names returns the sorted names of all streams, which the caller must not change.
func (b *streamStore) names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sorted == nil {
		b.sorted = make([]string, 0, len(b.byName))
		for name := range b.byName {
			b.sorted = append(b.sorted, name)
		}
		slices.Sort(b.sorted)
	}
	return b.sorted
}

// Locate implements rpw.StreamBus.
func (b *streamStore) Locate(ctx context.Context, stream string, at rpw.Start) (rpw.Position, error) {
	if err := ctx.Err(); err != nil {
		return rpw.Position{}, err
	}
	st := b.lock(stream)
	defer st.mu.Unlock()
	st.expire(time.Now())
	return st.locate(at), nil
}

// Streams implements rpw.StreamBus.
func (b *streamStore) Streams(ctx context.Context, req rpw.StreamsRequest) (page rpw.StreamsPage, err error) {
	if err := ctx.Err(); err != nil {
		return page, err
	}
	most := pageSize(req.Max, rpw.MaxPage)
	names := b.names()
	i, _ := slices.BinarySearch(names, max(req.Prefix, req.After))
	for _, name := range names[i:] {
		if !strings.HasPrefix(name, req.Prefix) {
			break
		}
		if _, _, dead := rpw.ParseDeadLetter(name); dead && !req.DeadLetters || name == req.After {
			continue
		}
		if len(page.Names) == most {
			page.Next = page.Names[most-1]
			break
		}
		page.Names = append(page.Names, name)
	}
	return page, nil
}

// pageSize reads the Max of a request: 0 is the default, and no page is larger than rpw.MaxPage.
func pageSize(most, otherwise int) int {
	if most == 0 {
		most = otherwise
	}
	return min(most, rpw.MaxPage)
}

// StreamInfo implements rpw.StreamBus.
func (b *streamStore) StreamInfo(ctx context.Context, stream string) (rpw.StreamInfo, error) {
	if err := ctx.Err(); err != nil {
		return rpw.StreamInfo{}, err
	}
	st := b.lockExisting(stream)
	if st == nil {
		return rpw.StreamInfo{}, rpw.Errorf(rpw.ErrNotFound, "the stream does not exist; it begins with the first publish or subscription")
	}
	defer st.mu.Unlock()
	st.expire(time.Now())
	return rpw.StreamInfo{
		Name:   st.name,
		Events: st.live,
		Bytes:  st.bytes,
		Added:  st.added,
		First:  st.trimmed,
		Last:   st.end(),
		Groups: len(st.groups),
		Keep:   st.keep,
	}, nil
}

// Trim implements rpw.StreamBus.
func (b *streamStore) Trim(ctx context.Context, stream string, keep rpw.Retention) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	st := b.lockExisting(stream)
	if st == nil {
		return 0, nil
	}
	defer st.mu.Unlock()
	return st.trim(keep, time.Now()), nil
}

// DeleteEvents implements rpw.StreamBus. What a group has already delivered stays with that group.
func (b *streamStore) DeleteEvents(ctx context.Context, stream string, ids []rpw.ID) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	st := b.lockExisting(stream)
	if st == nil {
		return 0, nil
	}
	defer st.mu.Unlock()
	for _, id := range ids {
		if i, ok := st.index(id); ok {
			st.remove(i)
			n++
		}
	}
	return n, nil
}

// DeleteStream implements rpw.StreamBus. The stream stays locked until it and its dead letters are gone,
// so that no group moves a dead letter in between.
func (b *streamStore) DeleteStream(ctx context.Context, stream string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.deleteStream(stream)
	return nil
}

func (b *streamStore) deleteStream(name string) {
	st := b.lock(name)
	defer st.mu.Unlock()
	st.drop()
	for _, dead := range b.forget(st) {
		dead.mu.Lock()
		if !dead.gone {
			dead.drop()
		}
		dead.mu.Unlock()
	}
}

// forget takes a stream out of the store, and its dead-letter streams, which it returns. A dead-letter stream may be out
// already, with the stream it belongs to, and another one in its place.
func (b *streamStore) forget(st *stream) (dead []*stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := st.name
	if b.byName[name] != st {
		return nil
	}
	b.sorted = nil
	delete(b.byName, name)
	for _, letters := range b.letters[name] {
		dead = append(dead, b.byName[letters])
		delete(b.byName, letters)
	}
	delete(b.letters, name)
	if parent, _, ok := rpw.ParseDeadLetter(name); ok {
		b.letters[parent] = slices.DeleteFunc(b.letters[parent], func(other string) bool { return other == name })
		if len(b.letters[parent]) == 0 {
			delete(b.letters, parent)
		}
	}
	return dead
}

func (b *streamStore) flush() {
	for _, name := range b.names() {
		b.deleteStream(name)
	}
}

// sweepAll drops events past their age and outdated keys. It passes over streams in use, among them the caller's own:
// their publishers drop them.
func (b *streamStore) sweepAll(now time.Time) {
	for _, name := range b.names() {
		if st := b.find(name); st != nil && st.mu.TryLock() {
			st.expire(now)
			st.keys.prune(st.store, now, math.MaxInt)
			st.mu.Unlock()
		}
	}
}
