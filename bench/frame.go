package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// frame runs the trials, one at a time.
type frame struct {
	rounds   int
	length   time.Duration
	quick    bool
	profiles string
	among    []string // nil: all contestants

	program  string
	terminal bool   // someone watches
	node     string // the folder with the packages for Node; "": there are none
	noNode   error  // why
}

func newFrame(f frame) (*frame, error) {
	var err error
	if f.program, err = os.Executable(); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("redis-server 7.0 or later must be on the PATH; make deps installs it: %w", err)
	}
	if info, err := os.Stderr.Stat(); err == nil {
		f.terminal = info.Mode()&os.ModeCharDevice != 0
	}
	return &f, nil
}

func (f *frame) close() {
	if f.node != "" {
		os.RemoveAll(f.node)
	}
}

// trialLimit bounds a trial beside its measured part.
const trialLimit = 3 * time.Minute

// measure runs all rounds of an area. The order of the contestants turns around from round to round.
func (f *frame) measure(ctx context.Context, a area) areaResult {
	result := areaResult{Name: a.name, Title: a.title, Notes: a.notes, curves: a.curves}
	var all []contestant
	for _, c := range a.contestants {
		if (f.among == nil || slices.Contains(f.among, c.name)) && !(c.large && f.quick) {
			all = append(all, c)
			result.Contestants = append(result.Contestants, contestantResult{Name: c.name, About: c.about})
		}
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	for round := range f.rounds {
		for _, i := range order {
			c, into := all[i], &result.Contestants[i]
			if c.large && round >= 2 || into.Failed != "" || ctx.Err() != nil {
				continue
			}
			f.show(fmt.Sprintf("%s %d/%d %s", a.name, round+1, f.rounds, c.name))
			sample, err := f.try(ctx, a, c)
			if err != nil {
				into.Failed = err.Error()
				continue
			}
			into.Samples = append(into.Samples, sample)
		}
		slices.Reverse(order)
	}
	f.show("")
	result.judge(a.targets)
	return result
}

// show tells a terminal what is under way.
func (f *frame) show(what string) {
	if f.terminal {
		fmt.Fprintf(os.Stderr, "%s\033[K\r", what)
	}
}

// try runs one trial in a process of its own.
func (f *frame) try(ctx context.Context, a area, c contestant) (Sample, error) {
	t := trial{Length: f.length, Quick: f.quick}
	if c.node {
		if err := f.needNode(ctx); err != nil {
			return nil, err
		}
		t.Node = f.node
	}
	if c.redis {
		server, err := startRedis(ctx)
		if err != nil {
			return nil, err
		}
		defer server.stop()
		t.Addr = server.addr
	}
	if f.profiles != "" {
		t.Profile = filepath.Join(f.profiles, strings.Map(wordRune, a.name+"-"+c.name)+".pprof")
	}
	input, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.length+trialLimit)
	defer cancel()
	var output, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, f.program, "contestant", a.name, c.name)
	cmd.SysProcAttr = dieWithParent()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &output, &complaints
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(complaints.String())
		return nil, fmt.Errorf("%w: %s", err, text[:min(len(text), 500)])
	}
	var s Sample
	err = json.Unmarshal(output.Bytes(), &s)
	return s, err
}

// wordRune makes names fit for files.
func wordRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}
