package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// console is an output that several goroutines share.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

func (c *console) print(write func(io.Writer)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	write(c.w)
}

func (c *console) printf(format string, args ...any) {
	c.print(func(w io.Writer) { fmt.Fprintf(w, format, args...) })
}

// report is the table at the end of a pass.
type report struct {
	title string
	dir   string
	took  time.Duration
	totals
	partial bool  // it was interrupted
	open    int64 // started and not done
}

func (r report) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s over %s in %s\n\n", r.title, Path(r.dir), duration(r.took))
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(label, files, bytes, note string) {
		line := fmt.Sprintf("  %-8s\t%9s\t%9s", label, files, bytes)
		if note != "" {
			line += "\t" + note
		}
		fmt.Fprintln(t, line)
	}
	speed, why := "", ""
	if r.Digested > 0 {
		speed = fmt.Sprintf("%s digests/s, %s/s", number(perSecond(r.Digested, r.took)), size(perSecond(r.Bytes, r.took)))
	}
	if r.Skipped > 0 {
		why = "unchanged since their digest"
	}
	row("", "files", "bytes", "")
	row("digested", number(r.Digested), size(r.Bytes), speed)
	row("skipped", number(r.Skipped), size(r.SkippedBytes), why)
	row("failed", number(r.Failed), "-", "")
	if r.partial {
		row("left", number(r.Scanned-r.done()), "-", number(r.open)+" of them started")
	}
	row("────────", "─────────", "─────────", "")
	row("scanned", number(r.Scanned), size(r.Bytes+r.SkippedBytes), "")
	t.Flush()
	r.writeSlowest(w)
	r.writeFailures(w)
}

func (r report) writeSlowest(w io.Writer) {
	if len(r.Slowest) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for i, done := range r.Slowest {
		label := ""
		if i == 0 {
			label = "slowest"
		}
		fmt.Fprintf(t, "  %-8s\t%9s\t%9s\t%s\n", label, duration(done.Took), size(done.Size), r.relative(done.Path))
	}
	t.Flush()
}

func (r report) writeFailures(w io.Writer) {
	if r.Failed == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  failed\twhy\n")
	byPath := func(a, b FileDone) int { return strings.Compare(string(a.Path), string(b.Path)) }
	for _, done := range slices.SortedFunc(slices.Values(r.Failures), byPath) {
		fmt.Fprintf(t, "  %s\t%s\n", r.relative(done.Path), printable(done.Error))
	}
	t.Flush()
	if more := r.Failed - int64(len(r.Failures)); more > 0 {
		fmt.Fprintf(w, "  and %s more\n", number(more))
	}
}

func (r report) relative(path Path) Path { return relative(r.dir, path) }

// relative shortens a path below dir.
func relative(dir string, path Path) Path {
	if short, err := filepath.Rel(dir, string(path)); err == nil {
		return Path(short)
	}
	return path
}

// printable escapes what could upset a terminal; a reason may quote a name.
func printable(text string) string { return Path(text).String() }

// number is n with separators: 12,345.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// counted is a number of things: 1 file, 2 files.
func counted(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return number(n) + " " + thing
}

// size is n bytes in decimal units, as disks are sold.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for ; value >= 999.95 && unit < 4; unit++ {
		value /= 1000
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[unit])
}

// duration is d to three digits or so.
func duration(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		switch {
		case d >= 10*unit:
			return d.Round(unit / 10).String()
		case d >= unit:
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

func perSecond(n int64, took time.Duration) int64 {
	if took <= 0 {
		return 0
	}
	return int64(float64(n) / took.Seconds())
}
