package memory

// heap is a binary heap whose items are told where they stand, so that any of them can be moved or
// taken out in O(log n).
type slotHeap[T heapItem[T]] struct{ items []T }

// heapItem is an item of a heap. moved tells its new slot; noSlot: it was taken out.
type heapItem[T any] interface {
	before(other T) bool
	moved(slot int)
}

const noSlot = -1

func (h *slotHeap[T]) len() int { return len(h.items) }

// top returns the first item; ok is false if there is none.
func (h *slotHeap[T]) top() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

func (h *slotHeap[T]) push(item T) {
	h.items = append(h.items, item)
	h.up(len(h.items) - 1)
}

// replace puts item in the place of the one at slot.
func (h *slotHeap[T]) replace(slot int, item T) {
	h.items[slot] = item
	h.down(h.up(slot))
}

func (h *slotHeap[T]) remove(slot int) {
	var zero T
	last := len(h.items) - 1
	h.items[slot].moved(noSlot)
	tail := h.items[last]
	h.items[last] = zero
	h.items = h.items[:last]
	if slot < last {
		h.replace(slot, tail)
	}
}

// walk visits items from the top, and those below an item only if visit says so.
func (h *slotHeap[T]) walk(visit func(T) bool) { h.walkFrom(0, visit) }

func (h *slotHeap[T]) walkFrom(i int, visit func(T) bool) {
	if i < len(h.items) && visit(h.items[i]) {
		h.walkFrom(2*i+1, visit)
		h.walkFrom(2*i+2, visit)
	}
}

func (h *slotHeap[T]) up(i int) int {
	item := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !item.before(h.items[parent]) {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, item)
	return i
}

func (h *slotHeap[T]) down(i int) {
	item := h.items[i]
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.items[right].before(h.items[child]) {
			child = right
		}
		if !h.items[child].before(item) {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, item)
}

func (h *slotHeap[T]) set(i int, item T) {
	h.items[i] = item
	item.moved(i)
}
