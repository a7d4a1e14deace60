package main

import (
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

// TestTargets judges a target by the ratios of the rounds, not by the ratio of the medians, and none that lacks a contestant.
func TestTargets(t *testing.T) {
	of := func(rates ...float64) (all []Sample) {
		for _, r := range rates {
			all = append(all, Sample{Rate: r})
		}
		return all
	}
	tg := target{id: "x", want: 2, value: ratio(Rate, "a", "b")}
	o, ok := tg.check(samples{"a": of(10, 30, 80), "b": of(10, 10, 40)})
	if got := o.String(); !ok || got != "TARGET x 2 want >=2 ok" {
		t.Error(got)
	}
	tg.atMost, tg.want = true, 1.5
	o, ok = tg.check(samples{"a": of(10, 30, 80), "b": of(10, 10, 40)})
	if got := o.String(); !ok || got != "TARGET x 2 want <=1.5 miss" {
		t.Error(got)
	}
	if _, ok := tg.check(samples{"a": of(1)}); ok {
		t.Error("a target was judged without its contestant")
	}
}

// TestTargetsNameContestants finds a misspelt name, which would leave a target unjudged.
func TestTargetsNameContestants(t *testing.T) {
	for _, a := range areas {
		all := make(samples)
		for _, c := range a.contestants {
			if _, twice := all[c.name]; twice {
				t.Errorf("%s has %q twice", a.name, c.name)
			}
			s := make(Sample)
			for _, col := range columns {
				s[col.metric] = 1
			}
			all[c.name] = []Sample{s}
		}
		for _, tg := range a.targets {
			if _, ok := tg.check(all); !ok {
				t.Errorf("%s: the target %s names a contestant that is not there", a.name, tg.id)
			}
		}
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
