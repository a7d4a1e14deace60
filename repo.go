package rpw

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Repo is a store of entities of one type in the cache: a value for each id, under the key "name:id", and an index of the ids, so that
// All reads what is there and not the whole cache. Make one with RepoOf, once; it is immutable and works with every Hub.
type Repo[T any] struct {
	name    string
	ttl     time.Duration
	mistake error // in the options
}

// RepoOf names a repo; the name holds no ":", which ends it in the keys of its entities, and no "!". Ids may hold both. The name is checked
// when it is used. The option TTL is for each entity that Save or Create stores; OnlyIf is ErrInvalid.
func RepoOf[T any](name string, opts ...SetOption) Repo[T] {
	item := CacheSet{TTL: NoTTL}
	if apply(&item, opts); item.When != Always {
		return Repo[T]{name: name, mistake: Errorf(ErrInvalid, "RepoOf knows no condition; leave OnlyIf out")}
	}
	return Repo[T]{name: name, ttl: item.TTL}
}

// Entity is a value with its id.
type Entity[T any] struct {
	ID    string
	Value T
}

func (r Repo[T]) key(id string) string { return r.name + ":" + id }

func (r Repo[T]) check(h *Hub, verb, id string) error {
	err := first(CheckName("repo", r.name), CheckName("entity id", id), r.mistake)
	if err == nil && strings.ContainsAny(r.name, ":!") { // two repos could share a key
		err = Errorf(ErrInvalid, "the name of a repo, %s, holds no \":\" and no \"!\"", QuoteName(r.name))
	}
	return call{h: h, verb: verb, target: r.key(id)}.wrap(err)
}

// Save stores an entity, new or not.
func (r Repo[T]) Save(ctx context.Context, h *Hub, id string, value T) error {
	if err := r.check(h, "save", id); err != nil {
		return err
	}
	err := Set(ctx, h, r.key(id), value, TTL(r.ttl), OnlyIf(IfPresent))
	if !errors.Is(err, ErrConflict) {
		return err
	}
	return r.store(ctx, h, id, value, Always)
}

// store keeps the rule that every entity is in the index, whoever deletes it at the same time: the index comes first, and is looked at
// again afterwards; a delete takes the entity first, and looks at it again after it has changed the index.
func (r Repo[T]) store(ctx context.Context, h *Hub, id string, value T, when When) error {
	if err := r.index(ctx, h, id); err != nil {
		return err
	}
	if err := Set(ctx, h, r.key(id), value, TTL(r.ttl), OnlyIf(when)); err != nil {
		return err
	}
	_, err := r.insert(ctx, h, id)
	return err
}

// Create stores a new entity; one that is there already is ErrConflict.
func (r Repo[T]) Create(ctx context.Context, h *Hub, id string, value T) error {
	if err := r.check(h, "create", id); err != nil {
		return err
	}
	return r.store(ctx, h, id, value, IfAbsent)
}

// Load returns an entity; ok is false if there is none.
func (r Repo[T]) Load(ctx context.Context, h *Hub, id string) (value T, ok bool, err error) {
	if err := r.check(h, "load", id); err != nil {
		return value, false, err
	}
	return Get[T](ctx, h, r.key(id))
}

// Update changes an entity that is there, as Update of the package does: ErrNotFound if there is none.
func (r Repo[T]) Update(ctx context.Context, h *Hub, id string, change func(*T) error) (T, error) {
	if err := r.check(h, "update", id); err != nil {
		var none T
		return none, err
	}
	return Update(ctx, h, r.key(id), change)
}

// Delete removes an entity and says whether it was there.
func (r Repo[T]) Delete(ctx context.Context, h *Hub, id string) (bool, error) {
	if err := r.check(h, "delete", id); err != nil {
		return false, err
	}
	n, err := Delete(ctx, h, r.key(id))
	if err != nil {
		return false, err
	}
	return n == 1, r.unindex(ctx, h, shardOf(id), []string{id})
}

// All returns the entities in no order, each once. Those that come or go meanwhile may or may not be among them. An error ends it; an
// entity that is no T is an error with its id, and the rest follows.
func (r Repo[T]) All(ctx context.Context, h *Hub) iter.Seq2[Entity[T], error] {
	return func(yield func(Entity[T], error) bool) {
		if err := r.check(h, "all", "x"); err != nil {
			yield(Entity[T]{}, err)
			return
		}
		for shard := range repoShards {
			ids, _, err := r.shard(ctx, h, shard)
			if err != nil {
				yield(Entity[T]{}, err)
				return
			}
			for chunk := range slices.Chunk(ids, MaxBatch) {
				if !r.yieldAll(ctx, h, shard, chunk, yield) {
					return
				}
			}
		}
	}
}

func (r Repo[T]) yieldAll(ctx context.Context, h *Hub, shard int, ids []string, yield func(Entity[T], error) bool) bool {
	values, err := r.values(ctx, h, ids)
	if err != nil {
		yield(Entity[T]{}, err)
		return false
	}
	var expired []string
	for i, v := range values {
		if !v.Found {
			expired = append(expired, ids[i])
			continue
		}
		e := Entity[T]{ID: ids[i]}
		if e.Value, err = decode[T](v.Data); err != nil {
			err = call{h: h, verb: "load", target: r.key(ids[i])}.wrap(Errorf(ErrConflict, "%w", explain(err)))
		}
		if !yield(e, err) {
			return false
		}
	}
	if err := r.unindex(ctx, h, shard, expired); err != nil {
		yield(Entity[T]{}, err)
		return false
	}
	return true
}

func (r Repo[T]) values(ctx context.Context, h *Hub, ids []string) ([]Value, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = r.key(id)
	}
	return h.Cache().Get(ctx, GetRequest{Keys: keys})
}

// repoShards is how many keys the index of a repo is spread over: writers of different ids rarely meet, and with ids of
// 36 bytes the index has room for about 1.6 million.
const repoShards = 64

func shardOf(id string) int {
	hash := fnv.New32a()
	hash.Write([]byte(id))
	return int(hash.Sum32() % repoShards)
}

func (r Repo[T]) shardKey(n int) string { return r.name + "!index:" + strconv.Itoa(n) }

// shard returns the ids of one part of the index, sorted, with its stored bytes.
func (r Repo[T]) shard(ctx context.Context, h *Hub, n int) (ids []string, stored Value, err error) {
	if stored, err = getRaw(ctx, h, r.shardKey(n)); err != nil || !stored.Found {
		return nil, stored, err
	}
	if err := json.Unmarshal(stored.Data, &ids); err != nil {
		return nil, stored, call{h: h, verb: "index", target: r.shardKey(n)}.wrap(Errorf(ErrConflict, "the index of the repo is damaged: %w", err))
	}
	return ids, stored, nil
}

// What a repo whose entities lapse takes off its index, should nobody call All: each time that a part of it has grown by sweepEvery ids,
// sweepMost of them are looked at. So a part holds, beside what lives, about a third as much that has lapsed, and sweepEvery ids.
const (
	sweepEvery = 16
	sweepMost  = 64
)

// index puts an id into the index before its entity is stored.
func (r Repo[T]) index(ctx context.Context, h *Hub, id string) error {
	ids, err := r.insert(ctx, h, id)
	if err != nil || r.ttl == NoTTL || len(ids) == 0 || len(ids)%sweepEvery > 0 {
		return err
	}
	at := rand.N(len(ids))
	others := slices.Concat(ids[at:], ids[:at])[:min(len(ids), sweepMost)]
	others = slices.DeleteFunc(others, func(other string) bool { return other == id }) // which is about to be stored
	values, err := r.values(ctx, h, others)
	if err != nil {
		return err
	}
	var lapsed []string
	for i, v := range values {
		if !v.Found {
			lapsed = append(lapsed, others[i])
		}
	}
	return r.unindex(ctx, h, shardOf(id), lapsed)
}

// insert puts an id into the index. It returns the ids of its part, none if it was there already.
func (r Repo[T]) insert(ctx context.Context, h *Hub, id string) ([]string, error) {
	return r.edit(ctx, h, shardOf(id), func(ids []string) []string {
		if i, there := slices.BinarySearch(ids, id); !there {
			ids = slices.Insert(ids, i, id)
		}
		return ids
	})
}

// unindex takes ids of one shard, whose entities are gone, off the index. One that was stored again meanwhile goes back.
func (r Repo[T]) unindex(ctx context.Context, h *Hub, shard int, gone []string) error {
	if len(gone) == 0 {
		return nil
	}
	_, err := r.edit(ctx, h, shard, func(ids []string) []string {
		return slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(gone, id) })
	})
	if err != nil {
		return err
	}
	values, err := r.values(ctx, h, gone)
	if err != nil {
		return err
	}
	for i, v := range values {
		if v.Found {
			_, again := r.insert(ctx, h, gone[i])
			err = first(err, again)
		}
	}
	return err
}

// edit changes one part of the index by compare and swap. It returns what it holds now, nothing if there was nothing to change.
func (r Repo[T]) edit(ctx context.Context, h *Hub, shard int, change func([]string) []string) ([]string, error) {
	for {
		ids, stored, err := r.shard(ctx, h, shard)
		if err != nil {
			return nil, err
		}
		n := len(ids)
		if ids = change(ids); len(ids) == n {
			return nil, nil
		}
		data, err := encode(ids)
		if err != nil {
			return nil, err
		}
		item := CacheSet{Key: r.shardKey(shard), Data: data, TTL: NoTTL, When: IfEqual, Old: stored.Data}
		if !stored.Found {
			item.When = IfAbsent
		}
		if err := setRaw(ctx, h, item); !errors.Is(err, ErrConflict) {
			return ids, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}
