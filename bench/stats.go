package main

import (
	"slices"
	"time"
)

// Metric is one thing that a trial measures.
type Metric string

// The metrics. Items are events, actions, deliveries or calls: the table says which.
const (
	Rate      Metric = "rate"        // items a second
	P50       Metric = "p50"         // latency, µs
	P99       Metric = "p99"         // latency, µs
	ClientCPU Metric = "client_cpu"  // µs an item
	ServerCPU Metric = "server_cpu"  // µs an item
	Commands  Metric = "commands"    // Redis commands an item, those in scripts included
	PerSecond Metric = "per_second"  // Redis commands a second
	Peak      Metric = "peak_memory" // of the contestant's process, bytes
	PerItem   Metric = "bytes"       // memory an item, bytes
	Nanos     Metric = "ns"          // ns a call
	Allocs    Metric = "allocs"      // allocations a call
)

// Sample is what one trial measured.
type Sample map[Metric]float64

// valuesOf are those of a metric, of the samples that have it.
func valuesOf(all []Sample, m Metric) (values []float64) {
	for _, s := range all {
		if v, ok := s[m]; ok {
			values = append(values, v)
		}
	}
	return values
}

// median returns the middle of the values, and the least and the greatest.
func median(values []float64) (mid, low, high float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]
}

// quantile returns the value below which the part q of sorted lies.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
