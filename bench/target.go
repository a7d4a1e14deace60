package main

import (
	"fmt"
	"strconv"
)

// target is a figure that rpw is to reach: a metric of one contestant, or its ratio to that of another.
type target struct {
	id     string
	what   string
	metric Metric
	of, to string // contestants; no to: the metric itself
	want   float64
	beyond float64 // what would be better than that; 0: nothing is said
	atMost bool    // the figure is to be at most that; else at least
}

// rounds are the figure of each round.
func (t target) rounds(of, to []Sample) (figures []float64) {
	for i, s := range of {
		v, ok := s[t.metric]
		if !ok {
			continue
		}
		if t.to != "" {
			if i >= len(to) || to[i][t.metric] == 0 {
				continue
			}
			v /= to[i][t.metric]
		}
		figures = append(figures, v)
	}
	return figures
}

// outcome is how a target came out.
type outcome struct {
	ID     string
	What   string
	Want   string
	Beyond string
	Rounds []float64
	Value  float64 // their median
	Met    bool    // by the median
	Agree  int     // how many rounds say the same
	Absent string  `json:",omitempty"` // why there are no rounds
}

// judge compares the rounds of the contestants with what is wanted.
func (t target) judge(of, to contestantResult) outcome {
	sign, meets := ">=", func(v float64) bool { return v >= t.want }
	if t.atMost {
		sign, meets = "<=", func(v float64) bool { return v <= t.want }
	}
	o := outcome{ID: t.id, What: t.what, Want: fmt.Sprint(sign, t.want), Rounds: t.rounds(of.Samples, to.Samples)}
	if t.beyond > 0 {
		o.Beyond = fmt.Sprint(sign, t.beyond)
	}
	if len(o.Rounds) == 0 {
		for _, c := range []contestantResult{of, to} {
			if c.Failed != "" {
				o.Absent = c.Name + ": " + c.Failed
			}
		}
		return o
	}
	o.Value, _, _ = median(o.Rounds)
	o.Met = meets(o.Value)
	for _, v := range o.Rounds {
		if meets(v) == o.Met {
			o.Agree++
		}
	}
	return o
}

func (o outcome) verdict() string {
	switch {
	case o.Absent != "":
		return "not measured: " + o.Absent
	case o.Met:
		return "ok"
	}
	return "miss"
}

func (o outcome) String() string {
	value := "-"
	if len(o.Rounds) > 0 {
		value = short(o.Value)
	}
	return fmt.Sprintf("TARGET %s %s want %s %s", o.ID, value, o.Want, o.verdict())
}

// short writes three places, and no exponent.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// targetRows are the outcomes as a table.
func targetRows(all []outcome) [][]string {
	rows := [][]string{{"target", "what", "want", "beyond", "median (min–max)", "", "rounds that agree"}}
	for _, o := range all {
		row := []string{"`" + o.ID + "`", o.What, o.Want, o.Beyond, "", o.verdict(), ""}
		if len(o.Rounds) > 0 {
			_, low, high := median(o.Rounds)
			row[4] = fmt.Sprintf("%s (%s–%s)", short(o.Value), short(low), short(high))
			row[6] = fmt.Sprintf("%d of %d", o.Agree, len(o.Rounds))
		}
		rows = append(rows, row)
	}
	return rows
}
