package memory

import "sort"

// chunkSize is how many items a chunk of a deque holds.
const chunkSize = 256

// deque is a queue with random access, in chunks: appending copies nothing of what is there, and what
// leaves at the head gives its memory back. The zero deque is empty.
type deque[T any] struct {
	chunks [][]T // all full but the last; the first chunk of all grows from small, as most queues stay short
	head   int   // index of the oldest item in chunks[0]
	n      int
	spare  []T // an emptied chunk, for the next one
}

func (d *deque[T]) len() int { return d.n }

// at returns the item i places after the oldest.
func (d *deque[T]) at(i int) T {
	i += d.head
	return d.chunks[i/chunkSize][i%chunkSize]
}

// set replaces the item i places after the oldest.
func (d *deque[T]) set(i int, item T) {
	i += d.head
	d.chunks[i/chunkSize][i%chunkSize] = item
}

func (d *deque[T]) push(item T) {
	last := len(d.chunks) - 1
	if last < 0 || len(d.chunks[last]) == chunkSize {
		chunk := d.spare
		d.spare = nil
		if chunk == nil && last >= 0 {
			chunk = make([]T, 0, chunkSize)
		}
		d.chunks = append(d.chunks, chunk)
		last++
	}
	d.chunks[last] = append(d.chunks[last], item)
	d.n++
}

// pop drops the oldest item.
func (d *deque[T]) pop() {
	var none T
	d.chunks[0][d.head] = none
	d.head++
	d.n--
	switch {
	case d.n == 0:
		*d = deque[T]{chunks: d.chunks[:1], spare: d.spare}
		d.chunks[0] = d.chunks[0][:0]
	case d.head == chunkSize:
		d.spare = d.chunks[0][:0]
		d.chunks[0] = nil
		d.chunks = d.chunks[1:]
		d.head = 0
	}
}

// search returns the least index whose item satisfies the predicate, which must be false up to
// some index and true from there; len if there is none.
func (d *deque[T]) search(satisfies func(T) bool) int {
	return sort.Search(d.n, func(i int) bool { return satisfies(d.at(i)) })
}

// filter keeps the items that satisfy the predicate.
func (d *deque[T]) filter(keep func(T) bool) {
	var kept deque[T]
	for i := range d.n {
		if item := d.at(i); keep(item) {
			kept.push(item)
		}
	}
	*d = kept
}
