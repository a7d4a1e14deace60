package faults

import (
	"cmp"
	"fmt"
	"io"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// figures are what the tests have measured; TestMain prints them.
var figures table

type table struct {
	mu   sync.Mutex
	rows [][4]string // test, what, measured, bound
}

func (f *table) add(t testing.TB, what string, measured any, bound string) {
	t.Helper()
	t.Logf("%s: %v (%s)", what, show(measured), bound)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, [4]string{t.Name(), what, show(measured), bound})
}

func (f *table) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(aligned, "\ntest\twhat\tmeasured\tbound")
	for _, row := range f.rows {
		fmt.Fprintf(aligned, "%s\t%s\t%s\t%s\n", row[0], row[1], row[2], row[3])
	}
	aligned.Flush()
}

// atMost notes a figure, and fails the test if it is over its bound.
func atMost[T cmp.Ordered](t testing.TB, what string, measured, bound T) {
	t.Helper()
	figures.add(t, what, measured, "at most "+show(bound))
	if measured > bound {
		t.Errorf("%s: %s, more than %s", what, show(measured), show(bound))
	}
}

// note notes a figure that has no bound.
func note(t testing.TB, what string, measured any) {
	t.Helper()
	figures.add(t, what, measured, "")
}

// Units of figures.
type (
	percent   float64 // of one core
	mebibytes float64
)

func (p percent) String() string   { return fmt.Sprintf("%.1f %% of a core", float64(p)) }
func (m mebibytes) String() string { return fmt.Sprintf("%.1f MiB", float64(m)) }

func show(v any) string {
	if d, ok := v.(time.Duration); ok {
		return d.Round(time.Millisecond).String()
	}
	return fmt.Sprint(v)
}
