// Command bench measures rpw beside its limits and its peers in one run: each contestant in a process and on a Redis of its own, all of an
// area in turn, round by round, so that only what they differ in stays. It prints a table for each area and a line for each target:
//
//	TARGET act-asynq 7.3 want >=6 ok
//
// Only ratios within one run mean something. It needs redis-server on the PATH; contestants that run on Node are left out where there is none.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// areas is everything that is measured, in the order of the report.
var areas = []area{publish, groups, wake, actionsArea, latency, memoryArea, socketArea, cacheArea, logsArea, scale}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 4 && os.Args[1] == "contestant" {
		err = compete(ctx, os.Args[2], os.Args[3])
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	names := make([]string, len(areas))
	for i, a := range areas {
		names[i] = a.name
	}
	var (
		only     = flag.String("area", "", "the areas to measure, with commas: "+strings.Join(names, ", ")+"; empty: all")
		among    = flag.String("contestants", "", "only these contestants, with semicolons; empty: all")
		rounds   = flag.Int("rounds", 5, "how often each contestant is measured")
		length   = flag.Duration("length", 1500*time.Millisecond, "the measured part of a trial")
		jsonFile = flag.String("json", "", "write all samples to this file, as JSON")
		mdFile   = flag.String("markdown", "", "write the tables to this file, as Markdown")
		profiles = flag.String("profile", "", "write CPU profiles of the contestants into this directory")
	)
	flag.Parse()
	chosen := slices.Clone(areas)
	if *only == "" {
		chosen = slices.DeleteFunc(chosen, func(a area) bool { return a.apart })
	} else {
		wanted := strings.Split(*only, ",")
		for _, name := range wanted {
			if !slices.Contains(names, name) {
				return fmt.Errorf("there is no area %q; the areas are %s", name, strings.Join(names, ", "))
			}
		}
		chosen = slices.DeleteFunc(chosen, func(a area) bool { return !slices.Contains(wanted, a.name) })
	}
	f, err := newFrame(frame{rounds: *rounds, length: *length, profiles: *profiles})
	if err != nil {
		return err
	}
	defer f.close()
	if *among != "" {
		f.among = strings.Split(*among, ";")
	}
	r := report{Begun: time.Now(), Rounds: *rounds, Length: *length, Machine: describeMachine(ctx)}
	for _, a := range chosen {
		result := f.measure(ctx, a)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.Areas = append(r.Areas, result)
		result.print(os.Stdout)
	}
	r.Took, r.Machine.LoadEnd = time.Since(r.Begun), load()
	r.summary(os.Stdout)
	return r.write(*jsonFile, *mdFile)
}
