package memory

import (
	"time"

	"github.com/redis-process-worker/rpw"
)

// keyring remembers where the events with keys went, each for its own window. It is pruned as it is used.
type keyring struct {
	byKey  map[string]*storedKey
	expiry heap[*storedKey]
}

type storedKey struct {
	key   string
	at    rpw.Position
	until time.Time
	place int
}

// keyOverhead is about what a remembered key costs beside its text.
const keyOverhead = 160

func keyCost(key string) int { return len(key) + keyOverhead }

func (k *keyring) find(key string, now time.Time) (rpw.Position, bool) {
	stored, ok := k.byKey[key]
	if !ok || !stored.until.After(now) {
		return rpw.Position{}, false
	}
	return stored.at, true
}

// remember stores a key whose bytes are charged already.
func (k *keyring) remember(store *Store, key string, at rpw.Position, until time.Time) {
	if k.byKey == nil {
		k.byKey = make(map[string]*storedKey)
		k.expiry.less = func(a, b *storedKey) bool { return a.until.Before(b.until) }
		k.expiry.place = func(s *storedKey) *int { return &s.place }
	}
	if old, ok := k.byKey[key]; ok { // outdated, but not pruned yet
		k.forget(store, old)
	}
	stored := &storedKey{key: key, at: at, until: until}
	k.byKey[key] = stored
	k.expiry.push(stored)
}

// prune forgets up to most outdated keys.
func (k *keyring) prune(store *Store, now time.Time, most int) {
	for range most {
		if k.expiry.len() == 0 || k.expiry.first().until.After(now) {
			return
		}
		k.forget(store, k.expiry.first())
	}
}

func (k *keyring) forget(store *Store, stored *storedKey) {
	k.expiry.remove(stored)
	delete(k.byKey, stored.key)
	store.release(keyCost(stored.key))
}

func (k *keyring) drop(store *Store) {
	for key := range k.byKey {
		store.release(keyCost(key))
	}
	*k = keyring{}
}
