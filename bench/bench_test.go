package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values         []float64
		mid, low, high float64
	}{
		{nil, 0, 0, 0},
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 1, 3}, 3, 1, 4},
		{[]float64{4, 1, 3, 2}, 2.5, 1, 4},
	} {
		if mid, low, high := median(c.values); mid != c.mid || low != c.low || high != c.high {
			t.Errorf("median(%v) = %v, %v, %v", c.values, mid, low, high)
		}
	}
}

func TestQuantile(t *testing.T) {
	took := make([]time.Duration, 100)
	for i := range took {
		took[i] = time.Duration(i)
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := quantile(took, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.123: "0.12", 12.34: "12.3", 999: "999", 1234: "1,230", 12345: "12,300", 1234567: "1,230,000"} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %q, want %q", v, got, want)
		}
	}
}

// TestTargets judges a target by the ratios of the rounds, not by the ratio of the medians, and says why there are none.
func TestTargets(t *testing.T) {
	of := func(name string, rates ...float64) contestantResult {
		c := contestantResult{Name: name}
		for _, r := range rates {
			c.Samples = append(c.Samples, Sample{Rate: r})
		}
		return c
	}
	absent := contestantResult{Name: "b", Failed: "why"}
	for _, c := range []struct {
		target target
		to     contestantResult
		want   string
		agree  int
	}{
		{target{id: "x", metric: Rate, to: "b", want: 2}, of("b", 10, 10, 40), "TARGET x 2 want >=2 ok", 2},
		{target{id: "x", metric: Rate, to: "b", want: 1.5, atMost: true}, of("b", 10, 10, 40), "TARGET x 2 want <=1.5 miss", 2},
		{target{id: "x", metric: Rate, want: 20, atMost: true}, contestantResult{}, "TARGET x 30 want <=20 miss", 2},
		{target{id: "x", metric: Rate, to: "b", want: 2}, absent, "TARGET x - want >=2 not measured: b: why", 0},
	} {
		o := c.target.judge(of("a", 10, 30, 80), c.to)
		if o.String() != c.want || o.Agree != c.agree {
			t.Errorf("%v, %d rounds agree; want %s, %d", o, o.Agree, c.want, c.agree)
		}
	}
}

// TestTargetsAreThere finds a misspelt contestant, which would leave a target unjudged, and a target that got lost.
func TestTargetsAreThere(t *testing.T) {
	var ids []string
	for _, a := range areas {
		var names []string
		for _, c := range a.contestants {
			names = append(names, c.name)
		}
		named := slices.Clone(names)
		slices.Sort(named)
		if len(slices.Compact(named)) != len(names) {
			t.Errorf("%s has a contestant twice: %q", a.name, names)
		}
		for _, tg := range a.targets {
			ids = append(ids, tg.id)
			if !slices.Contains(names, tg.of) || tg.to != "" && !slices.Contains(names, tg.to) {
				t.Errorf("%s: the target %s names a contestant that is not there", a.name, tg.id)
			}
		}
		for _, c := range a.curves {
			for _, l := range c.lines {
				for _, size := range c.sizes {
					if !slices.Contains(names, l.way(size)) {
						t.Errorf("%s: the curve %s has no contestant %q", a.name, c.name, l.way(size))
					}
				}
			}
		}
	}
	slices.Sort(ids)
	want := "act-asynq act-bullmq act-cmds group-raw group-watermill idle-cmds idle-p50 log-allocs log-ns mem-1 mem-10 near near-goredis " +
		"pub-asynq pub-batch pub-raw pub-watermill sub-mem wake-1 wake-10k ws-fan ws-p50"
	if got := strings.Join(ids, " "); got != want {
		t.Errorf("the targets are\n%s, want\n%s", got, want)
	}
}

// TestReport writes all files, and only between the marks of one that has them.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "doc.md")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := report{Areas: []areaResult{{
		Title:       "T",
		Contestants: []contestantResult{{Name: "rpw, 1", Samples: []Sample{{P50: 3}}}},
		curves:      []curve{{name: "c", title: "C", sizes: []int{1, 10}, lines: []line{{"l", P50, sized("rpw")}}}, {name: "unmeasured"}},
	}}}
	check(os.WriteFile(file, []byte("before\n"+blockBegin+"old\n"+blockEnd+"after\n"), 0o600))
	for range 2 {
		check(r.write(filepath.Join(dir, "out"), file))
	}
	text, err := os.ReadFile(file)
	check(err)
	got := string(text)
	if !strings.HasPrefix(got, "before\n"+blockBegin) || !strings.HasSuffix(got, blockEnd+"after\n") || strings.Contains(got, "old") ||
		strings.Count(got, "## T") != 1 || !strings.Contains(got, "![C](out/c.svg)") || strings.Contains(got, "unmeasured") {
		t.Errorf("the file is\n%s", got)
	}
	drawing, err := os.ReadFile(filepath.Join(dir, "out", "c.svg"))
	check(err)
	if !strings.Contains(string(drawing), "<svg") {
		t.Errorf("the chart is\n%s", drawing)
	}
	check(os.WriteFile(file, []byte(blockBegin), 0o600))
	if r.write(filepath.Join(dir, "out"), file) == nil {
		t.Error("a file with only one of its marks was written")
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	areaResult{Name: "n", Title: "T", Contestants: []contestantResult{
		{Name: "a", Samples: []Sample{{Rate: 1000}, {Rate: 3000}}},
		{Name: "b", Failed: "why"},
	}}.print(&b)
	want := `
## T (` + "`n`" + `)

| way | a second (min–max)  |
| --- | ------------------- |
| a   | 2,000 (1,000–3,000) |
| b   |                     |

- b: not measured: why
`
	if b.String() != want {
		t.Errorf("the table is\n%s", b.String())
	}
}
