// Package counter is there to be mutated.
package counter

// Next counts.
func Next(n int) int {
	step := 1
	return n + step
}
