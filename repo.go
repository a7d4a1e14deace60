package rpw

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Repo is a store of entities of one type in the cache: a value for each id, and an index of the ids, so that All reads what is there and
// not the whole cache. Make one with RepoOf, once; it is immutable and works with every Hub.
type Repo[T any] struct {
	name string
	opts []SetOption
}

// RepoOf names a repo; the name holds no "!". The options (TTL) are for each entity it stores.
func RepoOf[T any](name string, opts ...SetOption) Repo[T] {
	return Repo[T]{name: name, opts: opts}
}

// Entity is a value with its id.
type Entity[T any] struct {
	ID    string
	Value T
}

func (r Repo[T]) key(id string) string { return r.name + ":" + id }

func (r Repo[T]) check(h *Hub, verb, id string) error {
	err := first(CheckName("repo", r.name), CheckName("entity id", id))
	if err == nil && strings.Contains(r.name, "!") {
		err = Errorf(ErrInvalid, "the name of a repo holds no \"!\"")
	}
	return call{h: h, verb: verb, target: r.key(id)}.wrap(err)
}

// Save stores an entity, new or not.
func (r Repo[T]) Save(ctx context.Context, h *Hub, id string, value T) error {
	if err := r.check(h, "save", id); err != nil {
		return err
	}
	err := Set(ctx, h, r.key(id), value, append(slices.Clip(r.opts), OnlyIf(IfPresent))...)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	return r.store(ctx, h, id, value, r.opts)
}

// store keeps the rule that every entity is in the index, whoever deletes it at the same time: the index comes first, and is looked at
// again afterwards; a delete takes the entity first, and looks at it again after it has changed the index.
func (r Repo[T]) store(ctx context.Context, h *Hub, id string, value T, opts []SetOption) error {
	if err := r.index(ctx, h, id); err != nil {
		return err
	}
	if err := Set(ctx, h, r.key(id), value, opts...); err != nil {
		return err
	}
	return r.index(ctx, h, id)
}

// Create stores a new entity; one that is there already is ErrConflict.
func (r Repo[T]) Create(ctx context.Context, h *Hub, id string, value T) error {
	if err := r.check(h, "create", id); err != nil {
		return err
	}
	return r.store(ctx, h, id, value, append(slices.Clip(r.opts), OnlyIf(IfAbsent)))
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

// index puts an id into the index.
func (r Repo[T]) index(ctx context.Context, h *Hub, id string) error {
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
	err := r.edit(ctx, h, shard, func(ids []string) []string {
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
			err = first(err, r.index(ctx, h, gone[i]))
		}
	}
	return err
}

// edit changes one part of the index by compare and swap.
func (r Repo[T]) edit(ctx context.Context, h *Hub, shard int, change func([]string) []string) error {
	for {
		ids, stored, err := r.shard(ctx, h, shard)
		if err != nil {
			return err
		}
		n := len(ids)
		if ids = change(ids); len(ids) == n {
			return nil
		}
		data, err := encode(ids)
		if err != nil {
			return err
		}
		item := CacheSet{Key: r.shardKey(shard), Data: data, TTL: NoTTL, When: IfEqual, Old: stored.Data}
		if !stored.Found {
			item.When = IfAbsent
		}
		if err := setRaw(ctx, h, item); !errors.Is(err, ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
