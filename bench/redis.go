package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// redisServer is a redis-server without persistence, for one trial.
type redisServer struct {
	addr string
	dir  string
	cmd  *exec.Cmd
}

func startRedis(ctx context.Context) (*redisServer, error) {
	var err error
	for range 5 { // another process may take the port between its choice and its use
		var s *redisServer
		if s, err = tryRedis(ctx); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func tryRedis(ctx context.Context) (*redisServer, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir, err := os.MkdirTemp("", "rpw-bench-redis-")
	if err != nil {
		return nil, err
	}
	s := &redisServer{addr: addr, dir: dir}
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--logfile", "redis.log")
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for range 1000 {
		if _, err = usageOf(ctx, addr); err == nil {
			return s, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("redis-server does not come up: %w", err)
}

func (s *redisServer) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	os.RemoveAll(s.dir)
}

// serverUsage is what a redis-server has done: commands, those of scripts included, and µs of CPU.
type serverUsage struct{ commands, micros float64 }

// usageOf asks over a connection of its own; its own commands are not counted.
func usageOf(ctx context.Context, addr string) (u serverUsage, err error) {
	text, err := info(ctx, addr, "commandstats", "cpu")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "cmdstat_info":
		case strings.HasPrefix(name, "cmdstat_"):
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, err := strconv.ParseFloat(calls, 64)
			if err != nil {
				return u, fmt.Errorf("INFO says %q", line)
			}
			u.commands += n
		case name == "used_cpu_user" || name == "used_cpu_sys":
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return u, fmt.Errorf("INFO says %q", line)
			}
			u.micros += seconds * 1e6
		}
	}
	return u, nil
}

// info asks a server for sections of INFO.
func info(ctx context.Context, addr string, sections ...string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "INFO %s\r\n", strings.Join(sections, " ")); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	head, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "$")))
	if err != nil {
		return "", errors.New("INFO answers " + strings.TrimSpace(head))
	}
	text := make([]byte, size)
	_, err = io.ReadFull(r, text)
	return string(text), err
}
