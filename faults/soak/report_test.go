package soak

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw/internal/history"
)

// TestReport: what goes wrong on a backend, and how long it takes, is in its row.
func TestReport(t *testing.T) {
	r := &report{seed: 7, length: time.Minute, rows: make(map[string]*row)}
	h := &history.History{Records: []history.Record{
		{Op: history.OpFault, Phase: history.Called, Call: 1, Kind: "cut"},
		{Op: history.OpFault, Phase: history.Returned, Call: 1, Kind: "cut", T: time.Second, Outcome: history.OK},
		{Op: history.OpPublish, Phase: history.Called, Call: 2, T: 2 * time.Second},
		{Op: history.OpPublish, Phase: history.Returned, Call: 2, T: 3 * time.Second, Outcome: history.OK, Items: make([]history.Item, 1)},
	}}
	lost := history.Violation{Rule: "H1 no loss"}
	r.add("cluster", h, 30*time.Second, []history.Violation{lost, lost})
	r.add("cluster", h, 30*time.Second, nil)
	r.add("socket", &history.History{}, time.Minute, []history.Violation{{Rule: "H16 resources"}})
	var text strings.Builder
	r.write(&text)
	for _, line := range []string{
		"1m0s of load and faults, seed 7: 2 faults, 2 events and 0 actions acknowledged.",
		"|  | cluster | socket |",
		"| time, in segments | 1m0s, 2 | 1m0s, 1 |",
		"| faults; a minute | 2; 2 | 0; 0 |",
		"| acknowledged and lost, or not delivered to a subscription | 2 | 0 |",
		"| other violations | 0 | 1 |",
		"| a publish | 2s, 2s, 2s | – |",
		"| cut | 2 | – |",
	} {
		assert.Contains(t, text.String(), line+"\n")
	}
	require.Equal(t, 2, r.total((*row).injected))
}

func TestNumbers(t *testing.T) {
	assert.Equal(t, []string{"7", "1,007", "12,345,678"}, []string{grouped(7), grouped(1007), grouped(12345678)})
	times := make([]time.Duration, 101)
	for i := range times {
		times[i] = time.Duration(100-i) * time.Millisecond
	}
	assert.Equal(t, "50ms, 99ms, 100ms", quantiles(times))
}
