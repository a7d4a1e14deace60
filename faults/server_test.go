package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/workers"
)

// TestOldCopyIsRestored: F18, S5: the server comes back with an older copy of its data. A subscriber that is ahead of it learns that before the next
// event; one that is not goes on without an alarm.
func TestOldCopyIsRestored(t *testing.T) {
	t.Parallel()
	server := redistest.StartDurable(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	publishNumbers(t, hub, stream, 0, 3)
	var gaps []*rpw.GapError
	ahead, err := stream.Subscribe(t.Context(), hub, rpw.Oldest(), rpw.OnGap(func(gap *rpw.GapError) (rpw.Position, error) {
		gaps = append(gaps, gap)
		return gap.Resume, nil
	}))
	require.NoError(t, err)
	behind, err := stream.Subscribe(t.Context(), hub, rpw.Oldest())
	require.NoError(t, err)
	next := func(sub *rpw.Subscription[int], want ...int) {
		t.Helper()
		for _, n := range want {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			m, err := sub.Next(ctx)
			cancel()
			require.NoError(t, err)
			require.Equal(t, n, m.Data)
		}
	}
	next(ahead, 0, 1, 2)
	next(behind, 0, 1, 2)
	server.Kill()
	data := filepath.Join(server.Dir, "appendonlydir")
	copied := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(copied, "old"), os.DirFS(data)))
	server.Restart(t)
	server.AwaitLoaded(t)
	publishNumbers(t, hub, stream, 3, 6)
	next(ahead, 3, 4, 5)
	waited := make(chan struct{})
	go func() { defer close(waited); next(ahead, 0) }() // it waits while the copy is put back; from the reset on it reads another history
	server.Kill()
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.Rename(filepath.Join(copied, "old"), data))
	server.Restart(t)
	server.AwaitLoaded(t)
	publishNumbers(t, hub, stream, 6, 7)
	<-waited
	publishNumbers(t, hub, stream, 7, 12) // more than there had been
	next(ahead, 1, 2, 6, 7, 8, 9, 10, 11)
	next(behind, 6, 7, 8, 9, 10, 11)
	require.Len(t, gaps, 1)
	assert.Equal(t, rpw.GapReset, gaps[0].Kind)
}

// TestNodeIsKilled: F22, E4: while a node of a cluster is away, calls for its keys say so and no more is done; when it is back, all works again.
func TestNodeIsKilled(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 3)
	hub := open(t, "redis+cluster://"+strings.Join(nodes.Addrs(), ","))
	require.NoError(t, rpw.Set(t.Context(), hub, "k", 1))
	owner := nodes.Owner(t, "rpw:c:k")
	owner.Kill()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		err := rpw.Set(ctx, hub, "k", 2)
		cancel()
		assert.Contains(t, []string{"unavailable", "deadline_exceeded", "uncertain"}, rpw.Code(err))
		assert.Less(t, time.Since(began), time.Second)
	}
	owner.Restart(t)
	back := time.Now()
	within(t, back, "calls work", func() bool { return rpw.Set(t.Context(), hub, "k", 3) == nil })
	atMost(t, "a call works after a node came back after", time.Since(back), 3*recovery) // the nodes have to agree first
}

// TestDiskFull: F25, S2: a server that cannot write its log refuses events, which callers are told; it serves reads; and goes on when there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	server := redistest.StartLimited(t, "--appendonly", "yes", "--appendfsync", "everysec")
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[string]("texts")
	prepareReads(t, hub)
	server.LimitFiles(t, 256<<10)
	text, stored := strings.Repeat("x", 16<<10), 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // what is refused is repeated until then
		_, err := stream.Publish(ctx, hub, "text", text)
		cancel()
		if err != nil {
			require.ErrorContains(t, err, "MISCONF")
			require.NotErrorIs(t, err, rpw.ErrUncertain)
			break
		}
		stored++
		require.Less(t, stored, 10_000)
	}
	events, err := hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "texts"})
	require.NoError(t, err)
	assert.Len(t, events, stored, "nothing of what was refused")
	readsAll(t, hub)
	readsAll(t, open(t, "redis://"+server.Addr))
	published := make(chan error, 1)
	go func() {
		_, err := stream.Publish(t.Context(), hub, "text", "the last")
		published <- err
	}()
	server.LimitFiles(t, -1)
	require.NoError(t, <-published, "within the time of a call")
	events, err = hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "texts"})
	require.NoError(t, err)
	assert.Len(t, events, stored+1)
}

// TestDiskFullForAlways: F25, F1, S2: a server that must store before it answers ends when its disk is full. It comes back with all it had acknowledged.
func TestDiskFullForAlways(t *testing.T) {
	t.Parallel()
	server := redistest.StartLimited(t, "--appendonly", "yes", "--appendfsync", "always")
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	server.LimitFiles(t, 64<<10)
	p := &publisher{hub: hub, stream: stream}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	stop, published := make(chan struct{}), make(chan struct{})
	go func() { defer close(published); p.run(ctx, t, stop, time.Millisecond) }()
	within(t, time.Now(), "the server ends", server.Ended)
	assert.Positive(t, p.stored.Load())
	server.Restart(t) // without the limit
	server.AwaitLoaded(t)
	back, before := time.Now(), p.stored.Load()
	within(t, back, "publishing goes on", func() bool { return p.stored.Load() > before })
	atMost(t, "publishing goes on after", time.Since(back), recovery)
	close(stop)
	<-published
	assert.Len(t, all(t, hub, stream), int(p.stored.Load()))
}

// prepareReads stores what readsAll reads.
func prepareReads(t *testing.T, hub *rpw.Hub) {
	t.Helper()
	publishNumbers(t, hub, rpw.StreamOf[int]("readable"), 0, 3)
	_, err := hub.Streams().EnsureGroup(t.Context(), rpw.GroupConfig{Stream: "readable", Group: "g", From: rpw.Oldest()})
	require.NoError(t, err)
	require.NoError(t, rpw.Set(t.Context(), hub, "readable", 1))
	_, err = childAction.Start(t.Context(), hub, 1, actions.ID("readable"))
	require.NoError(t, err)
}

// readsAll reads in all ways what prepareReads has stored, from a server that takes no writes.
func readsAll(t *testing.T, hub *rpw.Hub) {
	t.Helper()
	ctx := t.Context()
	stream := rpw.StreamOf[int]("readable")
	sub, err := stream.Subscribe(ctx, hub, rpw.Oldest())
	require.NoError(t, err)
	m, err := sub.Next(ctx)
	require.NoError(t, err)
	assert.Zero(t, m.Data)
	sub.Close()
	for _, start := range []rpw.Start{rpw.Oldest(), rpw.Newest(), rpw.Last(1), rpw.After(m.Position())} {
		at, err := hub.Streams().Locate(ctx, "readable", start)
		require.NoError(t, err)
		assert.NotZero(t, at.Epoch)
	}
	assert.Len(t, all(t, hub, stream), 3)
	info, err := hub.Streams().StreamInfo(ctx, "readable")
	require.NoError(t, err)
	assert.EqualValues(t, 3, info.Events)
	groups, err := hub.Streams().Groups(ctx, "readable")
	require.NoError(t, err)
	assert.Len(t, groups, 1)
	_, err = hub.Streams().Pending(ctx, rpw.PendingRequest{Stream: "readable", Group: "g"})
	require.NoError(t, err)
	n, _, err := rpw.Get[int](ctx, hub, "readable")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	ref := rpw.ActionRef{Queue: childAction.Name(), ID: "readable"}
	assert.Equal(t, rpw.Pending, actionOf(t, hub, ref).State)
	changes, err := hub.Actions().Changes(ctx, rpw.ChangesRequest{Ref: ref})
	require.NoError(t, err)
	assert.NotEmpty(t, changes)
	list, err := hub.Actions().List(ctx, rpw.ListActions{})
	require.NoError(t, err)
	assert.NotEmpty(t, list.Actions)
	_, err = hub.Actions().Workers(ctx, rpw.WorkersRequest{})
	require.NoError(t, err)
}

// TestLoading: F26, E1: calls that come while a restarted server reads its data are not done, and are repeated until they are.
func TestLoading(t *testing.T) {
	t.Parallel()
	server := redistest.StartDurable(t, "--key-load-delay", "50")
	hub := open(t, "redis://"+server.Addr)
	for n := range 8 {
		items := make([]rpw.CacheSet, rpw.MaxBatch)
		for i := range items {
			items[i] = rpw.CacheSet{Key: strconv.Itoa(n*rpw.MaxBatch + i), Data: []byte("1"), TTL: rpw.NoTTL}
		}
		_, err := hub.Cache().Set(t.Context(), items)
		require.NoError(t, err)
	}
	server.Kill()
	server.Restart(t)
	began := time.Now()
	_, err := rpw.Increment(t.Context(), hub, "counter", 1) // which is not repeated when it may have been done
	for ; errors.Is(err, rpw.ErrUnavailable) && time.Since(began) < time.Minute; _, err = rpw.Increment(t.Context(), hub, "counter", 1) {
	} // on a busy machine it reads for longer than a call waits
	require.NoError(t, err)
	note(t, "an increment waited for the loading", time.Since(began))
	n, _, err := rpw.Get[int](t.Context(), hub, "counter")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
}

// TestTooManyClients: F27: a server that takes no more connections is not stormed, and all goes on when it does.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin, err := net.Dial("tcp", server.Addr) // redis-cli would be refused, too
	require.NoError(t, err)
	defer admin.Close()
	answers := bufio.NewReader(admin)
	command := func(words string) string {
		_, err := fmt.Fprintf(admin, "%s\r\n", words)
		require.NoError(t, err)
		line, err := answers.ReadString('\n')
		require.NoError(t, err)
		return line
	}
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	f := follow(t, hub, stream)
	ctx, end := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() { defer close(followed); f.run(ctx) }()
	publishNumbers(t, hub, stream, 0, 1)
	within(t, time.Now(), "the subscriber works", func() bool { return f.next.Load() == 1 })
	before := linksMade(t, server)
	require.Contains(t, command("CONFIG SET maxclients 1"), "OK")
	command("CLIENT KILL TYPE normal SKIPME yes")
	command("CLIENT KILL TYPE pubsub")
	const away = 2 * time.Second
	calls, uncertain := 0, 0
	for began := time.Now(); time.Since(began) < away; {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := rpw.Set(ctx, hub, "k", 1)
		cancel()
		assert.Error(t, err)
		if calls++; errors.Is(err, rpw.ErrUncertain) {
			uncertain++
		}
	}
	note(t, "calls refused", calls)
	atMost(t, "of them with an unknown outcome: on the links that were killed", uncertain, 4)
	require.Contains(t, command("CONFIG SET maxclients 10000"), "OK")
	back := time.Now()
	publishNumbers(t, hub, stream, 1, 2)
	within(t, back, "the subscriber works again", func() bool { return f.next.Load() == 2 })
	atMost(t, "calls and subscriber work again after", time.Since(back), recovery)
	atMost(t, "connections tried a second", (linksMade(t, server)-before)/int(away.Seconds()), 50)
	end()
	<-followed
	assert.Empty(t, f.wrong)
}

// TestUserIsRemoved: F27, E5: when the server does not know the user any more, calls and Health say so, nobody storms it, and all goes on when the
// user is back.
func TestUserIsRemoved(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	grant := func() { server.CLI(t, "ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all") }
	grant()
	hub := open(t, "redis://app:secret@"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	f := follow(t, hub, stream)
	ctx, end := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		for told := true; told; { // that trying again would not mend it; it is for the caller to go on
			f.run(ctx)
			told = false
			f.wrong = slices.DeleteFunc(f.wrong, func(text string) bool { told = told || strings.Contains(text, "permission"); return told })
			time.Sleep(100 * time.Millisecond)
		}
	}()
	publishNumbers(t, hub, stream, 0, 1)
	within(t, time.Now(), "the subscriber works", func() bool { return f.next.Load() == 1 })
	server.CLI(t, "ACL", "DELUSER", "app")
	within(t, time.Now(), "calls are told", func() bool { return errors.Is(rpw.Set(t.Context(), hub, "k", 1), rpw.ErrPermission) })
	assert.ErrorIs(t, hub.Health(t.Context()), rpw.ErrPermission)
	const away, between = 10 * time.Second, 5 * time.Second
	began := time.Now()
	before, calls := linksMade(t, server), 0
	for ; time.Since(began) < away; calls++ {
		require.ErrorIs(t, rpw.Set(t.Context(), hub, "k", 1), rpw.ErrPermission)
		time.Sleep(10 * time.Millisecond)
	}
	note(t, "calls refused", calls)
	tried := linksMade(t, server) - before
	atMost(t, "connections tried, one in five seconds", tried, 1+int(time.Since(began)/between))
	grant()
	back := time.Now()
	within(t, back, "calls work", func() bool { return rpw.Set(t.Context(), hub, "k", 1) == nil })
	publishNumbers(t, hub, stream, 1, 2)
	within(t, back, "the subscriber works again", func() bool { return f.next.Load() == 2 })
	atMost(t, "calls and subscriber work again after", time.Since(back), 2*recovery)
	end()
	<-followed
	assert.Empty(t, f.wrong)
}

// TestScriptsAreFlushed: F28: a server forgets its scripts all the time, which nobody notices.
func TestScriptsAreFlushed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	startWorker(t, hub, workers.Config{Concurrency: 4}, func(context.Context, int) (string, error) { return "", nil })
	ctx, end := context.WithCancel(t.Context())
	var load sync.WaitGroup
	done := make([]int, 3)
	for i, do := range []func(n int) error{
		func(n int) error { _, err := stream.Publish(t.Context(), hub, "number", n); return err },
		func(n int) error {
			_, err := hub.Cache().Delete(t.Context(), []rpw.CacheDelete{{Key: "a"}, {Key: "b"}, {Key: "c"}})
			return err
		},
		func(n int) error { _, err := childAction.Run(t.Context(), hub, n); return err },
	} {
		load.Go(func() {
			for ; ctx.Err() == nil; done[i]++ {
				if !assert.NoError(t, do(done[i])) {
					return
				}
			}
		})
	}
	for range 100 {
		server.CLI(t, "SCRIPT", "FLUSH")
		time.Sleep(5 * time.Millisecond)
	}
	end()
	load.Wait()
	assert.Len(t, all(t, hub, stream), done[0])
	note(t, "publishes, deletes, actions through 100 flushes", done)
}

// TestForeignScript: F29: while a script of others keeps the server busy, calls are not done, and are repeated until they are or their time is over.
func TestForeignScript(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--busy-reply-threshold", "50")
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	publishNumbers(t, hub, stream, 0, 1)
	busy, err := net.Dial("tcp", server.Addr)
	require.NoError(t, err)
	defer busy.Close()
	_, err = busy.Write([]byte("*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n"))
	require.NoError(t, err)
	admin, err := net.Dial("tcp", server.Addr)
	require.NoError(t, err)
	defer admin.Close()
	answers := bufio.NewReader(admin)
	ask := func(words string) string {
		_, err := admin.Write([]byte(words + "\r\n"))
		require.NoError(t, err)
		line, err := answers.ReadString('\n')
		require.NoError(t, err)
		return line
	}
	within(t, time.Now(), "the server is busy", func() bool { return strings.HasPrefix(ask("PING"), "-BUSY") })
	require.Eventually(t, func() bool { // a try that is under way when its time is over is uncertain
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := stream.Publish(ctx, hub, "number", 1)
		return err != nil && !errors.Is(err, rpw.ErrUncertain)
	}, 30*time.Second, time.Millisecond, "nothing was done")
	published := make(chan error, 1)
	go func() {
		_, err := stream.Publish(t.Context(), hub, "number", 2)
		published <- err
	}()
	time.Sleep(300 * time.Millisecond)
	require.Contains(t, ask("SCRIPT KILL"), "OK")
	require.NoError(t, <-published)
	assert.Equal(t, []int{0, 2}, numbers(all(t, hub, stream)))
}

// TestChannelsAreLeft: F25, E1: what nobody waits for any more is left in time, also while the disk of the server is full: it answers then in a way that
// rueidis does not survive.
func TestChannelsAreLeft(t *testing.T) {
	t.Parallel()
	server := redistest.StartLimited(t, "--appendonly", "yes", "--appendfsync", "everysec")
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	publishNumbers(t, hub, stream, 0, 1)
	at, err := hub.Streams().Locate(t.Context(), "numbers", rpw.Newest())
	require.NoError(t, err)
	_, err = hub.Streams().Read(t.Context(), rpw.ReadRequest{Stream: "numbers", After: at, Wait: 10 * time.Millisecond})
	require.NoError(t, err)
	left := func() bool { return !strings.Contains(server.CLI(t, "PUBSUB", "CHANNELS"), "numbers") }
	require.False(t, left())
	server.LimitFiles(t, 1)
	within(t, time.Now(), "the server cannot write", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return rpw.Set(ctx, hub, "k", 1) != nil
	})
	require.Eventually(t, left, time.Minute, 100*time.Millisecond, "nobody waits")
	server.LimitFiles(t, -1)
	within(t, time.Now(), "calls work", func() bool { _, err := stream.Publish(t.Context(), hub, "number", 1); return err == nil })
}

// TestLoadsWithoutServer: F34, C5: a thousand readers of an absent value are served by one load, also when they come while the server is away, and
// then nobody waits longer than a call does.
func TestLoadsWithoutServer(t *testing.T) {
	t.Parallel()
	const readers = 1000
	server := redistest.Start(t)
	hub := open(t, "redis://"+server.Addr)
	loads := 0 // one at a time
	read := func() (errs []error, took time.Duration) {
		began := time.Now()
		answers := make(chan error, readers)
		for range readers {
			go func() {
				n, err := rpw.Load(t.Context(), hub, "k", func(context.Context) (int, error) {
					loads++
					time.Sleep(100 * time.Millisecond)
					return 7, nil
				}, rpw.TTL(time.Minute))
				if err == nil && n != 7 {
					err = fmt.Errorf("it was %d", n)
				}
				answers <- err
			}()
		}
		for range readers {
			if err := <-answers; err != nil {
				errs = append(errs, err)
			}
		}
		return errs, time.Since(began)
	}
	errs, _ := read()
	assert.Empty(t, errs)
	assert.Equal(t, 1, loads)
	server.Kill()
	errs, took := read()
	assert.Len(t, errs, readers)
	assert.ErrorIs(t, errors.Join(errs...), rpw.ErrUnavailable)
	atMost(t, "a thousand readers without the server are answered after", took, rpw.CloseTimeout+recovery)
	server.Restart(t)
	began := time.Now()
	errs, _ = read() // the server has lost the value
	assert.Empty(t, errs)
	assert.Equal(t, 2, loads)
	atMost(t, "and with it again after", time.Since(began), recovery)
}
