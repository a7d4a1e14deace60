package faults

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// all reads a whole stream.
func all(t testing.TB, hub *rpw.Hub, stream rpw.Stream[int]) (events []rpw.Message[int]) {
	t.Helper()
	for at := rpw.Oldest(); ; {
		page, err := stream.Read(t.Context(), hub, at, 0)
		require.NoError(t, err)
		if len(page) == 0 {
			return events
		}
		events = append(events, page...)
		at = rpw.After(page[len(page)-1].Position())
	}
}

func numbers(events []rpw.Message[int]) []int {
	list := make([]int, len(events))
	for i, m := range events {
		list[i] = m.Data
	}
	return list
}

// TestKilledWhilePublishing kills the server under many publishers. F1, S2, S3: what was acknowledged is there, what was refused is not, what is
// uncertain may be; and a key that is published again is stored once, with one position.
func TestKilledWhilePublishing(t *testing.T) {
	t.Parallel()
	const publishers, kills, repeated = 8, 4, 10 // each tenth number is tried until it is stored
	server := redistest.StartDurable(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	type outcome struct {
		n         int
		at        rpw.Position
		ok        bool
		uncertain bool
	}
	outcomes := make([][]outcome, publishers)
	var stored atomic.Int64
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	for i := range outcomes {
		publishing.Go(func() {
			for n := i; ; n += publishers {
				select {
				case <-stop:
					return
				default:
				}
				o := outcome{n: n}
				for try := 0; !o.ok && (try == 0 || n/publishers%repeated == 0); try++ {
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					at, err := stream.Publish(ctx, hub, "number", n, rpw.WithKey(strconv.Itoa(n)))
					cancel()
					switch {
					case err == nil:
						o.ok, o.at = true, at
						stored.Add(1)
					case errors.Is(err, rpw.ErrUncertain):
						o.uncertain = true
					case !errors.Is(err, rpw.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded):
						t.Errorf("publish %d: %v", n, err)
						return
					}
				}
				outcomes[i] = append(outcomes[i], o)
			}
		})
	}
	for range kills {
		before := stored.Load()
		time.Sleep(300 * time.Millisecond)
		within(t, time.Now(), "events are stored", func() bool { return stored.Load() > before+25 })
		server.Kill()
		time.Sleep(100 * time.Millisecond)
		server.Restart(t)
		server.AwaitLoaded(t)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	publishing.Wait()

	places := make(map[int]rpw.Position)
	for _, m := range all(t, hub, stream) {
		_, twice := places[m.Data]
		assert.False(t, twice, "%d is there twice", m.Data)
		places[m.Data] = m.Position()
	}
	acknowledged, refused, uncertain, found := 0, 0, 0, 0
	for _, o := range slices.Concat(outcomes...) {
		at, there := places[o.n]
		switch {
		case o.ok:
			acknowledged++
			assert.True(t, there, "%d was acknowledged and is lost", o.n)
			assert.Equal(t, o.at, at)
		case o.uncertain:
			uncertain++
			if there {
				found++
			}
		default:
			refused++
			assert.False(t, there, "%d was refused and is there", o.n)
		}
	}
	assert.Greater(t, acknowledged, 100)
	note(t, "events acknowledged; refused; uncertain, of them stored", [4]int{acknowledged, refused, uncertain, found})
}

// TestUnknownOutcome: F2, S3: a publish whose answer does not come in time is uncertain, and is done later all the same; the same key is stored once.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	_, err := stream.Publish(t.Context(), hub, "number", 0)
	require.NoError(t, err)
	server.CLI(t, "CLIENT", "PAUSE", "1000", "WRITE")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = stream.Publish(ctx, hub, "number", 1, rpw.WithKey("k"))
	require.ErrorIs(t, err, rpw.ErrUncertain)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), 600*time.Millisecond)
	within(t, began, "the publish is done", func() bool { return len(all(t, hub, stream)) == 2 })
	at, err := stream.Publish(t.Context(), hub, "number", 1, rpw.WithKey("k"))
	require.NoError(t, err)
	events := all(t, hub, stream)
	assert.Equal(t, []int{0, 1}, numbers(events))
	assert.Equal(t, events[1].Position(), at)
}

// TestSilenceWhilePublishing: F2, E1: a publish without a deadline ends by itself when the server says nothing, with an unknown outcome, and all
// goes on when it speaks again.
func TestSilenceWhilePublishing(t *testing.T) {
	t.Parallel()
	lengths := []time.Duration{0} // as long as a publish takes to give up, at least
	if full {
		lengths = []time.Duration{3 * time.Second, 15 * time.Second}
	}
	for name, silence := range map[string]struct {
		begin, end func(*redistest.Server, *redistest.Proxy)
	}{
		"frozen": {func(s *redistest.Server, _ *redistest.Proxy) { s.Freeze() }, func(s *redistest.Server, _ *redistest.Proxy) { s.Thaw() }},
		"swallowed": {func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(true) },
			func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(false); p.Cut() }},
	} {
		for _, length := range lengths {
			t.Run(name+" "+length.String(), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := redistest.NewProxy(t, server.Addr)
				hub := open(t, "redis://"+proxy.Addr)
				stream := rpw.StreamOf[int]("numbers")
				_, err := stream.Publish(t.Context(), hub, "number", 0)
				require.NoError(t, err)
				silence.begin(server, proxy)
				silent := time.Now()
				broken := make(chan struct{})
				heal := sync.OnceFunc(func() { silence.end(server, proxy); close(broken) })
				if length > 0 {
					timer := time.AfterFunc(length, heal)
					defer timer.Stop()
				}
				for n := 0; n == 0 || time.Since(silent) < length; n++ {
					began := time.Now()
					_, err = stream.Publish(t.Context(), hub, "number", 1, rpw.WithKey("k"))
					took := time.Since(began)
					if n == 0 {
						atMost(t, "a publish into silence ends after", took, 6*time.Second)
					}
					assert.Less(t, took, 6*time.Second)
					if length == 0 || time.Since(silent) < length {
						assert.Contains(t, []string{"uncertain", "unavailable"}, rpw.Code(err)) // the latter on a link that cannot be made
					}
					if n == 0 && (length == 0 || length > 5*time.Second) {
						assert.ErrorIs(t, err, rpw.ErrUncertain)
					}
				}
				heal()
				<-broken
				began := time.Now()
				_, err = stream.Publish(t.Context(), hub, "number", 1, rpw.WithKey("k"))
				require.NoError(t, err)
				atMost(t, "and after the silence the next works after", time.Since(began), recovery)
				assert.Equal(t, []int{0, 1}, numbers(all(t, hub, stream)))
			})
		}
	}
}

// TestCancelInFlight: F3, E1: who gives up has his answer at once, the others of the link theirs in time; the command may still be done.
func TestCancelInFlight(t *testing.T) {
	t.Parallel()
	const rounds = 20
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	hub := open(t, "redis://"+proxy.Addr)
	proxy.Slow(redistest.Poor{Delay: 50 * time.Millisecond})
	var late []time.Duration
	for i := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		other := make(chan error, 1)
		go func() { other <- rpw.Set(t.Context(), hub, "other", i) }()
		var cancelled time.Time
		timer := time.AfterFunc(30*time.Millisecond, func() { cancelled = time.Now(); cancel() })
		err := rpw.Set(ctx, hub, "own", i)
		took := time.Since(cancelled)
		timer.Stop()
		require.ErrorIs(t, err, rpw.ErrUncertain)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, <-other)
		late = append(late, took)
	}
	slices.Sort(late)
	atMost(t, "a cancelled call returns after, in the middle", late[rounds/2], 10*time.Millisecond)
	atMost(t, "and at the slowest", late[rounds-1], 500*time.Millisecond)
	within(t, time.Now(), "what was cut is done", func() bool {
		n, _, err := rpw.Get[int](t.Context(), hub, "own")
		return err == nil && n == rounds-1
	})
}

// TestFullForABatch: F47, F23, S2: when the memory ends in the midst of batches, each is there as a whole, or not at all.
func TestFullForABatch(t *testing.T) {
	t.Parallel()
	const batch = 50
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[string]("texts")
	text := string(slices.Repeat([]byte("x"), 8<<10))
	events := make([]rpw.NewEvent, batch)
	for i := range events {
		event, err := stream.Item("text", text)
		require.NoError(t, err)
		events[i] = event
	}
	prepareReads(t, hub)
	server.CLI(t, "CONFIG", "SET", "maxmemory", "16mb")
	stored := 0
	for {
		_, err := stream.PublishBatch(t.Context(), hub, events...)
		if err != nil {
			require.ErrorIs(t, err, rpw.ErrFull)
			break
		}
		stored += batch
	}
	assert.Positive(t, stored)
	info, err := hub.Streams().StreamInfo(t.Context(), "texts")
	require.NoError(t, err)
	assert.EqualValues(t, stored, info.Events)
	readsAll(t, hub)
	readsAll(t, open(t, "redis://"+server.Addr))
	server.CLI(t, "CONFIG", "SET", "maxmemory", "0")
	_, err = stream.PublishBatch(t.Context(), hub, events...)
	assert.NoError(t, err)
}
