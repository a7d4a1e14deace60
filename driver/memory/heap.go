package memory

// heap is a priority queue whose items know their place in it, so that any of them can be removed.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(T) *int // where an item keeps its index
}

func (h *heap[T]) len() int { return len(h.items) }

// first is the least item of a heap that is not empty.
func (h *heap[T]) first() T { return h.items[0] }

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	*h.place(item) = len(h.items) - 1
	h.up(len(h.items) - 1)
}

// fix restores the order after an item in the heap has changed.
func (h *heap[T]) fix(item T) {
	if i := *h.place(item); !h.up(i) {
		h.down(i)
	}
}

func (h *heap[T]) remove(item T) {
	i, last := *h.place(item), len(h.items)-1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	if i < last && !h.up(i) {
		h.down(i)
	}
}

// walk visits the items from the first on, and those below an item only if visit says so.
func (h *heap[T]) walk(visit func(T) bool) { h.walkFrom(0, visit) }

func (h *heap[T]) walkFrom(i int, visit func(T) bool) {
	if i < len(h.items) && visit(h.items[i]) {
		h.walkFrom(2*i+1, visit)
		h.walkFrom(2*i+2, visit)
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.place(h.items[i]) = i
	*h.place(h.items[j]) = j
}

// up reports whether the item moved.
func (h *heap[T]) up(i int) bool {
	start := i
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i < start
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}
