package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// Bounds of what is well with a server.
const (
	tooFull    = 0.9              // of its memory and of its connections
	tooFarBack = 10 * time.Second // since a replica was last heard
	tooSkewed  = time.Second      // its clock, against ours
)

// redis checks each server behind a Hub of the redis driver.
func (d *doctor) redis(ctx context.Context) error {
	client, ok := rpw.Native[rueidis.Client](d.hub)
	if !ok {
		return nil
	}
	nodes := client.Nodes()
	for _, addr := range slices.Sorted(maps.Keys(nodes)) {
		s := server{doctor: d, addr: addr, node: nodes[addr]}
		if err := s.check(ctx); err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
	}
	return nil
}

// server is one Redis server under examination.
type server struct {
	*doctor
	addr string
	node rueidis.Client
	info map[string]string
}

func (s *server) tell(level severity, text, do string) {
	s.doctor.tell(level, "redis", s.addr, text, do)
}

func (s *server) check(ctx context.Context) error {
	if err := s.clock(ctx); err != nil {
		return err
	}
	answer, err := s.node.Do(ctx, s.node.B().Info().Build()).ToString()
	if refused(err) {
		s.tell(note, "not checked: memory, persistence, clients, replicas; the user may not run INFO", "give a user that may (+info +config|get) to rpw doctor")
		return nil
	}
	if err != nil {
		return err
	}
	s.info = make(map[string]string)
	for line := range strings.Lines(answer) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			s.info[name] = value
		}
	}
	s.tell(fine, fmt.Sprintf("Redis %s, %s, %s, up for %s", s.info["redis_version"], s.info["redis_mode"], s.info["role"],
		roughly(time.Duration(s.number("uptime_in_seconds"))*time.Second)), "")
	s.memory()
	s.clients()
	s.replication()
	return s.persistence(ctx)
}

// refused reports whether the server does not let the user run a command, or does not have it.
func refused(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && (strings.HasPrefix(e.Error(), "NOPERM") || strings.Contains(e.Error(), "unknown command"))
}

func (s *server) number(name string) int64 {
	n, _ := strconv.ParseInt(s.info[name], 10, 64)
	return n
}

func (s *server) memory() {
	used, most, policy := s.number("used_memory"), s.number("maxmemory"), s.info["maxmemory_policy"]
	switch {
	case most == 0:
		s.tell(note, fmt.Sprintf("%s of memory is used, and maxmemory sets no bound", mebibytes(used)),
			"set maxmemory below what the machine has, so that a full server refuses writes instead of being killed")
	case float64(used) >= tooFull*float64(most):
		s.tell(warning, fmt.Sprintf("%s of %s of memory is used", mebibytes(used), mebibytes(most)),
			"raise maxmemory, or keep less: rpw stream ls shows what streams hold")
	default:
		s.tell(fine, fmt.Sprintf("%s of %s of memory is used", mebibytes(used), mebibytes(most)), "")
	}
	if policy != "noeviction" && most > 0 {
		s.tell(warning, "maxmemory-policy is "+policy+": a full server drops keys, also of streams and actions", "set maxmemory-policy noeviction")
	}
	if n := s.number("evicted_keys"); n > 0 {
		s.tell(problem, counted(n, "key")+" were evicted since the server started", "set maxmemory-policy noeviction, raise maxmemory")
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (s *server) clients() {
	n, most := s.number("connected_clients"), s.number("maxclients")
	if most > 0 && float64(n) >= tooFull*float64(most) {
		s.tell(warning, fmt.Sprintf("%d of %d connections are in use", n, most), "raise maxclients, or find who holds them: CLIENT LIST")
	}
}

func (s *server) replication() {
	if s.info["role"] == "slave" {
		if link := s.info["master_link_status"]; link != "up" {
			s.tell(problem, "it is a replica, and its link to the master is "+link, "see its log; until the link is up it cannot take over")
		}
		return
	}
	replicas := 0
	for i := 0; s.info["slave"+strconv.Itoa(i)] != ""; i++ {
		replicas++
		s.replica(s.info["slave"+strconv.Itoa(i)])
	}
	if replicas == 0 {
		s.tell(note, "it has no replica", "add one, if the backend must survive the loss of this machine")
	}
}

// replica checks a line of INFO like ip=10.0.0.2,port=6379,state=online,offset=1234,lag=0.
func (s *server) replica(line string) {
	fields := make(map[string]string)
	for field := range strings.SplitSeq(line, ",") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	lag, _ := strconv.ParseInt(fields["lag"], 10, 64)
	offset, _ := strconv.ParseInt(fields["offset"], 10, 64)
	about := fmt.Sprintf("its replica %s:%s is %s, %d bytes behind, heard %ds ago", fields["ip"], fields["port"], fields["state"],
		max(0, s.number("master_repl_offset")-offset), lag)
	if fields["state"] != "online" || time.Duration(lag)*time.Second > tooFarBack {
		s.tell(warning, about, "see the replica's log; a failover now would lose what it does not have")
		return
	}
	s.tell(fine, about, "")
}

func (s *server) persistence(ctx context.Context) error {
	for _, broken := range []struct{ field, what string }{
		{"rdb_last_bgsave_status", "the last snapshot failed"},
		{"aof_last_bgrewrite_status", "the last rewrite of the AOF failed"},
		{"aof_last_write_status", "the last write to the AOF failed"},
	} {
		if status := s.info[broken.field]; status != "" && status != "ok" {
			s.tell(problem, broken.what, "look for the reason in the server's log: disk full, no permission, no memory to fork; it may refuse writes until then")
		}
	}
	if s.info["loading"] == "1" {
		s.tell(problem, "it is still loading its data", "wait")
	}
	config, err := s.node.Do(ctx, s.node.B().ConfigGet().Parameter("save", "appendfsync").Build()).AsStrMap()
	if err != nil && !refused(err) {
		return err
	}
	changes := counted(s.number("rdb_changes_since_last_save"), "change")
	switch {
	case s.info["aof_enabled"] == "1":
		s.tell(fine, "it keeps an AOF; appendfsync is "+text(config["appendfsync"]), "")
	case err != nil:
		s.tell(note, "it keeps no AOF; whether it makes snapshots cannot be seen, since the user may not run CONFIG GET; "+changes+" since the last one", "")
	case config["save"] != "":
		s.tell(note, "it makes snapshots ("+config["save"]+") and keeps no AOF: a crash loses what came since the last one, now "+changes,
			"set appendonly yes, if that must not be lost")
	default:
		s.tell(warning, "it keeps neither an AOF nor snapshots: a restart loses everything", "set appendonly yes, unless all of it may be lost")
	}
	return nil
}

// clock compares the server's clock with ours.
func (s *server) clock(ctx context.Context) error {
	start := time.Now()
	answer, err := s.node.Do(ctx, s.node.B().Time().Build()).AsStrSlice()
	took := time.Since(start)
	if err != nil {
		return err
	}
	seconds, _ := strconv.ParseInt(answer[0], 10, 64)
	micros, _ := strconv.ParseInt(answer[1], 10, 64)
	s.compare(time.Unix(seconds, micros*1000).Sub(start.Add(took/2)), took)
	return nil
}

// compare tells how far the server's clock is ahead, measured by a call that took so long.
func (s *server) compare(ahead, took time.Duration) {
	s.ahead = ahead
	switch off := ahead.Abs() - took/2; {
	case off > tooSkewed && ahead > 0:
		s.tell(warning, "its clock is "+roughly(ahead)+" ahead of the clock here", synchronise)
	case off > tooSkewed:
		s.tell(warning, "its clock is "+roughly(-ahead)+" behind the clock here", synchronise)
	default:
		s.tell(fine, "its clock and the clock here agree", "")
	}
}

const synchronise = "synchronise both (chrony, ntpd): times that clients give, like --run-at and --since, are off by that much"
