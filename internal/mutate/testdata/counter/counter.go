// Package counter is there to be mutated.
package counter

import "embed"

// Next counts.
func Next(n int) int {
	step := 1
	return n + step
}

// Start is where counting begins.
const Start = 1

//go:embed words/*.txt
var words embed.FS

// Word is the word for a number.
func Word(n string) string {
	text, err := words.ReadFile("words/" + n + ".txt")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
