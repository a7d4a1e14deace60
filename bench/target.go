package main

import "fmt"

// target is a figure that rpw is to reach.
type target struct {
	id     string
	what   string
	want   float64
	atMost bool                      // the figure is to be at most that; else at least
	value  func(s samples) []float64 // the figure of each round
}

// samples are those of an area, by contestant and round; nil where a trial failed.
type samples map[string][]Sample

// ratio is a metric of one contestant to that of another, round by round.
func ratio(m Metric, of, to string) func(samples) []float64 {
	return func(s samples) (ratios []float64) {
		for i := range min(len(s[of]), len(s[to])) {
			a, b := s[of][i][m], s[to][i][m]
			if a > 0 && b > 0 {
				ratios = append(ratios, a/b)
			}
		}
		return ratios
	}
}

// figure is a metric of a contestant, round by round.
func figure(m Metric, of string) func(samples) []float64 {
	return func(s samples) (values []float64) {
		for _, each := range s[of] {
			if v, ok := each[m]; ok {
				values = append(values, v)
			}
		}
		return values
	}
}

// outcome is how a target came out.
type outcome struct {
	ID     string
	What   string
	Want   string
	Value  float64 // the median
	Rounds []float64
	Met    bool
}

// check returns false if a contestant is missing.
func (t target) check(s samples) (o outcome, ok bool) {
	o = outcome{ID: t.id, What: t.what, Rounds: t.value(s)}
	if len(o.Rounds) == 0 {
		return o, false
	}
	o.Value, _, _ = median(o.Rounds)
	if t.atMost {
		o.Want, o.Met = fmt.Sprintf("<=%v", t.want), o.Value <= t.want
	} else {
		o.Want, o.Met = fmt.Sprintf(">=%v", t.want), o.Value >= t.want
	}
	return o, true
}

func (o outcome) String() string {
	verdict := "miss"
	if o.Met {
		verdict = "ok"
	}
	return fmt.Sprintf("TARGET %s %.3g want %s %s", o.ID, o.Value, o.Want, verdict)
}
