package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// diagnosis is what doctor found.
type diagnosis struct {
	t        *testing.T
	findings []map[string]any
	code     int
}

func (b *backend) diagnose(args ...string) diagnosis {
	b.t.Helper()
	r := b.run(append([]string{"doctor", "--json"}, args...)...)
	require.Empty(b.t, r.stderr)
	return diagnosis{b.t, objects(b.t, r.stdout), r.code}
}

// says requires a finding, and returns what it says to do.
func (d diagnosis) says(level, check, target, text string) string {
	d.t.Helper()
	for _, f := range d.findings {
		if f["level"] == level && f["check"] == check && f["target"] == target && strings.Contains(f["text"].(string), text) {
			do, _ := f["do"].(string)
			return do
		}
	}
	require.Fail(d.t, "it does not say so", "%s %s %s: %s\n%v", level, check, target, text, d.findings)
	return ""
}

func (d diagnosis) without(levels ...string) {
	d.t.Helper()
	for _, f := range d.findings {
		assert.NotContains(d.t, levels, f["level"], "%v", f)
	}
}

func TestDoctorWell(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		defer b.work()()
		groupOf(t, b, 3, 0, 0)
		b.ok("action", "start", "echo", "1", "--wait")
		d := b.diagnose("--old", "1h")
		assert.Equal(t, exitWarnings, d.code, "nobody consumes the group")
		b.ok("group", "delete", "orders", "billing")
		d = b.diagnose()
		assert.Equal(t, exitOK, d.code)
		d.without("note", "warning", "problem")
		d.says("ok", "backend", "memory", "answers in")
		d.says("ok", "streams", "memory", "1 stream, 0 groups")
		d.says("ok", "workers", "memory", "1 worker alive, 0 offline")
		assert.True(t, strings.HasSuffix(b.ok("doctor"), "\n0 problems, 0 warnings\n"))
	})
}

func TestDoctorStreams(t *testing.T) {
	const target = "orders, group billing"
	withBackend(t, func(t *testing.T, b *backend) {
		groupOf(t, b, 30, 4, 2)
		d := b.diagnose()
		assert.Equal(t, exitWarnings, d.code)
		assert.Contains(t, d.says("warning", "streams", target, "2 dead letters"), "rpw tail --from start --no-follow 'orders!dead!billing'; then hand them out again: rpw group redrive orders billing")
		b.ok("group", "redrive", "orders", "billing")
		d = b.diagnose()
		d.without("note", "warning", "problem")
		b.diagnose("--lag", "10").says("warning", "streams", target, "it lags by 26 events")

		time.Sleep(time.Hour) // virtual
		d = b.diagnose()
		assert.Contains(t, d.says("warning", "streams", target, "26 events not delivered and 4 pending, but no consumer was seen for 1h"), "rpw group delete orders billing")
		assert.Contains(t, d.says("warning", "streams", target, "the oldest pending event was first delivered 1h ago"), "rpw group pending")

		_, err := b.hub.Streams().Fetch(t.Context(), rpw.FetchRequest{Stream: "orders", Group: "billing", Consumer: "host-2", Max: 1})
		require.NoError(t, err)
		b.diagnose().says("warning", "streams", target, "consumer host-1 holds 2 events and was not seen for 1h")

		_, err = b.hub.Streams().Publish(t.Context(), []rpw.Batch{{Stream: "orders", Keep: rpw.Retention{Events: 31},
			Events: []rpw.NewEvent{{Type: "new", Data: []byte("1")}}}})
		require.NoError(t, err)
		d = b.diagnose()
		assert.Equal(t, exitProblems, d.code)
		d.says("problem", "streams", target, "27 events wait, and the stream keeps 31")
	})
}

func TestDoctorActions(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		b.ok("action", "start", "echo", `"hang"`, "--id", "1")
		d := b.diagnose()
		assert.Equal(t, exitWarnings, d.code)
		d.says("warning", "actions", "echo", "no live worker")
		time.Sleep(time.Hour) // virtual
		d = b.diagnose()
		assert.Equal(t, exitProblems, d.code)
		assert.Contains(t, d.says("problem", "actions", "echo", "1 action ready, the oldest for 1h, and no live worker serves the queue"), "start a worker")

		stop := b.work()
		for range 3 {
			b.ok("action", "start", "echo", `"hang"`)
		}
		time.Sleep(2 * time.Hour) // virtual
		d = b.diagnose()
		d.says("warning", "actions", "echo", "2 actions ready, the oldest for 2h, and all 2 slots are busy")
		assert.Contains(t, d.says("note", "actions", "echo/1", "it runs for 2h on echoer-1, and has no timeout"), "rpw action cancel echo/1")
		stop()

		b.ok("queue", "pause", "echo")
		assert.Equal(t, "rpw queue resume echo", b.diagnose().says("warning", "actions", "echo", "it is paused; 4 actions ready"))
	})
}

// A handler that was asked to stop, and takes its time.
func TestDoctorLateCancel(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		ref := rpw.ActionRef{Queue: "slow", ID: "1"}
		_, err := b.hub.Actions().Enqueue(t.Context(), []rpw.ActionSpec{{Ref: ref, Name: "slow", CancelGrace: time.Hour}})
		require.NoError(t, err)
		_, err = b.hub.Actions().Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"slow"}, Worker: "w1", Lease: time.Hour})
		require.NoError(t, err)
		assert.Equal(t, "slow/1 running\n", b.ok("action", "cancel", "slow/1"))
		assert.Contains(t, b.ok("action", "ls"), "cancel requested")
		b.diagnose().without("warning", "problem")
		time.Sleep(10 * time.Minute) // virtual
		assert.Contains(t, b.diagnose().says("warning", "actions", "slow/1", "it was asked to stop 10m ago and still runs on w1"), "ctx")
	})
}

// A backend that has no actions.
func TestDoctorUnsupported(t *testing.T) {
	store := memory.New(memory.Options{})
	var stdout, stderr bytes.Buffer
	a := &app{stdout: &stdout, stderr: &stderr, env: func(string) string { return "test://" }}
	a.open = func(_ context.Context, _ string, opts ...rpw.Option) (*rpw.Hub, error) {
		return rpw.New(rpw.Parts{Name: "half", Streams: store.Parts().Streams}, opts...)
	}
	assert.Equal(t, exitOK, a.run(t.Context(), []string{"doctor", "--json"}))
	diagnosis{t: t, findings: objects(t, stdout.String())}.says("note", "actions", "half", "not checked to the end: workers (half): unsupported")
	assert.Equal(t, 11, a.run(t.Context(), []string{"get", "k"}))
}

func TestDoctorWorkers(t *testing.T) {
	withBackend(t, func(t *testing.T, b *backend) {
		beat := func(id string, status rpw.WorkerStatus) {
			_, err := b.hub.Actions().Heartbeat(t.Context(), rpw.Heartbeat{Worker: rpw.WorkerInfo{
				ID: id, Name: "resizer", Status: status, Host: "host-1", PID: 7, Slots: 2, Queues: []string{"resize"}, Error: map[bool]string{true: "disk full"}[status == rpw.WorkerError],
			}})
			require.NoError(t, err)
		}
		beat("resizer-1", rpw.WorkerIdle)
		time.Sleep(time.Minute) // virtual
		d := b.diagnose()
		assert.Equal(t, exitWarnings, d.code)
		d.says("warning", "workers", "resizer-1", "it is offline, last seen 1m ago on host-1, process 7")
		beat("resizer-2", rpw.WorkerError)
		d = b.diagnose()
		d.says("note", "workers", "resizer-1", "others of its name are alive")
		assert.Contains(t, d.says("warning", "workers", "resizer-2", "it reports an error: disk full"), "rpw log query")

		b.ok("action", "start", "resize")
		time.Sleep(10 * time.Second) // virtual
		d = b.diagnose("--old", "5s")
		d.says("warning", "actions", "resize", "though 0 of 2 slots are busy")
	})
}

// doctorOn runs doctor against a real server, in real time.
func doctorOn(t *testing.T, url string, args ...string) diagnosis {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"doctor", "--json", "--url", url}, args...), strings.NewReader(""), &stdout, &stderr, os.Getenv)
	require.Empty(t, stderr.String())
	return diagnosis{t, objects(t, stdout.String()), code}
}

func TestDoctorRedis(t *testing.T) {
	s := redistest.Start(t)
	url := "redis://" + s.Addr
	d := doctorOn(t, url)
	assert.Equal(t, exitWarnings, d.code)
	d.says("ok", "redis", s.Addr, "Redis 7")
	d.says("ok", "redis", s.Addr, "clock here agree")
	d.says("note", "redis", s.Addr, "maxmemory sets no bound")
	d.says("note", "redis", s.Addr, "no replica")
	assert.Contains(t, d.says("warning", "redis", s.Addr, "neither an AOF nor snapshots"), "appendonly yes")

	s.CLI(t, "CONFIG", "SET", "save", "3600 1")
	d = doctorOn(t, url)
	assert.Equal(t, exitOK, d.code)
	d.says("note", "redis", s.Addr, "it makes snapshots (3600 1) and keeps no AOF")
	s.CLI(t, "CONFIG", "SET", "appendonly", "yes")
	s.CLI(t, "CONFIG", "SET", "maxmemory", "1gb")
	d = doctorOn(t, url)
	assert.Equal(t, exitOK, d.code)
	d.says("ok", "redis", s.Addr, "it keeps an AOF; appendfsync is everysec")
	d.says("ok", "redis", s.Addr, "of 1024.0 MiB of memory is used")

	s.CLI(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	d = doctorOn(t, url+"?eviction=allow")
	assert.Equal(t, exitWarnings, d.code)
	assert.Equal(t, "set maxmemory-policy noeviction", d.says("warning", "redis", s.Addr, "maxmemory-policy is allkeys-lru"))
}

func TestDoctorRedisFull(t *testing.T) {
	s := redistest.Start(t, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random", "--maxclients", "20")
	for range 50 {
		s.CLI(t, "EVAL", "for i=1,20 do redis.call('SET', math.random(), string.rep('x', 10000)) end", "0")
	}
	d := doctorOn(t, "redis://"+s.Addr+"?eviction=allow")
	assert.Equal(t, exitProblems, d.code)
	d.says("problem", "redis", s.Addr, "keys were evicted")
	d.says("warning", "redis", s.Addr, "of 4.0 MiB of memory is used")
}

// A snapshot that cannot be written.
func TestDoctorRedisBrokenSnapshot(t *testing.T) {
	s := redistest.Start(t, "--stop-writes-on-bgsave-error", "no")
	s.CLI(t, "SET", "a", "1")
	require.NoError(t, os.Mkdir(s.Dir+"/dump.rdb", 0o700)) // a folder cannot be replaced by the file
	s.CLI(t, "BGSAVE")
	require.Eventually(t, func() bool { return strings.Contains(s.CLI(t, "INFO", "persistence"), "rdb_last_bgsave_status:err") }, 30*time.Second, 20*time.Millisecond)
	d := doctorOn(t, "redis://"+s.Addr)
	assert.Equal(t, exitProblems, d.code)
	assert.Contains(t, d.says("problem", "redis", s.Addr, "the last snapshot failed"), "log")
}

func TestDoctorRedisReplicas(t *testing.T) {
	r := redistest.StartReplicated(t, 1, 0)
	d := doctorOn(t, "redis://"+r.Master.Addr)
	d.says("ok", "redis", r.Master.Addr, "its replica "+r.Replicas[0].Addr+" is online")
}

// Each node of a cluster is checked.
func TestDoctorRedisCluster(t *testing.T) {
	var shared redistest.Shared
	t.Cleanup(shared.Stop)
	nodes := shared.Cluster(t).Nodes
	d := doctorOn(t, "redis+cluster://"+nodes[0].Addr)
	for _, node := range nodes {
		d.says("ok", "redis", node.Addr, ", cluster, master")
	}
}

// A user with no more rights than the driver needs.
func TestDoctorRedisPermissions(t *testing.T) {
	s := redistest.Start(t)
	s.CLI(t, "ACL", "SETUSER", "u", "on", ">pw", "~rpw:*", "~{rpw:*", "&rpw:*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "-@dangerous", "+role", "+time")
	d := doctorOn(t, "redis://u:pw@"+s.Addr)
	assert.Equal(t, exitOK, d.code)
	d.says("note", "backend", "redis", "CONFIG GET is not allowed")
	assert.Contains(t, d.says("note", "redis", s.Addr, "the user may not run INFO"), "+info +config|get")
	d.says("ok", "redis", s.Addr, "clock here agree")

	s.CLI(t, "ACL", "SETUSER", "u", "+info")
	d = doctorOn(t, "redis://u:pw@"+s.Addr)
	d.says("note", "redis", s.Addr, "the user may not run CONFIG GET")
}

func TestServerClock(t *testing.T) {
	var out bytes.Buffer
	for said, ahead := range map[string]time.Duration{
		"its clock is 1h ahead": time.Hour, "its clock is 2m behind": -2 * time.Minute, "agree": 300 * time.Millisecond,
	} {
		out.Reset()
		s := server{doctor: &doctor{app: &app{stdout: &out}}, addr: "host:1"}
		s.compare(ahead, 10*time.Millisecond)
		assert.Contains(t, out.String(), said)
		assert.Equal(t, ahead, s.ahead)
	}
}

func TestReplicaLines(t *testing.T) {
	var out bytes.Buffer
	s := server{doctor: &doctor{app: &app{stdout: &out}}, addr: "host:1", info: map[string]string{"role": "master", "master_repl_offset": "1000",
		"slave0": "ip=10.0.0.2,port=6379,state=online,offset=900,lag=0", "slave1": "ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0",
		"slave2": "ip=10.0.0.4,port=6379,state=online,offset=10,lag=40"}}
	s.replication()
	assert.Contains(t, out.String(), "ok       redis    host:1: its replica 10.0.0.2:6379 is online, 100 bytes behind, heard 0s ago")
	assert.Contains(t, out.String(), "warning  redis    host:1: its replica 10.0.0.3:6379 is wait_bgsave")
	assert.Contains(t, out.String(), "warning  redis    host:1: its replica 10.0.0.4:6379 is online, 990 bytes behind, heard 40s ago")
	s.info = map[string]string{"role": "slave", "master_link_status": "down"}
	s.replication()
	assert.Contains(t, out.String(), "problem  redis    host:1: it is a replica, and its link to the master is down")
}

func TestDoctorCannotOpen(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"doctor", "--url", "redis://127.0.0.1:1"}, strings.NewReader(""), &stdout, &stderr, os.Getenv)
	assert.Equal(t, 6, code)
	assert.Contains(t, stderr.String(), "unavailable")
	assert.Empty(t, stdout.String())
}
