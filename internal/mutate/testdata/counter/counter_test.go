package counter

import "testing"

func TestNext(t *testing.T) {
	t.Run("One", func(t *testing.T) { equal(t, Next(0), 1) })
}

func TestStart(t *testing.T) { equal(t, Start, 1) }

func TestWord(t *testing.T) {
	equal(t, Word("1"), "one")
	equal(t, Word("2"), "two")
}

// TestOdd fails as it is.
func TestOdd(t *testing.T) { equal(t, Next(1)%2, 1) }

func TestHang(*testing.T) {
	for Next(0) != 1 {
	}
}

func TestAdd(t *testing.T) {
	var c Counter
	c.Add(2)
	c.Add(3)
	equal(t, c.n, 5)
}

func TestValue(t *testing.T) { equal(t, Counter{}.Value(7), 7) }

func TestSum(t *testing.T) { equal(t, Sum(1, 2, 3), 6) }

func TestSecond(t *testing.T) { equal(t, Second(1, 2, 3, "4"), 2) }

func TestNothing(t *testing.T) {
	n, err := Nothing(1, "")
	equal(t, n, 0)
	equal(t, err, nil)
}

func TestHalf(t *testing.T) {
	half, err := Half(6)
	equal(t, half, 3)
	equal(t, err, nil)
	half, _ = Half(4)
	equal(t, half, 8)
}

func TestLargest(t *testing.T) { equal(t, Largest(0.5, 2, 1.5), 2) }

func TestZero(t *testing.T) { equal(t, Zero[float64](), 0) }

func TestSwap(t *testing.T) {
	equal(t, Pair[int, string]{1, "a"}.Swap(), Pair[string, int]{"a", 1})
}

func TestTwice(t *testing.T) { equal(t, Twice(2), 4) }

func TestJump(t *testing.T) { equal(t, Jump(5), 15) }

func TestBack(t *testing.T) { equal(t, Back(Counter{2}), 1) }

func TestGuard(t *testing.T) {
	var err any
	func() {
		defer Guard(&err)
		panic("out of numbers")
	}()
	equal(t, err, any("out of numbers"))
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%v, not %v", got, want)
	}
}
