package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

// wake is how an event finds the subscriber that waits for it, among many who wait for others.
var wake = area{
	name:  "wake",
	title: "Waking one of many subscriptions",
	notes: "One event at a time to one stream, from before its publish until its subscriber has it, with a pause of 0.2 ms before; 256 bytes. The number is how many streams " +
		"are subscribed to in the process. Measured " +
		"once the subscriptions have settled: with 1,000 and more, after three times as long as is measured. Memory is what a waiting subscription takes of it, its goroutine included.",
	contestants: []contestant{
		{name: "rpw, 10,000", redis: true, run: wakeRPW(10_000, false)},
		{name: "rpw, 1", redis: true, run: wakeRPW(1, false), about: "its own Hub publishes, which hands it over with the message or the answer, whichever comes first"},
		{name: "raw XREAD BLOCK, 1", redis: true, run: wakeRaw(1)},
		{name: "rpw, 1, other Hub", redis: true, run: wakeRPW(1, true), about: "another Hub publishes, so the event comes with the message"},
		{name: "rpw, 10", redis: true, run: wakeRPW(10, false)},
		{name: "rpw, 100", redis: true, run: wakeRPW(100, false)},
		{name: "rpw, 1,000", redis: true, run: wakeRPW(1_000, false)},
		{name: "raw XREAD BLOCK, 10", redis: true, run: wakeRaw(10)},
		{name: "raw XREAD BLOCK, 100", redis: true, run: wakeRaw(100)},
		{name: "raw XREAD BLOCK, 1,000", redis: true, run: wakeRaw(1_000)},
		{name: "raw XREAD BLOCK, 10,000", redis: true, run: wakeRaw(10_000), about: "one call over all streams"},
	},
	targets: []target{
		{id: "wake-1", what: "event to subscriber, 1 stream, p50, to raw XREAD BLOCK", metric: P50, of: "rpw, 1", to: "raw XREAD BLOCK, 1", want: 1.35, beyond: 1.1, atMost: true},
		{id: "wake-10k", what: "the same with 10,000 subscriptions to that with 1", metric: P50, of: "rpw, 10,000", to: "rpw, 1", want: 1.3, beyond: 1.1, atMost: true},
		{id: "sub-mem", what: "memory of an idle subscription, bytes", metric: PerItem, of: "rpw, 10,000", want: 8 << 10, beyond: 3 << 10, atMost: true},
	},
	curves: []curve{
		{name: "subscriptions", title: "Waking one by subscriptions", sizes: powers(0, 4), lines: []line{
			{"rpw p50", P50, sized("rpw")}, {"rpw server CPU", ServerCPU, sized("rpw")}, {"XREAD BLOCK p50", P50, sized("raw XREAD BLOCK")},
		}},
	},
}

// breath is the pause before each event: the reader waits again.
const breath = 200 * time.Microsecond

// wakeRPW is the subscriptions of one Hub; other: another one publishes.
func wakeRPW(subscriptions int, other bool) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		hub, err := t.open(ctx)
		if err != nil {
			return nil, err
		}
		defer hub.Close()
		publisher := hub
		if other {
			if publisher, err = t.open(ctx); err != nil {
				return nil, err
			}
			defer publisher.Close()
		}
		before := inUse()
		if err := subscribeSilent(ctx, hub, subscriptions-1); err != nil {
			return nil, err
		}
		got := make(arrivals, 1)
		stop, err := follow(ctx, hub, events, got.now)
		if err != nil {
			return nil, err
		}
		defer stop()
		once := func() (time.Time, error) {
			if _, err := events.PublishBatch(ctx, publisher, rpw.NewEvent{Type: "t", Data: payload}); err != nil {
				return time.Time{}, err
			}
			return <-got, nil
		}
		settled := warmUp // all wait, and what that cost is over
		if subscriptions >= 1_000 {
			settled = 3 * t.Length
		}
		for end := time.Now().Add(settled); time.Now().Before(end); time.Sleep(breath) {
			if _, err := once(); err != nil {
				return nil, err
			}
		}
		each := (inUse() - before) / float64(subscriptions)
		s, err := t.oneByOne(ctx, t.Length, breath, once)
		if err == nil && subscriptions >= 1_000 { // with few of them it is the Hub's own memory
			s[PerItem] = each
		}
		return s, err
	}
}

// subscribeSilent opens n subscriptions that nothing arrives on.
func subscribeSilent(ctx context.Context, hub *rpw.Hub, n int) error {
	const atATime = 50
	errs := make([]error, atATime)
	var wg sync.WaitGroup
	for first := range min(n, atATime) {
		wg.Go(func() {
			for i := first; i < n && errs[first] == nil; i += atATime {
				s := rpw.StreamOf[json.RawMessage]("silent-" + strconv.Itoa(i))
				_, errs[first] = follow(ctx, hub, s, func() {})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inUse is the memory of the heap and of stacks, after a collection.
func inUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

func wakeRaw(streams int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		c, err := t.rueidis(nil)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		keys, ids := make([]string, streams), make([]string, streams)
		for i := range keys {
			keys[i], ids[i] = fmt.Sprint("silent-", i), "0"
		}
		keys[0] = "events"
		reading, cancel := context.WithCancel(ctx)
		got := make(arrivals, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			for reading.Err() == nil {
				entries, err := c.Do(reading, c.B().Xread().Count(10).Block(1000).Streams().Key(keys...).Id(ids...).Build()).AsXRead()
				if err != nil {
					continue
				}
				page := entries["events"]
				ids[0] = page[len(page)-1].ID
				got.now()
			}
		})
		defer wg.Wait()
		defer cancel()
		return t.oneByOne(ctx, t.Length, breath, func() (time.Time, error) {
			if err := c.Do(ctx, xadd(c)).Error(); err != nil {
				return time.Time{}, err
			}
			return <-got, nil
		})
	}
}
