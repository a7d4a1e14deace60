package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bullmqVersion is what npm installs, with the client it is made for.
const bullmqVersion = "6.7.0"

//go:embed bullmq.mjs
var bullmqScript []byte

// needNode installs the packages for Node into a temporary folder, once.
func (f *frame) needNode(ctx context.Context) error {
	if f.node != "" || f.noNode != nil {
		return f.noNode
	}
	dir, err := os.MkdirTemp("", "rpw-bench-node-")
	if err != nil {
		return err
	}
	if f.noNode = installNode(ctx, dir); f.noNode != nil {
		os.RemoveAll(dir)
		return f.noNode
	}
	f.node = dir
	return nil
}

func installNode(ctx context.Context, dir string) error {
	if _, err := exec.LookPath("node"); err != nil {
		return errAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "bullmq@"+bullmqVersion, "ioredis@5")
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm does not install BullMQ: %w: %s", err, out)
	}
	return os.WriteFile(filepath.Join(dir, "bullmq.mjs"), bullmqScript, 0o600)
}

var errAbsent = errors.New("no Node here")

// nodeDone is what the script says at the end of its measured part.
type nodeDone struct {
	Items  int
	CPU    float64   // µs
	Memory float64   // bytes
	Took   []float64 // latencies, µs
}

// bullmq measures what the script does in one of its modes. The script says when it is ready, and does its measured part when it is told so.
func bullmq(mode string) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		_, port, _ := strings.Cut(t.Addr, ":")
		cmd := exec.CommandContext(ctx, "node", "bullmq.mjs", mode, port, strconv.FormatInt(t.Length.Milliseconds(), 10), string(payload))
		cmd.Dir, cmd.Stderr, cmd.SysProcAttr = t.Node, os.Stderr, dieWithParent()
		input, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		output, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		defer func() {
			cmd.Process.Kill()
			cmd.Wait()
		}()
		lines := bufio.NewReader(output)
		if _, err := lines.ReadString('\n'); err != nil {
			return nil, fmt.Errorf("the script is not ready: %w", err)
		}
		var done nodeDone
		s, err := t.measure(ctx, func() (tally, error) {
			if _, err := fmt.Fprintln(input, "go"); err != nil {
				return tally{}, err
			}
			if err := json.NewDecoder(lines).Decode(&done); err != nil {
				return tally{}, fmt.Errorf("the script does not end well: %w", err)
			}
			took := make([]time.Duration, len(done.Took))
			for i, µs := range done.Took {
				took[i] = time.Duration(µs * 1e3)
			}
			return tally{items: done.Items, took: took}, nil
		})
		if err != nil {
			return nil, err
		}
		s[ClientCPU], s[Peak] = done.CPU/float64(done.Items), done.Memory
		if mode == "latency" {
			delete(s, Rate) // the pauses make it
		}
		return s, nil
	}
}
