package rpw_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// indexed returns how many ids the index of a repo holds.
func indexed(t *testing.T, hub *rpw.Hub, name string) (n int) {
	for key, err := range rpw.Keys(t.Context(), hub, name+"!index:") {
		require.NoError(t, err)
		ids, _, err := rpw.Get[[]string](t.Context(), hub, key)
		require.NoError(t, err)
		n += len(ids)
	}
	return n
}

// TestLapsedEntitiesLeaveTheIndex: the index of a repo that nobody lists stays as large as what lives.
func TestLapsedEntitiesLeaveTheIndex(t *testing.T) {
	for name, store := range map[string]func(r rpw.Repo[int], hub *rpw.Hub, id string) error{
		"save":   func(r rpw.Repo[int], hub *rpw.Hub, id string) error { return r.Save(t.Context(), hub, id, 1) },
		"create": func(r rpw.Repo[int], hub *rpw.Hub, id string) error { return r.Create(t.Context(), hub, id, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := memoryHub(t)
				sessions := rpw.RepoOf[int]("session", rpw.TTL(200*time.Millisecond))
				for n := range 5000 {
					require.NoError(t, store(sessions, hub, fmt.Sprintf("%09d", n)))
					time.Sleep(time.Millisecond)
				}
				const shards, living = 64, 200
				assert.LessOrEqual(t, indexed(t, hub, "session"), 2*living+16*shards)
				listed := 0
				for _, err := range sessions.All(t.Context(), hub) {
					require.NoError(t, err)
					listed++
				}
				assert.InDelta(t, living, listed, 1, "those that live are all there")
			})
		})
	}
}

// countingCache counts calls of Get.
type countingCache struct {
	rpw.Cache
	gets int
}

func (c *countingCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	c.gets++
	return c.Cache.Get(ctx, req)
}

// TestLookingForLapsedEntitiesCostsLittle: of those that store an entity one in sixteen reads once more, and none if entities live for ever.
func TestLookingForLapsedEntitiesCostsLittle(t *testing.T) {
	const n = 2000
	gets := func(opts ...rpw.SetOption) int {
		cache := &countingCache{Cache: memoryHub(t).Cache()}
		hub := newHub(t, rpw.Parts{Cache: cache})
		repo := rpw.RepoOf[int]("r", opts...)
		for i := range n {
			require.NoError(t, repo.Create(t.Context(), hub, strconv.Itoa(i), 1))
		}
		assert.Equal(t, n, indexed(t, hub, "r"))
		return cache.gets - 64 // of indexed
	}
	forever, short := gets(), gets(rpw.TTL(time.Hour))
	assert.Equal(t, 2*n, forever)
	assert.Greater(t, short, forever)
	assert.LessOrEqual(t, short, forever+n/16)
}

// TestReposShareNoKeys: the first ":" of a key ends the repo's name, so that no two repos store an entity or an index under one key.
func TestReposShareNoKeys(t *testing.T) {
	hub := memoryHub(t)
	for _, name := range []string{"a:b", "a!index", ":", "", "a*"} {
		err := rpw.RepoOf[int](name).Save(t.Context(), hub, "c", 1)
		assert.ErrorIs(t, err, rpw.ErrInvalid, name)
		for _, err := range rpw.RepoOf[int](name).All(t.Context(), hub) {
			assert.ErrorIs(t, err, rpw.ErrInvalid, name)
		}
	}
	a, ids := rpw.RepoOf[string]("a"), []string{"b:c", "!index:0", "x!index:1", "a:a"}
	for _, id := range ids {
		require.NoError(t, a.Save(t.Context(), hub, id, id))
	}
	var listed []string
	for entity, err := range a.All(t.Context(), hub) {
		require.NoError(t, err)
		listed = append(listed, entity.ID)
	}
	assert.ElementsMatch(t, ids, listed)
}

// TestARepoHasNoCondition: an option that would refuse what Save and Create are for is refused.
func TestARepoHasNoCondition(t *testing.T) {
	hub := memoryHub(t)
	repo := rpw.RepoOf[int]("r", rpw.OnlyIf(rpw.IfPresent))
	assert.ErrorIs(t, repo.Save(t.Context(), hub, "a", 1), rpw.ErrInvalid)
	assert.Zero(t, indexed(t, hub, "r"))
}
