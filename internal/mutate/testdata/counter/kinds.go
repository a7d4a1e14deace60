package counter

// Counter counts on.
type Counter struct{ n int }

// Add has a receiver, and no results.
func (c *Counter) Add(n int) {
	c.n += n
}

// Value has a receiver without a name.
func (Counter) Value(n int) int {
	return n
}

// Sum has any number of parameters.
func Sum(first int, more ...int) int {
	for _, n := range more {
		first += n
	}
	return first
}

// Second has parameters that are not used.
func Second(_ int, second, _ int, _ ...string) int {
	return second
}

// Nothing has parameters without names, and a list of results.
func Nothing(int, string) (int, error) {
	return 0, nil
}

// Half changes what it has been given, and has results with names.
func Half(n int) (half int, err error) {
	defer func() {
		if n == 8 {
			half = 8
		}
	}()
	n, twice := n*2, n*2
	half = twice / 4
	return
}

// Largest is generic.
func Largest[N int | float64](numbers ...N) (largest N) {
	for _, n := range numbers {
		largest = max(largest, n)
	}
	return largest
}

// Zero is generic, and its type cannot be inferred.
func Zero[N int | float64]() N {
	return 0
}

// Pair is a type with parameters.
type Pair[A, B any] struct {
	a A
	b B
}

// Swap is a method of it.
func (p Pair[A, B]) Swap() Pair[B, A] {
	return Pair[B, A]{p.b, p.a}
}

// Twice is no function by declaration.
var Twice = func(n int) int { return 2 * n }

// Jump has a label.
func Jump(n int) int {
again:
	if n < 10 {
		n += 10
		goto again
	}
	return n
}

// Back has a parameter that is called as its type.
func Back(Counter Counter) int {
	return Counter.n - 1
}

// Guard recovers for who defers it.
func Guard(err *any) {
	*err = recover()
}
