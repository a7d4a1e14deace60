// Command bench measures rpw beside its limits and its peers in one run: each contestant in a process and on a Redis of its own, all of an
// area in turn, round by round, so that only what they differ in stays. It prints a table for each area and a line for each target:
//
//	TARGET act-asynq 7.3 want >=6 ok
//
// It writes the tables as Markdown, all samples as JSON, and how costs grow as charts.
//
// Only ratios within one run mean something. It needs redis-server on the PATH; contestants that run on Node are left out where there is none.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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
		length   = flag.Duration("length", 1250*time.Millisecond, "the measured part of a trial")
		quick    = flag.Bool("quick", false, "2 rounds of 250 ms, and nothing that takes long to set up: for a look, not for figures")
		out      = flag.String("out", "out", "write all samples, as JSON, and the charts into this directory")
		mdFile   = flag.String("report", "", "write the tables into this file of Markdown, between its marks if it has them; empty: report.md in that directory")
		profiles = flag.String("profile", "", "write CPU profiles of the contestants into this directory")
	)
	flag.Parse()
	if *quick {
		*rounds, *length = 2, 250*time.Millisecond
	}
	if *mdFile == "" {
		*mdFile = filepath.Join(*out, "report.md")
	}
	chosen := slices.Clone(areas)
	if *only != "" {
		wanted := strings.Split(*only, ",")
		for _, name := range wanted {
			if !slices.Contains(names, name) {
				return fmt.Errorf("there is no area %q; the areas are %s", name, strings.Join(names, ", "))
			}
		}
		chosen = slices.DeleteFunc(chosen, func(a area) bool { return !slices.Contains(wanted, a.name) })
	}
	f, err := newFrame(frame{rounds: *rounds, length: *length, quick: *quick, profiles: *profiles})
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
	return r.write(*out, *mdFile)
}
