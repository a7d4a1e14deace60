package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// compete is the process of a contestant: it reads its trial from the input and writes its sample to the output.
func compete(ctx context.Context, areaName, name string) error {
	var t trial
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	c, err := find(areaName, name)
	if err != nil {
		return err
	}
	sample, err := c.run(ctx, &t)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sample)
}

func find(areaName, name string) (contestant, error) {
	for _, a := range areas {
		for _, c := range a.contestants {
			if a.name == areaName && c.name == name {
				return c, nil
			}
		}
	}
	return contestant{}, fmt.Errorf("there is no contestant %q in %q", name, areaName)
}

// tally is what was done in the measured part.
type tally struct {
	items int
	took  []time.Duration // latencies, of some or all items
}

// measure runs the measured part of a trial and takes what it costs, in time, CPU, commands and memory.
func (t *trial) measure(ctx context.Context, work func() (tally, error)) (Sample, error) {
	stop, err := t.profile()
	if err != nil {
		return nil, err
	}
	defer stop()
	var server serverUsage
	if t.Addr != "" {
		if server, err = usageOf(ctx, t.Addr); err != nil {
			return nil, err
		}
	}
	client, began := clientCPU(), time.Now()
	done, err := work()
	elapsed, client := time.Since(began), clientCPU()-client
	if err != nil {
		return nil, err
	}
	if done.items == 0 {
		return nil, fmt.Errorf("nothing was done in %v", elapsed)
	}
	items := float64(done.items)
	s := Sample{
		Rate:      items / elapsed.Seconds(),
		ClientCPU: float64(client.Microseconds()) / items,
		Peak:      peakMemory(),
	}
	if t.Addr != "" {
		after, err := usageOf(ctx, t.Addr)
		if err != nil {
			return nil, err
		}
		s[ServerCPU] = (after.micros - server.micros) / items
		s[Commands] = (after.commands - server.commands) / items
	}
	s.addLatency(done.took)
	return s, nil
}

// measureAfter measures work that is under way: once it is ready, and after a warm-up.
func (t *trial) measureAfter(ctx context.Context, ready func() bool, work func() (tally, error)) (Sample, error) {
	for end := time.Now().Add(trialLimit * 2 / 3); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return nil, errors.New("it is not ready in time")
		}
	}
	time.Sleep(warmUp)
	return t.measure(ctx, work)
}

func (s Sample) addLatency(took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	s[P50] = float64(quantile(took, 0.50).Nanoseconds()) / 1e3
	s[P99] = float64(quantile(took, 0.99).Nanoseconds()) / 1e3
}

// profile writes a CPU profile of the measured part, if one is wanted.
func (t *trial) profile() (stop func(), err error) {
	if t.Profile == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(t.Profile), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(t.Profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// every is how many calls of a flood go by between two whose latency is taken: the clock is not free.
const every = 32

// flood calls do from so many goroutines until the time is over; each call is so many items.
func flood(callers, items int, length time.Duration, do func() error) (tally, error) {
	var (
		mu     sync.Mutex
		all    tally
		failed error
		stop   atomic.Bool
		wg     sync.WaitGroup
	)
	defer time.AfterFunc(length, func() { stop.Store(true) }).Stop()
	for range callers {
		wg.Go(func() {
			var mine tally
			var err error
			for n := 0; err == nil && !stop.Load(); n++ {
				if n%every == 0 {
					began := time.Now()
					err = do()
					mine.took = append(mine.took, time.Since(began))
				} else {
					err = do()
				}
				mine.items += items
			}
			mu.Lock()
			defer mu.Unlock()
			all.items += mine.items
			all.took = append(all.took, mine.took...)
			if err != nil {
				failed = err
				stop.Store(true)
			}
		})
	}
	wg.Wait()
	return all, failed
}

// warmUp is how long a flood runs before it is measured.
const warmUp = 200 * time.Millisecond

// floods is a trial that is a flood, after a short one that makes connections and caches.
func (t *trial) floods(ctx context.Context, callers, items int, do func() error) (Sample, error) {
	if _, err := flood(callers, items, warmUp, do); err != nil {
		return nil, err
	}
	return t.measure(ctx, func() (tally, error) { return flood(callers, items, t.Length, do) })
}

// clientCPU is the CPU time of this process.
func clientCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a bad argument fails
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
