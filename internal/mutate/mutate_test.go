package mutate

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "testdata/counter"

// noticed are mutants as they should be: of each the test fails.
var noticed = []Mutant{
	{Name: "it counts by two", File: "counter.go", Old: "step := 1", New: "step := 2", Test: "TestNext/One"},
	{Name: "it panics", File: "counter.go", Old: "step := 1", New: "step := 1 / n", Test: "TestNext/One"},
	{Name: "method", File: "kinds.go", Old: "c.n += n", New: "c.n = n", Test: "TestAdd"},
	{Name: "receiver without a name", File: "kinds.go", Old: "return n\n}\n\n// Sum", New: "return n + 1\n}\n\n// Sum", Test: "TestValue"},
	{Name: "variadic", File: "kinds.go", Old: "range more {", New: "range more[1:] {", Test: "TestSum"},
	{Name: "blank parameters", File: "kinds.go", Old: "return second", New: "return second + 1", Test: "TestSecond"},
	{Name: "parameters without names", File: "kinds.go", Old: "return 0, nil", New: "return 1, nil", Test: "TestNothing"},
	{Name: "results with names", File: "kinds.go", Old: "if n == 8 {", New: "if n == 4 {", Test: "TestHalf"},
	{Name: "generic", File: "kinds.go", Old: "max(largest, n)", New: "min(largest, n)", Test: "TestLargest"},
	{Name: "generic, nothing to infer from", File: "kinds.go", Old: "N {\n\treturn 0", New: "N {\n\treturn 1", Test: "TestZero"},
	{Name: "method of a generic type", File: "kinds.go", Old: "p.b, p.a}", New: "p.b, *new(A)}", Test: "TestSwap"},
	{Name: "literal", File: "kinds.go", Old: "return 2 * n", New: "return n", Test: "TestTwice"},
	{Name: "label", File: "kinds.go", Old: "n += 10", New: "n += 11", Test: "TestJump"},
	{Name: "embedded file", File: "words/2.txt", Old: "two", New: "too", Test: "TestWord"},
}

// noticedAlone are others, which cannot be switched on.
var noticedAlone = []Mutant{
	{Name: "constant", File: "counter.go", Old: "Start = 1", New: "Start = 2", Test: "TestStart"},
	{Name: "signature", File: "kinds.go", Old: "Twice = func(n int) int {", New: "Twice = func(int) int { n := 1;", Test: "TestTwice"},
	{Name: "two functions", File: "kinds.go", Old: "return second\n}\n\n// Nothing has", New: "return 1\n}\n\n// Nothing can have", Test: "TestSecond"},
	{Name: "name that is also a type", File: "kinds.go", Old: "Counter.n - 1", New: "Counter.n", Test: "TestBack"},
	{Name: "recover", File: "kinds.go", Old: "*err = recover()", New: "_, *err = recover(), nil", Test: "TestGuard"},
}

// harmless change nothing, so that all must be as it was.
var harmless = []Mutant{
	{Name: "method", File: "kinds.go", Old: "c.n += n", New: "c.n += 1 * n", Test: "TestAdd"},
	{Name: "variadic", File: "kinds.go", Old: "range more {", New: "range more[:] {", Test: "TestSum"},
	{Name: "blank parameters", File: "kinds.go", Old: "return second", New: "return 1 * second", Test: "TestSecond"},
	{Name: "parameters that are declared again", File: "kinds.go", Old: "twice / 4", New: "twice / 2 / 2", Test: "TestHalf"},
	{Name: "generic", File: "kinds.go", Old: "max(largest, n)", New: "max(n, largest)", Test: "TestLargest"},
	{Name: "label", File: "kinds.go", Old: "n += 10", New: "n += 1 * 10", Test: "TestJump"},
	{Name: "embedded file", File: "words/2.txt", Old: "two", New: "two", Test: "TestWord"},
	{Name: "name that is also a type", File: "kinds.go", Old: "Counter.n - 1", New: "Counter.n - 2 + 1", Test: "TestBack"},
	{Name: "recover", File: "kinds.go", Old: "*err = recover()", New: "*err = (recover())", Test: "TestGuard"},
}

func TestRun(t *testing.T) {
	Run(t, dir, noticed)
}

func TestRunAlone(t *testing.T) {
	Run(t, dir, noticedAlone)
}

func TestWhatIsSwitchedOn(t *testing.T) {
	for _, mutants := range [][]Mutant{noticed, noticedAlone} {
		var changes []*change
		for i, m := range mutants {
			changes = append(changes, newChange(dir, i+1, m))
		}
		_, err := join(dir, changes)
		require.NoError(t, err)
		for _, c := range changes {
			assert.Equal(t, &mutants[0] == &noticedAlone[0], c.alone, c.Name)
		}
	}
}

// TestMutantsThatProveNothingAreReported also sees that they are no hindrance to the others.
func TestMutantsThatProveNothingAreReported(t *testing.T) {
	cases := []struct {
		mutant Mutant
		want   string
	}{
		{
			Mutant{Name: "nobody notices", File: "counter.go", Old: "n + step", New: "step + n", Test: "TestNext/One"},
			"TestNext/One passes although",
		}, {
			Mutant{Name: "nobody notices it alone", File: "counter.go", Old: "Start = 1", New: "Start = 2 - 1", Test: "TestStart"},
			"TestStart passes although",
		}, {
			Mutant{Name: "the text is gone", File: "counter.go", Old: "step := 3", New: "step := 4", Test: "TestNext/One"},
			"the text of this mutant stands 0 times in counter.go",
		}, {
			Mutant{Name: "the text is not unique", File: "counter.go", Old: "step", New: "n", Test: "TestNext/One"},
			"the text of this mutant stands 2 times in counter.go",
		}, {
			Mutant{Name: "it is no Go", File: "counter.go", Old: "return n + step", New: "return {", Test: "TestNext/One"},
			"the mutant does not compile: counter.go:9:",
		}, {
			Mutant{Name: "it does not compile", File: "counter.go", Old: "return n + step", New: "", Test: "TestNext/One"},
			"mutant6/counter.go:8:2: declared and not used: step",
		}, {
			Mutant{Name: "it does not compile either", File: "kinds.go", Old: "c.n += n", New: "c.m += n", Test: "TestAdd"},
			"mutant7/kinds.go:8:4: c.m undefined",
		}, {
			Mutant{Name: "it does not compile alone", File: "counter.go", Old: "const Start = 1", New: "", Test: "TestStart"},
			"the mutant does not compile",
		}, {
			Mutant{Name: "there is no such test", File: "counter.go", Old: "step := 1", New: "step := 2", Test: "TestNext/Two"},
			"there is no test TestNext/Two",
		}, {
			Mutant{Name: "there is no such file", File: "count.go", Old: "step := 1", New: "step := 2", Test: "TestNext/One"},
			"count.go",
		},
	}
	var mutants []Mutant
	for _, c := range cases {
		mutants = append(mutants, c.mutant)
	}
	l, err := newLab(t.Context(), dir, t.TempDir(), append(mutants, noticed...))
	require.NoError(t, err)
	for i, change := range l.changes {
		t.Run(change.Name, func(t *testing.T) {
			t.Parallel()
			err := l.check(t.Context(), change, t.TempDir())
			if i >= len(cases) {
				assert.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Contains(t, err.Error(), cases[i].want)
		})
	}
}

func TestHarmlessMutantsAreReported(t *testing.T) {
	l, err := newLab(t.Context(), dir, t.TempDir(), harmless)
	require.NoError(t, err)
	for _, change := range l.changes {
		t.Run(change.Name, func(t *testing.T) {
			t.Parallel()
			assert.ErrorContains(t, l.check(t.Context(), change, t.TempDir()), "passes although")
		})
	}
}

func TestHangIsReported(t *testing.T) {
	l, err := newLab(t.Context(), dir, t.TempDir(), []Mutant{{File: "counter.go", Old: "step := 1", New: "step := 2", Test: "TestHang"}})
	require.NoError(t, err)
	l.most = "10ms"
	assert.ErrorContains(t, l.check(t.Context(), l.changes[0], t.TempDir()), "TestHang hangs")
}

func TestTestsMustPassWithoutMutants(t *testing.T) {
	l, err := newLab(t.Context(), dir, t.TempDir(), []Mutant{
		{File: "counter.go", Old: "step := 1", New: "step := 2", Test: "TestNext/One"},
		{File: "counter.go", Old: "n + step", New: "n + step + 1", Test: "TestOdd"},
	})
	require.NoError(t, err)
	err = l.control(t.Context())
	require.ErrorContains(t, err, "without any mutant the tests do not pass")
	assert.ErrorContains(t, err, "FAIL: TestOdd")
	assert.NotContains(t, err.Error(), "FAIL: TestNext")
}

func TestPackageThatDoesNotCompile(t *testing.T) {
	_, err := newLab(t.Context(), "testdata/broken", t.TempDir(), nil)
	assert.ErrorContains(t, err, "undefined: nothing")
}
