package soak

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/redis"
	"github.com/redis-process-worker/rpw/internal/history"
	"github.com/redis-process-worker/rpw/internal/history/load"
)

// The flags of a soak. Without them it is short, and its faults are quick.
var (
	seed     = flag.Uint64("seed", 1, "of all that is random")
	length   = flag.Duration("soak", 0, "how long; 0: some seconds, on two backends")
	segment  = flag.Duration("segment", 2*time.Minute, "how long until all is checked, and begins anew")
	backends = flag.String("backends", "", "some of "+strings.Join(order, ",")+"; none: all")
	file     = flag.String("report", "", "where the report is written, too")
)

// order is that of the backends in the report. The first three take turns, one a segment: two of them lose data.
var order = []string{"standalone", "flushed", "restored", "sentinel", "cluster", "socket"}

const (
	pause = 100 * time.Millisecond // between two steps of an actor, at most
	lease = 500 * time.Millisecond
)

// bounds are wide, since the machine is as busy as four backends, their servers and a load on each make it: the tests of package faults hold each
// fault to its own. The report tells what was measured.
var bounds = history.Bounds{Clock: 20 * time.Millisecond, Return: 5 * time.Second, Publish: 20 * time.Second, CatchUp: time.Minute}

// plan is how a soak goes.
type plan struct {
	names                 []string
	segment               time.Duration
	fault, between        time.Duration // how long a fault lasts, and until the next one, at most
	events, actions, rate int           // what must be acknowledged in all; how many faults a minute each backend must see
}

// TestMain checks that nothing is left running. A soak starts this program again, to be another process.
func TestMain(m *testing.M) {
	if name := os.Getenv(childName); name != "" {
		beChild(name)
		return
	}
	asked := goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1") // where slots are: it sleeps for a second, also after Close
	goleak.VerifyTestMain(m, asked)
}

// TestSoak: the promises hold while everything goes wrong, and nothing is left of it.
func TestSoak(t *testing.T) {
	p := plan{names: []string{"standalone", "socket"}, segment: 3 * time.Second, fault: 300 * time.Millisecond, between: 300 * time.Millisecond, events: 1}
	total := p.segment
	if *length > 0 {
		total = *length
		p = plan{names: order, segment: *segment, fault: 3 * time.Second, between: 3 * time.Second, rate: 12,
			events: int(total.Minutes() * 10_000), actions: int(total.Minutes() * 1000)}
		if *segment > total {
			p.segment = total
		}
	}
	if *backends != "" {
		p.names = strings.Split(*backends, ",")
	}
	t.Logf("seed %d", *seed)
	r := &report{seed: *seed, began: time.Now(), rows: make(map[string]*row)}
	before := measure(t)
	r.resources = append(r.resources, before)
	for n := 0; time.Since(r.began)+min(p.segment/2, 20*time.Second) < total; n++ {
		lasts := min(p.segment, total-time.Since(r.began))
		t.Run(strconv.Itoa(n+1), func(t *testing.T) { p.run(t, n, lasts, r) })
		r.resources = append(r.resources, back(t, before))
	}
	r.length = time.Since(r.began)
	var text bytes.Buffer
	r.write(&text)
	t.Log("\n" + text.String())
	if *file != "" {
		require.NoError(t, os.WriteFile(*file, text.Bytes(), 0o644))
	}
	if *backends == "" {
		assert.GreaterOrEqual(t, r.total(func(o *row) int { return o.Acknowledged }), p.events, "events acknowledged")
		assert.GreaterOrEqual(t, r.total(func(o *row) int { return o.Enqueued }), p.actions, "actions acknowledged")
	}
	for name, o := range r.rows {
		assert.GreaterOrEqual(t, float64(o.injected()), float64(p.rate)*o.lasted.Minutes(), "faults of %s", name)
	}
}

// run runs a segment on all backends at once.
func (p plan) run(t *testing.T, n int, lasts time.Duration, r *report) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, name := range p.names {
		if turn := slices.Index(order[:3], name); turn >= 0 && turn != n%3 && slices.Equal(p.names, order) {
			continue
		}
		all.Go(func() {
			t.Run(name, func(t *testing.T) { p.on(t, name, n, lasts, r) })
		})
	}
}

// on runs a segment on a backend.
func (p plan) on(t *testing.T, name string, n int, lasts time.Duration, r *report) {
	began := time.Now()
	random := rand.New(rand.NewPCG(*seed, uint64(n)))
	b := kinds[name](t, p.fault)
	c := &child{t: t, url: b.url, seed: random.Uint64()}
	b.add(childFaults(c))
	config := load.Config{
		Open: func() (*rpw.Hub, error) { return rpw.Open(t.Context(), b.url) },
		Seed: random.Uint64(), Duration: max(lasts-time.Since(began), time.Second), Pause: pause, Lease: lease, Patience: 2 * time.Minute,
		Faults: b.faults, Between: p.between, Bulk: 20, Beside: []func(context.Context, *history.Recorder){c.work},
		Bounds: bounds,
	}
	if b.adapt != nil {
		b.adapt(&config)
	}
	h := load.Run(t, config)
	found := h.Check()
	r.add(name, h, time.Since(began), found)
	history.Report(t, h, found)
	if b.stop != nil {
		b.stop()
	}
	assert.Empty(t, connections(t, b.servers), "left behind")
}
