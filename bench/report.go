package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// report is everything a run found.
type report struct {
	Begun   time.Time
	Took    time.Duration
	Rounds  int
	Length  time.Duration
	Machine machine
	Areas   []areaResult
}

// areaResult is what an area found.
type areaResult struct {
	Name        string
	Title       string
	Notes       string
	Contestants []contestantResult
	Targets     []outcome
	Unjudged    []string // the targets of which a contestant is missing
}

// contestantResult is what was measured of one contestant.
type contestantResult struct {
	Name    string
	About   string
	Failed  string // why there are no more samples
	Samples []Sample
}

func (r *areaResult) judge(targets []target) {
	byName := make(samples)
	for _, c := range r.Contestants {
		byName[c.Name] = c.Samples
	}
	for _, t := range targets {
		if o, ok := t.check(byName); ok {
			r.Targets = append(r.Targets, o)
		} else {
			r.Unjudged = append(r.Unjudged, t.id)
		}
	}
}

// machine is what the figures depend on.
type machine struct {
	OS, Arch, CPU string
	Cores         int
	Load, LoadEnd string // of the system at the start and at the end, where it tells
	Go            string
	Redis         string
	Node          string
	Modules       map[string]string
}

func describeMachine(ctx context.Context) machine {
	m := machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), Modules: make(map[string]string)}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	m.Load = load()
	if text, err := exec.CommandContext(ctx, "redis-server", "--version").Output(); err == nil {
		if _, after, ok := strings.Cut(string(text), "v="); ok {
			m.Redis, _, _ = strings.Cut(after, " ")
		}
	}
	if text, err := exec.CommandContext(ctx, "node", "--version").Output(); err == nil {
		m.Node = strings.TrimSpace(string(text))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			m.Modules[d.Path] = d.Version
		}
	}
	return m
}

// load is how many processes of the system want a core, over the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// peers are the modules whose versions the head of the report names.
var peers = []string{
	"github.com/redis/rueidis", "github.com/redis/go-redis/v9", "github.com/hibiken/asynq", "github.com/ThreeDotsLabs/watermill",
	"github.com/ThreeDotsLabs/watermill-redisstream", "gocloud.dev", "github.com/centrifugal/centrifuge", "github.com/coder/websocket",
}

func (m machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d cores (%s), load %s at the start and %s at the end; redis-server %s on loopback without persistence", m.Go, m.OS, m.Arch, m.Cores, m.CPU, m.Load, m.LoadEnd, m.Redis)
	for _, path := range peers {
		if version, ok := m.Modules[path]; ok {
			fmt.Fprintf(&b, ", %s %s", path[strings.Index(path, "/")+1:], version)
		}
	}
	if m.Node != "" {
		fmt.Fprintf(&b, ", Node %s with BullMQ %s", m.Node, bullmqVersion)
	}
	return b.String()
}

// summary prints the targets of all areas once more.
func (r report) summary(w io.Writer) {
	fmt.Fprintf(w, "\n%v; %s\n", r.Took.Round(time.Second), r.Machine)
	for _, a := range r.Areas {
		for _, o := range a.Targets {
			fmt.Fprintln(w, o)
		}
	}
}

// write writes the report to files; "" is none.
func (r report) write(jsonFile, mdFile string) error {
	if jsonFile != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if mdFile == "" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d rounds in turn, %v each; %s.\n", r.Begun.Format(time.DateOnly), r.Rounds, r.Length, r.Machine)
	for _, a := range r.Areas {
		a.print(&b)
	}
	return os.WriteFile(mdFile, []byte(b.String()), 0o644)
}
