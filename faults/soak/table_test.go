package soak

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw/internal/history"
)

// report is what a soak has seen, by backend.
type report struct {
	seed   uint64
	began  time.Time
	length time.Duration

	mu        sync.Mutex
	rows      map[string]*row
	resources []resources // after each segment
}

// row is what one backend went through.
type row struct {
	history.Count
	history.Recovery
	lasted   time.Duration
	segments int
	slowest  time.Duration  // of the calls, beyond what they had
	broken   map[string]int // violations, by rule
}

// add adds a segment of a backend.
func (r *report) add(name string, h *history.History, lasted time.Duration, found []history.Violation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows[name] == nil {
		r.rows[name] = &row{Count: history.Count{Faults: make(map[string]int)}, broken: make(map[string]int)}
	}
	one := r.rows[name]
	one.Count.Add(h.Count())
	again := h.Recovery()
	one.Publish = append(one.Publish, again.Publish...)
	one.Subscription = append(one.Subscription, again.Subscription...)
	one.Completion = append(one.Completion, again.Completion...)
	one.Overtaken += again.Overtaken
	one.lasted += lasted
	one.segments++
	one.slowest = max(one.slowest, h.Overrun())
	for _, v := range found {
		rule, _, _ := strings.Cut(v.Rule, " ")
		one.broken[rule]++
	}
}

// injected is how many faults there were.
func (o *row) injected() (n int) {
	for _, times := range o.Faults {
		n += times
	}
	return n
}

// rules are how many violations there are of some rules, or of all others.
func (o *row) rules(some ...string) (n int) {
	for _, rule := range some {
		n += o.broken[rule]
	}
	return n
}

func (o *row) others(told ...string) (n int) {
	for rule, times := range o.broken {
		if !slices.Contains(told, rule) {
			n += times
		}
	}
	return n
}

// total is the sum of a number over all backends.
func (r *report) total(of func(*row) int) (n int) {
	for _, one := range r.rows {
		n += of(one)
	}
	return n
}

// write writes the report as Markdown.
func (r *report) write(w io.Writer) {
	names := slices.SortedFunc(maps.Keys(r.rows), func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	line := func(first string, cell func(*row) string) {
		fmt.Fprintf(w, "| %s |", first)
		for _, name := range names {
			fmt.Fprintf(w, " %s |", cell(r.rows[name]))
		}
		fmt.Fprintln(w)
	}
	head := func(first string) {
		fmt.Fprintf(w, "\n| %s | %s |\n|%s\n", first, strings.Join(names, " | "), strings.Repeat(" --- |", len(names)+1))
	}
	number := func(of func(*row) int) func(*row) string {
		return func(o *row) string { return grouped(of(o)) }
	}
	fmt.Fprintf(w, "%s of load and faults, seed %d: %s faults, %s events and %s actions acknowledged.\n", r.length.Round(time.Second), r.seed,
		grouped(r.total((*row).injected)), grouped(r.total(func(o *row) int { return o.Acknowledged })), grouped(r.total(func(o *row) int { return o.Enqueued })))
	head("")
	line("time, in segments", func(o *row) string { return fmt.Sprintf("%v, %d", o.lasted.Round(time.Second), o.segments) })
	line("faults; a minute", func(o *row) string {
		return fmt.Sprintf("%s; %.0f", grouped(o.injected()), float64(o.injected())/o.lasted.Minutes())
	})
	line("events acknowledged; uncertain; refused", func(o *row) string {
		return strings.Join([]string{grouped(o.Acknowledged), grouped(o.Uncertain), grouped(o.Refused)}, "; ")
	})
	line("acknowledged and lost, or not delivered to a subscription", number(func(o *row) int { return o.rules("H1") }))
	line("delivered to subscriptions", number(func(o *row) int { return o.Delivered }))
	line("of these doubled, out of order, or never published", number(func(o *row) int { return o.rules("H2", "H3", "H4", "H6") }))
	line("gaps told: trimmed; reset", func(o *row) string { return grouped(o.Trimmed) + "; " + grouped(o.Reset) })
	line("gaps not told, or invented", number(func(o *row) int { return o.rules("H5") }))
	line("events to group members; again", func(o *row) string { return grouped(o.Fetched) + "; " + grouped(o.Again) })
	line("forgotten, with two holders, or again though acknowledged", number(func(o *row) int { return o.rules("H7") }))
	line("actions acknowledged; ended", func(o *row) string { return grouped(o.Enqueued) + "; " + grouped(o.Ended) })
	line("lost; ended twice", func(o *row) string { return grouped(o.rules("H10")) + "; " + grouped(o.rules("H9")) })
	line("attempts; moves refused with an old token", func(o *row) string { return grouped(o.Attempts) + "; " + grouped(o.Fenced) })
	line("old tokens accepted", number(func(o *row) int { return o.rules("H8") }))
	line("log records; dropped, and told; stored again, with their ID", func(o *row) string {
		return strings.Join([]string{grouped(o.Logged), grouped(o.Dropped), grouped(o.Doubled)}, "; ")
	})
	line("log records lost, out of order, or dropped without a word", number(func(o *row) int { return o.rules("H15") }))
	line("cache calls; answers that were never true, or too old", func(o *row) string { return grouped(o.Cached) + "; " + grouped(o.rules("H14")) })
	line("other violations", number(func(o *row) int {
		return o.others("H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9", "H10", "H14", "H15")
	}))
	line("the latest a call returned after its time", func(o *row) string { return o.slowest.Round(time.Millisecond).String() })

	head("works again after a fault: p50, p99, the slowest")
	line("a publish", func(o *row) string { return quantiles(o.Publish) })
	line("each subscription", func(o *row) string { return quantiles(o.Subscription) })
	line("an action is completed", func(o *row) string { return quantiles(o.Completion) })
	line("not measured: the next fault was sooner", number(func(o *row) int { return o.Overtaken }))

	head("faults")
	kinds := make(map[string]bool)
	for _, one := range r.rows {
		for kind := range one.Faults {
			kinds[kind] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		line(kind, func(o *row) string {
			if o.Faults[kind] == 0 {
				return "–"
			}
			return grouped(o.Faults[kind])
		})
	}
	if len(r.resources) > 0 {
		first, most := r.resources[0], r.resources[0]
		for _, now := range r.resources[1:] {
			most = most.max(now)
		}
		fmt.Fprintf(w, "\nLeft after a segment, and before the first: goroutines %d, %d; files %d, %d; heap %.1f, %.1f MiB.\n",
			most.goroutines, first.goroutines, most.files, first.files, mebibytes(most.heap), mebibytes(first.heap))
	}
}

func mebibytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// grouped is a number with commas.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// quantiles are the median, the 99th percentile and the maximum.
func quantiles(times []time.Duration) string {
	if len(times) == 0 {
		return "–"
	}
	slices.Sort(times)
	at := func(q float64) time.Duration {
		return times[int(q*float64(len(times)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("%v, %v, %v", at(0.5), at(0.99), at(1))
}
