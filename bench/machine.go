package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine is what the figures depend on.
type machine struct {
	OS, Arch, Kernel, CPU string
	Cores                 int
	Load, LoadEnd         string // of the system at the start and at the end, where it tells
	Commit                string // of rpw, where git knows it
	Go                    string
	Redis                 string
	Node                  string
	Modules               map[string]string
}

func describeMachine(ctx context.Context) machine {
	m := machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Load: load(), Go: runtime.Version(), Modules: make(map[string]string)}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	m.Kernel = says(ctx, "uname", "-r")
	if _, after, ok := strings.Cut(says(ctx, "redis-server", "--version"), "v="); ok {
		m.Redis, _, _ = strings.Cut(after, " ")
	}
	m.Commit = says(ctx, "git", "describe", "--always", "--dirty")
	m.Node = says(ctx, "node", "--version")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			m.Modules[d.Path] = d.Version
		}
	}
	return m
}

// says is what a program prints; "" where there is none.
func says(ctx context.Context, program string, args ...string) string {
	text, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
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
	"github.com/lmittmann/tint",
}

// place is where it ran.
func (m machine) place() string {
	return fmt.Sprintf("%d cores (%s), %s/%s, kernel %s; its load was %s at the start and %s at the end", m.Cores, m.CPU, m.OS, m.Arch, m.Kernel, m.Load, m.LoadEnd)
}

// versions are those of all that took part.
func (m machine) versions() string {
	var b strings.Builder
	if m.Commit != "" {
		fmt.Fprintf(&b, "rpw %s, ", m.Commit)
	}
	fmt.Fprintf(&b, "%s, redis-server %s on loopback without persistence", m.Go, m.Redis)
	for _, path := range peers {
		if version, ok := m.Modules[path]; ok {
			fmt.Fprintf(&b, ", %s %s", strings.TrimPrefix(path, "github.com/"), version)
		}
	}
	if m.Node != "" {
		fmt.Fprintf(&b, ", Node %s with BullMQ %s", m.Node, bullmqVersion)
	}
	return b.String()
}
