package memory

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// TestHistoryIsAQueueWithIndex compares a history with a list of its events.
func TestHistoryIsAQueueWithIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		var model []rpw.Event
		next := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				kinds := rapid.IntRange(1, 2*segmentSize).Draw(t, "kinds")
				most := rapid.IntRange(0, 2*smallPayload).Draw(t, "most")
				for range rapid.IntRange(1, 5*segmentSize).Draw(t, "n") {
					next++
					e := rpw.Event{ID: rpw.ID{Seq: next}, Epoch: 7, Count: next, Type: strconv.Itoa(rand.IntN(kinds)), Data: bytes.Repeat([]byte{byte(next)}, rand.IntN(most+1))}
					if next%3 == 0 {
						e.Key = e.Type
					}
					if next%5 == 0 {
						e.Header = map[string]string{"k": e.Type}
					}
					h.push(record{id: e.ID, count: e.Count}, e.Type, e.Data, extra{key: e.Key, header: e.Header})
					model = append(model, e)
				}
			},
			"pop": func(t *rapid.T) {
				for range rapid.IntRange(0, min(len(model), 5*segmentSize)).Draw(t, "n") {
					h.pop()
					model = model[1:]
				}
			},
			"compact": func(t *rapid.T) {
				for i := range model {
					h.at(i).gone = model[i].Count%3 == 0
				}
				h.compact()
				model = slices.DeleteFunc(model, func(e rpw.Event) bool { return e.Count%3 == 0 })
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), h.len())
				for i, want := range model {
					got := h.event(i, 7)
					if len(want.Data) == 0 {
						got.Data, want.Data = nil, nil
					}
					if !reflect.DeepEqual(want, got) || cap(got.Data) != len(got.Data) {
						t.Fatalf("%v at %d, want %v", got, i, want)
					}
				}
				want := slices.IndexFunc(model, func(e rpw.Event) bool { return e.Count >= next/2 })
				if want < 0 {
					want = len(model)
				}
				require.Equal(t, want, h.search(func(r *record) bool { return r.count >= next/2 }))
			},
		})
	})
}

func TestHistoryGivesMemoryBack(t *testing.T) {
	var h history
	for range 100 * segmentSize {
		h.push(record{}, "e", make([]byte, 2*smallPayload), extra{})
	}
	for h.len() > 1 {
		h.strip(0)
		h.pop()
	}
	require.Len(t, h.segments, 1)
	assert.Nil(t, h.segments[0].extras[segmentSize-2].data, "what has left is still referenced")
	h.pop()
	assert.Empty(t, h.segments)
}

type ranked struct{ rank, place int }

func TestHeapRemovesFromAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := heap[*ranked]{less: func(a, b *ranked) bool { return a.rank < b.rank }, place: func(r *ranked) *int { return &r.place }}
		var in []*ranked
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				r := &ranked{rank: rapid.IntRange(0, 50).Draw(t, "rank")}
				in = append(in, r)
				h.push(r)
			},
			"remove": func(t *rapid.T) {
				if len(in) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(in)-1).Draw(t, "i")
				h.remove(in[i])
				in = slices.Delete(in, i, i+1)
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(in), h.len())
				for i, r := range h.items {
					require.Equal(t, i, r.place)
				}
				if len(in) > 0 {
					least := slices.MinFunc(in, func(a, b *ranked) int { return a.rank - b.rank })
					require.Equal(t, least.rank, h.first().rank)
				}
			},
		})
	})
}

func TestPendingListFindsWhatIsLive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l pendingList
		model := map[rpw.ID]*pending{}
		id := rapid.Custom(func(t *rapid.T) rpw.ID { return rpw.ID{MS: rapid.Uint64Range(1, 2000).Draw(t, "ms")} })
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := &pending{id: id.Draw(t, "id")}
				if model[p.id] == nil {
					l.add(p)
					model[p.id] = p
				}
			},
			"run": func(t *rapid.T) {
				start := id.Draw(t, "id")
				for i := range uint64(250) {
					p := &pending{id: rpw.ID{MS: start.MS + i}}
					if model[p.id] == nil {
						l.add(p)
						model[p.id] = p
					}
				}
			},
			"remove": func(t *rapid.T) {
				start := id.Draw(t, "id")
				for i := range uint64(250) {
					if p := l.find(rpw.ID{MS: start.MS + i}); p != nil {
						l.remove(p)
						delete(model, p.id)
					}
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), l.len())
				got := slices.Collect(l.after(rpw.ID{}))
				require.Len(t, got, len(model))
				for _, p := range got {
					if model[p.id] != p || l.find(p.id) != p {
						t.Fatalf("%s is another than was added", p.id)
					}
				}
				require.True(t, slices.IsSortedFunc(got, func(a, b *pending) int { return a.id.Compare(b.id) }))
				require.LessOrEqual(t, len(l.list)-l.len(), max(l.len(), fewTombstones))
				if len(got) > 0 {
					require.Same(t, got[0], l.first())
				}
			},
		})
	})
}

func lane(id byte, seq uint64) rpw.Lane { return rpw.Lane{ID: [16]byte{id}, Seq: seq} }

func TestLanesAnswerRepeats(t *testing.T) {
	var l lanes[string]
	now := time.Now()
	l.store(lane(1, 5), now, "five")

	answer, hit, err := l.recall(lane(1, 5), now)
	require.NoError(t, err)
	assert.True(t, hit)
	assert.Equal(t, "five", answer)

	_, hit, err = l.recall(lane(1, 7), now)
	require.NoError(t, err)
	assert.False(t, hit, "a new call was taken for a repeat")

	_, _, err = l.recall(lane(1, 4), now)
	assert.ErrorIs(t, err, rpw.ErrConflict)

	_, hit, _ = l.recall(lane(1, 5), now.Add(rpw.RepeatWindow))
	assert.True(t, hit, "forgotten too early")
	_, hit, err = l.recall(lane(1, 4), now.Add(rpw.RepeatWindow+1))
	require.NoError(t, err)
	assert.False(t, hit)

	l.store(rpw.Lane{}, now, "nobody")
	_, hit, _ = l.recall(rpw.Lane{}, now)
	assert.False(t, hit, "the zero lane was remembered")
}

func TestRecentIsPrunedAsItIsUsed(t *testing.T) {
	var r recent[int, int]
	now := time.Now()
	for i := range 1000 {
		r.put(i, i, now)
	}
	later := now.Add(rpw.RepeatWindow + time.Second)
	for i := range 1000 / (pruneStep - 1) {
		r.put(-1-i, 0, later)
	}
	for i := range 1000 {
		require.NotContains(t, r.byKey, i)
	}
	for i := range 1000 {
		r.get(i, later.Add(time.Hour))
	}
	assert.Empty(t, r.byKey)
	assert.Nil(t, r.oldest)
	assert.Nil(t, r.newest)
}

func TestRecentKeepsTheNewest(t *testing.T) {
	r := recent[int, int]{most: 3}
	now := time.Now()
	for i := range 4 {
		r.put(i, i, now)
	}
	_, ok := r.get(0, now)
	assert.False(t, ok)
	r.put(1, 11, now) // used again: no longer the oldest
	r.put(4, 4, now)
	v, ok := r.get(1, now)
	assert.True(t, ok)
	assert.Equal(t, 11, v)
	_, ok = r.get(2, now)
	assert.False(t, ok)
	assert.Len(t, r.byKey, 3)
}

func TestWaitersWakeInOrderOnce(t *testing.T) {
	var l waiters
	a, b, c := l.add(), l.add(), l.add()
	l.wake(1)
	assert.Len(t, a.woken, 1)
	assert.Empty(t, b.woken)
	l.remove(b)
	l.wakeAll()
	assert.Empty(t, b.woken)
	assert.Len(t, c.woken, 1)
	assert.True(t, l.empty())
}

func TestWaiterThatGivesUpPassesItsWakeOn(t *testing.T) {
	var l waiters
	a, b := l.add(), l.add()
	l.wake(1)
	l.remove(a)
	assert.Len(t, b.woken, 1)

	taken := l.add()
	next := l.add()
	l.wake(1)
	woken, err := taken.wait(t.Context(), rpw.Forever)
	require.NoError(t, err)
	assert.True(t, woken)
	l.remove(taken)
	assert.Empty(t, next.woken, "a wake that was seen was passed on")
}

func TestWaitEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l waiters
		start := time.Now()
		woken, err := l.add().wait(t.Context(), time.Minute)
		require.NoError(t, err)
		assert.False(t, woken)
		assert.Equal(t, time.Minute, time.Since(start))
	})
}
