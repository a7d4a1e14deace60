package memory

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// TestHeap compares the heap with a sorted slice.
func TestHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h heap[dueRecord]
		var slots []*int
		at := rapid.Int64Range(0, 20)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				slot := noSlot
				slots = append(slots, &slot)
				h.push(dueRecord{at: at.Draw(t, "at"), order: uint64(len(slots)), slot: &slot})
			},
			"replace": func(t *rapid.T) {
				if h.len() > 0 {
					i := rapid.IntRange(0, h.len()-1).Draw(t, "slot")
					item := h.items[i]
					item.at = at.Draw(t, "at")
					h.replace(i, item)
				}
			},
			"remove": func(t *rapid.T) {
				if h.len() > 0 {
					i := rapid.IntRange(0, h.len()-1).Draw(t, "slot")
					slot := h.items[i].slot
					h.remove(i)
					assert.Equal(t, noSlot, *slot)
				}
			},
			"": func(t *rapid.T) {
				for i, item := range h.items {
					assert.Equal(t, i, *item.slot)
				}
				top, ok := h.top()
				assert.Equal(t, h.len() > 0, ok)
				for _, item := range h.items {
					assert.False(t, item.before(top))
				}
				limit := at.Draw(t, "limit")
				var walked, want []int64
				h.walk(func(d dueRecord) bool {
					if d.at <= limit {
						walked = append(walked, d.at)
					}
					return d.at <= limit
				})
				for _, item := range h.items {
					if item.at <= limit {
						want = append(want, item.at)
					}
				}
				slices.Sort(walked)
				slices.Sort(want)
				assert.Equal(t, want, walked)
			},
		})
	})
}
