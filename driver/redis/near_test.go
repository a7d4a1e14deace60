package redis

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// nearStore is a store whose near cache is linked.
func nearStore(t *testing.T, addr, user, pass string) (*store, *[]rpw.Notice) {
	t.Helper()
	c := &config{addrs: []string{addr}, user: user, pass: rpw.Secret(pass), dialTimeout: 2 * time.Second, pool: 8}
	opt, err := c.clientOption(new(links))
	require.NoError(t, err)
	client, err := rueidis.NewClient(opt)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	var notices []rpw.Notice
	var mu sync.Mutex
	opts := Options{Prefix: "p", Timeout: time.Second, notify: func(n rpw.Notice) { mu.Lock(); defer mu.Unlock(); notices = append(notices, n) }}
	require.NoError(t, opts.check())
	s := newStore(client, keyspace{prefix: "p"}, opts)
	t.Cleanup(func() { assert.NoError(t, s.close(context.Background())) })
	return s, &notices
}

// nearly reads with a MaxStale that never says no.
func nearly(t *testing.T, s *store, key string) (string, error) {
	t.Helper()
	values, err := cache{s}.Get(t.Context(), rpw.GetRequest{Keys: []string{key}, MaxStale: time.Hour})
	if err != nil {
		return "", err
	}
	return string(values[0].Data), nil
}

// linked waits until a key is served from here.
func linked(t *testing.T, s *store, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := nearly(t, s, key)
		require.NoError(t, err)
		return s.near.at("").find(key, time.Now(), time.Hour, new(rpw.Value))
	}, 10*time.Second, time.Millisecond)
}

// TestNearIsTold: F33, C6: others change the value, and flush the store.
func TestNearIsTold(t *testing.T) {
	server := redistest.Start(t)
	s, _ := nearStore(t, server.Addr, "", "")
	server.CLI(t, "SET", "p:c:k", "1")
	linked(t, s, "k")
	server.CLI(t, "SET", "p:c:k", "2")
	assert.Eventually(t, func() bool { v, _ := nearly(t, s, "k"); return v == "2" }, time.Second, time.Millisecond)
	linked(t, s, "k")
	linked(t, s, "absent")
	server.CLI(t, "FLUSHALL")
	assert.Eventually(t, func() bool { v, _ := nearly(t, s, "k"); return v == "" }, time.Second, time.Millisecond)
	server.CLI(t, "SET", "p:c:absent", "1")
	assert.Eventually(t, func() bool { v, _ := nearly(t, s, "absent"); return v == "1" }, time.Second, time.Millisecond)
}

// TestNearServesWithoutTheServerOnlyWithinTheBound: F33, C6: the link swallows everything while the value changes.
func TestNearServesWithoutTheServerOnlyWithinTheBound(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	s, _ := nearStore(t, proxy.Addr, "", "")
	server.CLI(t, "SET", "p:c:k", "old")
	linked(t, s, "k")
	proxy.Blackhole(true)
	server.CLI(t, "SET", "p:c:k", "new")
	changed := time.Now()
	var lastOld time.Time
	for {
		v, err := nearly(t, s, "k")
		if err != nil {
			break
		}
		require.Equal(t, "old", v)
		lastOld = time.Now()
		time.Sleep(time.Millisecond) // other tests need the processors
	}
	assert.Less(t, lastOld.Sub(changed), 3500*time.Millisecond)
	assert.Greater(t, lastOld.Sub(changed), time.Second, "until then it is of use")
	proxy.Blackhole(false)
	proxy.Cut()
	assert.Eventually(t, func() bool {
		v, err := nearly(t, s, "k")
		assert.NotEqual(t, "old", v)
		return err == nil && v == "new"
	}, 10*time.Second, time.Millisecond)
}

// TestNearAfterAFreeze: a process that was stopped, or slept, serves nothing of before.
func TestNearAfterAFreeze(t *testing.T) {
	server := redistest.Start(t)
	s, _ := nearStore(t, server.Addr, "", "")
	server.CLI(t, "SET", "p:c:k", "1")
	linked(t, s, "k")
	node, key := s.near.at(""), "k"
	assert.False(t, node.find(key, time.Now().Add(nearBound+time.Second), time.Hour, new(rpw.Value)), "the proof is too old")
	assert.False(t, node.find(key, time.Now(), time.Nanosecond, new(rpw.Value)), "for what the caller wants")

	then := time.Now()
	assert.Equal(t, 5*time.Second, age(then.Add(5*time.Second), then))
	slept := then.Round(0).Add(-time.Hour) // the wall clock went on while the other stood still
	assert.GreaterOrEqual(t, age(then, slept), time.Hour)
}

// TestNearLifeWhileTheMachineSleeps: C2, C6: a value does not outlive its end because the monotonic clock stood still.
func TestNearLifeWhileTheMachineSleeps(t *testing.T) {
	v := newNearValues("", 1<<20)
	key, now := []string{"k"}, time.Now()
	v.finish(key, v.begin(key), []rpw.Value{{Found: true, TTL: time.Minute}}, now)
	woken := now.Add(time.Hour)
	(*struct { // of time.Time
		wall uint64
		ext  int64 // the monotonic clock
		loc  *time.Location
	})(unsafe.Pointer(&woken)).ext -= int64(time.Hour)
	require.Zero(t, woken.Sub(now))
	require.Equal(t, time.Hour, age(woken, now))
	assert.True(t, v.get("k", now, new(rpw.Value)))
	assert.False(t, v.get("k", woken, new(rpw.Value)))
}

// TestNearAfterTheClockWasSetBack: a read asks for a link, whatever the time was at the last one.
func TestNearAfterTheClockWasSetBack(t *testing.T) {
	n := &nearNode{wanted: make(chan struct{}, 1)}
	n.touch(time.Now().Add(time.Hour))
	<-n.wanted
	n.touch(time.Now())
	assert.Len(t, n.wanted, 1)
}

// TestNearOfABusyServer: what a script of others keeps the server from is possible later.
func TestNearOfABusyServer(t *testing.T) {
	server := redistest.Start(t, "--busy-reply-threshold", "50")
	s, notices := nearStore(t, server.Addr, "", "")
	conn, release := s.client.Dedicate() // which waits in the pool, since a busy server greets nobody
	require.NoError(t, conn.Do(t.Context(), conn.B().Ping().Build()).Error())
	release()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exec.Command("redis-cli", "-u", "redis://"+server.Addr, "EVAL", "while true do end", "0").Run()
	}()
	require.Eventually(t, func() bool {
		err := s.client.Do(t.Context(), s.client.B().Ping().Build()).Error()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	}, 10*time.Second, 10*time.Millisecond)
	s.near.at("").link()
	server.CLI(t, "SCRIPT", "KILL")
	<-ended
	assert.False(t, s.near.off.Load())
	linked(t, s, "k")
	assert.Empty(t, *notices)
}

func TestNearWithoutPermission(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(t, "ACL", "SETUSER", "u", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
	s, notices := nearStore(t, server.Addr, "u", "pw")
	server.CLI(t, "SET", "p:c:k", "1")
	require.Eventually(t, func() bool { nearly(t, s, "k"); return s.near.off.Load() }, 10*time.Second, time.Millisecond)
	for range 3 {
		v, err := nearly(t, s, "k")
		require.NoError(t, err)
		assert.Equal(t, "1", v)
	}
	require.NoError(t, s.near.close(t.Context()))
	require.Len(t, *notices, 1)
	assert.Equal(t, rpw.NoticeDegraded, (*notices)[0].Kind)
}

func TestNearKeepsNothingThatChangedOnItsWay(t *testing.T) {
	v := newNearValues("", 1<<20)
	key, now := "k", time.Now()
	begun := v.begin([]string{key})
	v.drop([]string{key})
	v.finish([]string{key}, begun, []rpw.Value{{Found: true, TTL: rpw.NoTTL}}, now)
	assert.False(t, v.get(key, now, new(rpw.Value)), "dropped while it was read")

	first := v.begin([]string{key})
	v.clear()
	second := v.begin([]string{key})
	v.finish([]string{key}, first, []rpw.Value{{Found: true, TTL: rpw.NoTTL}}, now)
	assert.False(t, v.get(key, now, new(rpw.Value)), "begun before")
	v.finish([]string{key}, second, []rpw.Value{{Found: true, TTL: time.Second}}, now)
	assert.True(t, v.get(key, now, new(rpw.Value)), "begun after")
	assert.False(t, v.get(key, now.Add(time.Second), new(rpw.Value)), "lapsed")
	assert.Empty(t, v.shard(key).loads)
}

func TestNearIsBounded(t *testing.T) {
	v := newNearValues("", 1<<20)
	for i := range 10_000 {
		key := []string{strconv.Itoa(i)}
		v.finish(key, v.begin(key), []rpw.Value{{Data: make([]byte, 1000), Found: true, TTL: rpw.NoTTL}}, time.Now())
	}
	size := 0
	for i := range v.shards {
		size += v.shards[i].size
	}
	assert.LessOrEqual(t, size, 1<<20)
	assert.Greater(t, size, 1<<19)
}

func BenchmarkNearGet(b *testing.B) {
	s := testStore(b)
	ctx := b.Context()
	_, err := cache{s}.Set(ctx, []rpw.CacheSet{{Key: "k", Data: make([]byte, 256), TTL: rpw.NoTTL}})
	require.NoError(b, err)
	req := rpw.GetRequest{Keys: []string{"k"}, MaxStale: time.Hour}
	for s.near.at("").conn.Load() == nil {
		_, err := cache{s}.Get(ctx, req)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := (cache{s}).Get(ctx, req); err != nil {
				b.Error(err)
			}
		}
	})
}
