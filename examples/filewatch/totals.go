package main

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	maxSlowest  = 3  // digests that are remembered
	maxFailures = 10 // and failures
)

// totals are the totals of a run.
type totals struct {
	Scanned, Digested, Skipped, Failed int64
	Bytes, SkippedBytes                int64
	Slowest                            []FileDone // digests, the slowest first
	Failures                           []FileDone // the first ones
}

func (t *totals) add(done FileDone) {
	if done.Error != "" {
		t.Failed++
		if len(t.Failures) < maxFailures {
			t.Failures = append(t.Failures, done)
		}
		return
	}
	t.Digested++
	t.Bytes += done.Size
	bySpeed := func(a, b FileDone) int { return cmp.Compare(b.Took, a.Took) }
	i, _ := slices.BinarySearchFunc(t.Slowest, done, bySpeed)
	if t.Slowest = slices.Insert(t.Slowest, i, done); len(t.Slowest) > maxSlowest {
		t.Slowest = t.Slowest[:maxSlowest]
	}
}

// done is how many files are accounted for.
func (t *totals) done() int64 { return t.Digested + t.Skipped + t.Failed }

// check says whether all are.
func (t *totals) check() error {
	if t.Scanned == t.done() {
		return nil
	}
	return fmt.Errorf("%d files were scanned, but %d digested, %d skipped and %d failed", t.Scanned, t.Digested, t.Skipped, t.Failed)
}
