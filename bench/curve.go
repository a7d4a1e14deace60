package main

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/go-analyze/charts"
)

// curve shows how a cost grows with what there is.
type curve struct {
	name  string // of its file
	title string
	sizes []int
	lines []line
}

// line is a metric of a curve, in µs.
type line struct {
	label  string
	metric Metric
	way    func(size int) string // the name of the contestant
}

// sized names contestants by what there is of what.
func sized(what string) func(int) string {
	return func(size int) string { return what + ", " + count(float64(size)) }
}

func (c curve) file() string { return c.name + ".svg" }

// draw writes the curve into dir, if any of it was measured.
func (c curve) draw(r *areaResult, dir string) (drawn bool, err error) {
	values := make([][]float64, len(c.lines))
	labels := make([]string, len(c.lines))
	for i, l := range c.lines {
		labels[i] = l.label
		for _, size := range c.sizes {
			mid := charts.GetNullValue()
			if all := r.contestant(l.way(size)).Samples; len(all) > 0 {
				mid, _, _ = median(valuesOf(all, l.metric))
				drawn = true
			}
			values[i] = append(values[i], mid)
		}
	}
	if !drawn {
		return false, nil
	}
	opt := charts.NewLineChartOptionWithData(values)
	opt.Title.Text = c.title
	opt.Legend.SeriesNames = labels
	opt.Legend.Offset = charts.OffsetRight
	opt.XAxis.Labels = make([]string, len(c.sizes))
	for i, size := range c.sizes {
		opt.XAxis.Labels[i] = count(float64(size))
	}
	zero := 0.0
	opt.YAxis[0].Min, opt.YAxis[0].Title = &zero, "µs"
	opt.ValueFormatter = func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 720, Height: 360})
	if err := p.LineChart(opt); err != nil {
		return false, err
	}
	text, err := p.Bytes()
	if err != nil {
		return false, err
	}
	return true, os.WriteFile(filepath.Join(dir, c.file()), text, 0o644)
}
