package mutate

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "testdata/counter"

// TestRun is the usual case: the test fails, so the mutant is fine.
func TestRun(t *testing.T) {
	Run(t, dir, []Mutant{
		{Name: "it counts by two", Promise: "X1", File: "counter.go", Old: "step := 1", New: "step := 2", Test: "TestNext/One"},
		{Name: "it panics", Promise: "X1", File: "counter.go", Old: "step := 1", New: "step := 1 / n", Test: "TestNext/One"},
	})
}

func TestMutantsThatProveNothingAreReported(t *testing.T) {
	for name, c := range map[string]struct {
		mutant Mutant
		want   string
	}{
		"nobody notices": {
			Mutant{File: "counter.go", Old: "n + step", New: "step + n", Test: "TestNext/One"},
			"TestNext/One passes although",
		},
		"the text is gone": {
			Mutant{File: "counter.go", Old: "step := 3", New: "step := 4", Test: "TestNext/One"},
			"the text of this mutant stands 0 times in counter.go",
		},
		"the text is not unique": {
			Mutant{File: "counter.go", Old: "step", New: "n", Test: "TestNext/One"},
			"the text of this mutant stands 2 times in counter.go",
		},
		"it does not compile": {
			Mutant{File: "counter.go", Old: "return n + step", New: "", Test: "TestNext/One"},
			"the mutant does not compile",
		},
		"there is no such test": {
			Mutant{File: "counter.go", Old: "step := 1", New: "step := 2", Test: "TestNext/Two"},
			"there is no test TestNext/Two",
		},
		"there is no such file": {
			Mutant{File: "count.go", Old: "step := 1", New: "step := 2", Test: "TestNext/One"},
			"count.go",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.mutant.check(t.Context(), dir, t.TempDir())
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}
