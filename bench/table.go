package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// column is a metric as a table shows it.
type column struct {
	metric Metric
	head   string
	spread bool // with the least and the greatest
	format func(float64) string
}

var columns = []column{
	{Rate, "a second (min–max)", true, count},
	{P50, "p50 µs (min–max)", true, digits},
	{P99, "p99 µs", false, digits},
	{Nanos, "ns a call (min–max)", true, digits},
	{Allocs, "allocations", false, digits},
	{ClientCPU, "client µs", false, digits},
	{ServerCPU, "server µs", false, digits},
	{Commands, "commands", false, digits},
	{PerSecond, "commands a second", true, digits},
	{PerItem, "KiB each", true, kib},
	{Peak, "peak MiB", false, mib},
}

func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return count(v)
}

// count writes a whole number of three places, with commas.
func count(v float64) string {
	if v >= 1000 {
		unit := math.Pow(10, math.Floor(math.Log10(v))-2)
		v = math.Round(v/unit) * unit
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func kib(v float64) string { return digits(v / (1 << 10)) }
func mib(v float64) string { return count(v / (1 << 20)) }

// print writes the area as Markdown that reads well as it stands.
func (r areaResult) print(w io.Writer) {
	fmt.Fprintf(w, "\n## %s (`%s`)\n\n", r.Title, r.Name)
	if r.Notes != "" {
		fmt.Fprintf(w, "%s\n\n", r.Notes)
	}
	writeTable(w, r.rows())
	for _, c := range r.Contestants {
		if c.About != "" {
			fmt.Fprintf(w, "- %s: %s.\n", c.Name, c.About)
		}
		if c.Failed != "" {
			fmt.Fprintf(w, "- %s: not measured: %s\n", c.Name, c.Failed)
		}
	}
	if len(r.Targets) > 0 {
		fmt.Fprintln(w)
	}
	for _, o := range r.Targets {
		fmt.Fprintf(w, "    %s\n", o)
	}
}

// rows are the table of the area: a column for each metric that some contestant has.
func (r areaResult) rows() [][]string {
	var shown []column
	head := []string{"way"}
	for _, col := range columns {
		for _, c := range r.Contestants {
			if len(valuesOf(c.Samples, col.metric)) > 0 {
				shown = append(shown, col)
				head = append(head, col.head)
				break
			}
		}
	}
	rows := [][]string{head}
	for _, c := range r.Contestants {
		row := []string{c.Name}
		for _, col := range shown {
			row = append(row, col.cell(c.Samples))
		}
		rows = append(rows, row)
	}
	return rows
}

func (col column) cell(all []Sample) string {
	values := valuesOf(all, col.metric)
	if len(values) == 0 {
		return ""
	}
	mid, low, high := median(values)
	if !col.spread {
		return col.format(mid)
	}
	return fmt.Sprintf("%s (%s–%s)", col.format(mid), col.format(low), col.format(high))
}

// writeTable writes rows as a Markdown table with aligned columns; the first is its head.
func writeTable(w io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for i := range row {
				fmt.Fprintf(w, "| %s ", strings.Repeat("-", max(3, width[i])))
			}
			fmt.Fprintln(w, "|")
		}
	}
	fmt.Fprintln(w)
}
