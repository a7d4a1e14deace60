package logs

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// account checks a finished log: per producer the numbers "n" grow, and what is missing is what the log says was dropped.
// It returns how many records were delivered and how many are said to be dropped.
func account(t *testing.T, records []rpw.LogRecord) (delivered, dropped int) {
	t.Helper()
	last := map[string]float64{}
	for _, r := range records {
		attrs := attrsOf(t, r)
		if n, ok := attrs["dropped"]; ok {
			assert.Equal(t, fmt.Sprintf("dropped %v log records", n), r.Message)
			dropped += int(n.(float64))
			continue
		}
		delivered++
		who, n := r.Message, attrs["n"].(float64)
		if before, ok := last[who]; ok {
			require.Greater(t, n, before, "order of %s", who)
		}
		last[who] = n
	}
	return delivered, dropped
}

// TestOverload: a million records a (virtual) second against a store that takes a millisecond for a batch.
// It protects L1: what overflows is dropped, counted and told; the caller never waits.
// F32, L1.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{behave: func(context.Context, rpw.WriteLogs) error {
			time.Sleep(time.Millisecond)
			return nil
		}}
		hub := sinkHub(t, sink)
		h := NewHandler(hub)
		const producers, ticks, perTick = 4, 300, 250
		var wg sync.WaitGroup
		for p := range producers {
			wg.Go(func() {
				log := slog.New(h)
				for tick := range ticks {
					for i := range perTick {
						log.Info("p"+strconv.Itoa(p), "n", tick*perTick+i)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		require.NoError(t, hub.Close())
		delivered, dropped := account(t, sink.written())
		assert.Equal(t, producers*ticks*perTick, delivered+dropped)
		assert.EqualValues(t, h.Dropped(), dropped)
		assert.Greater(t, delivered, 50_000)
		assert.Positive(t, dropped)
	})
}

// TestOutage: the store is away for a minute; what fits into the buffer arrives afterwards, the newest of it.
// F32, L1, L2.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(time.Minute)
		sink := &fakeSink{behave: func(context.Context, rpw.WriteLogs) error {
			if time.Now().Before(back) {
				return rpw.ErrUnavailable
			}
			return nil
		}}
		complaints := &fakeHandler{}
		hub := sinkHub(t, sink)
		h := NewHandler(hub, WithBuffer(100), WithBatch(10), WithFallback(complaints))
		log := slog.New(h)
		for n := range 600 {
			log.Info("p", "n", n)
			time.Sleep(100 * time.Millisecond)
		}
		require.NoError(t, h.Flush(t.Context()))
		assert.LessOrEqual(t, time.Since(back), time.Second, "the flush does not wait for the back-off")
		require.NoError(t, hub.Close())
		delivered, dropped := account(t, sink.written())
		assert.Equal(t, 600, delivered+dropped)
		assert.Equal(t, 100, delivered)
		assert.LessOrEqual(t, sink.count(), 200, "it backs off")
		assert.LessOrEqual(t, len(complaints.records), 120, "two lines a second at most")
		assert.Positive(t, len(complaints.records))
		ids := map[string]bool{}
		for _, r := range sink.written() {
			ids[r.ID] = true
		}
		assert.Len(t, ids, len(sink.written()), "each record once")
	})
}

// TestBlackhole: a sink that never answers, but heeds its ctx.
// F32, L1, L2: the store says nothing.
func TestBlackhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{behave: func(ctx context.Context, _ rpw.WriteLogs) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		hub := sinkHub(t, sink)
		h := NewHandler(hub, WithBuffer(64))
		log := slog.New(h)
		start := time.Now()
		for n := range 10_000 {
			log.Info("p", "n", n)
		}
		assert.Zero(t, time.Since(start), "logging never waits")

		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		assert.ErrorIs(t, h.Flush(ctx), context.DeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(start))

		start = time.Now()
		err := hub.Close()
		require.ErrorContains(t, err, "64 log records could not be written")
		assert.Equal(t, rpw.CloseTimeout, time.Since(start))
		assert.EqualValues(t, 10_000, h.Dropped())
	})
}

// TestStuckSink: a sink that even ignores its ctx does not keep Close.
func TestStuckSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		sink := &fakeSink{behave: func(context.Context, rpw.WriteLogs) error {
			<-release
			return nil
		}}
		hub := sinkHub(t, sink)
		h := NewHandler(hub)
		slog.New(h).Info("m")
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, h.Close(ctx), "1 log records could not be written")
		assert.Equal(t, time.Second+stopPatience, time.Since(start))
		assert.ErrorIs(t, h.Flush(ctx), context.DeadlineExceeded, "the sink still has it")
		close(release)
		synctest.Wait()
		require.NoError(t, hub.Close())
	})
}

// TestFlushAfterALoss: a Flush after a Close that had to leave records behind says so.
func TestFlushAfterALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := sinkHub(t, &fakeSink{behave: func(context.Context, rpw.WriteLogs) error { return rpw.ErrUnavailable }})
		h := NewHandler(hub)
		slog.New(h).Info("m")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, h.Close(ctx), "1 log records could not be written")
		assert.ErrorIs(t, h.Flush(t.Context()), rpw.ErrClosed)
		assert.EqualValues(t, 1, h.Dropped())
		require.NoError(t, hub.Close())
	})
}

// TestPanickingFallback: nor does a fallback that panics end the program.
func TestPanickingFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		sink.behave = func(context.Context, rpw.WriteLogs) error {
			if sink.count() == 1 {
				return rpw.ErrUnavailable
			}
			return nil
		}
		hub := sinkHub(t, sink)
		slog.New(NewHandler(hub, WithFallback(panickingHandler{slog.DiscardHandler}))).Info("m")
		require.NoError(t, hub.Close())
		assert.Len(t, sink.written(), 1)
	})
}

type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool { panic("in Enabled") }

func TestPanickingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		sink.behave = func(context.Context, rpw.WriteLogs) error {
			if sink.count() == 1 {
				panic("boom")
			}
			return nil
		}
		hub := sinkHub(t, sink)
		log := slog.New(NewHandler(hub))
		log.Info("p", "n", 1)
		time.Sleep(time.Second)
		log.Info("p", "n", 2)
		require.NoError(t, hub.Close())
		delivered, dropped := account(t, sink.written())
		assert.Equal(t, 1, delivered)
		assert.Equal(t, 1, dropped)
	})
}

// TestSinkThatLogs: what the sink logs with its ctx does not feed itself.
// F32, L1.
func TestSinkThatLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		hub := sinkHub(t, sink)
		log := slog.New(NewHandler(hub))
		sink.behave = func(ctx context.Context, _ rpw.WriteLogs) error {
			log.InfoContext(ctx, "writing")
			return nil
		}
		log.Info("m")
		time.Sleep(time.Minute)
		assert.Equal(t, 1, sink.count())
		require.NoError(t, hub.Close())
		assert.Len(t, sink.written(), 1)
	})
}

// TestLoggingWhileLogging: a value that logs while it is logged finds no lock.
func TestLoggingWhileLogging(t *testing.T) {
	sink := &fakeSink{}
	hub := sinkHub(t, sink)
	log := slog.New(NewHandler(hub))
	log.Info("outer", "v", valuerFunc(func() slog.Value {
		log.Info("inner")
		return slog.StringValue("v")
	}))
	require.NoError(t, hub.Close())
	require.Len(t, sink.written(), 2)
	assert.Equal(t, "inner", sink.written()[0].Message)
	assert.Equal(t, "outer", sink.written()[1].Message)
}

// TestBatches: records that come together leave together, and soon.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		var times []time.Time
		sink := &fakeSink{behave: func(_ context.Context, req rpw.WriteLogs) error {
			sizes, times = append(sizes, len(req.Records)), append(times, time.Now())
			return nil
		}}
		hub := sinkHub(t, sink)
		log := slog.New(NewHandler(hub))
		start := time.Now()
		for range 600 {
			log.Info("m")
		}
		time.Sleep(time.Second)
		log.Info("m")
		require.NoError(t, hub.Close())
		assert.Equal(t, []int{256, 256, 88, 1}, sizes)
		assert.Equal(t, []time.Time{start, start, start.Add(linger), start.Add(time.Second)}, times)
	})
}

// TestHugeRecordsFit: the largest records there can be, many of them, are stored, and memory stays bounded.
func TestHugeRecordsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		complaints := &fakeHandler{}
		h := NewHandler(hub, WithFallback(complaints))
		log := slog.New(h)
		var attrs []any
		for i := range 12 {
			attrs = append(attrs, slog.String("k"+strconv.Itoa(i), strings.Repeat("<&>", 5000)))
		}
		for range 200 {
			log.Info(strings.Repeat("\x00", 20_000), attrs...)
			h.queue.mu.Lock()
			held := h.queue.waiting.bytes + h.queue.flyBytes
			h.queue.mu.Unlock()
			assert.LessOrEqual(t, held, bufferBytes)
		}
		require.NoError(t, h.Flush(t.Context()))
		assert.Empty(t, complaints.records)
		stored := 0
		for r, err := range Query(t.Context(), hub, rpw.LogQuery{}) {
			require.NoError(t, err)
			assert.LessOrEqual(t, len(r.Attrs), 6*maxAttrBytes)
			if !strings.HasPrefix(r.Message, "dropped") {
				stored++
			}
		}
		assert.EqualValues(t, 200, stored+int(h.Dropped()))
		assert.Greater(t, stored, 50)
	})
}

// TestFlushWaitsForWhatWasLoggedBefore, also while more is logged and dropped.
// TestFlushWaitsForWhatWasLoggedBefore protects L2, as TestBatches, TestBlackhole and TestStuckSink do.
func TestFlushWaitsForWhatWasLoggedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		sink := &fakeSink{behave: func(context.Context, rpw.WriteLogs) error { <-gate; return nil }}
		hub := sinkHub(t, sink)
		h := NewHandler(hub, WithBuffer(4))
		log := slog.New(h)
		log.Info("p", "n", 0)
		synctest.Wait()
		time.Sleep(time.Second) // it is in flight
		flushed := make(chan error, 1)
		go func() { flushed <- h.Flush(t.Context()) }()
		synctest.Wait()
		for n := range 100 {
			log.Info("p", "n", n+1)
		}
		synctest.Wait()
		assert.Empty(t, flushed)
		close(gate)
		require.NoError(t, <-flushed)
		assert.NotEmpty(t, sink.written())
		require.NoError(t, hub.Close())
	})
}

// TestBuffer compares with slices.
func TestBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b buffer
		var model []string // the attributes
		held := func() (bytes int) {
			for _, attrs := range model {
				bytes += entryOverhead + 1 + len(attrs)
			}
			return bytes
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch n := rapid.IntRange(0, 100).Draw(t, "n"); rapid.IntRange(0, 2).Draw(t, "verb") {
			case 0:
				for i := range n {
					attrs := strings.Repeat(strconv.Itoa(i), rapid.IntRange(0, 50).Draw(t, "length"))
					b.push(&entry{ms: int64(len(attrs)), message: "m"}, []byte(attrs))
					model = append(model, attrs)
				}
			case 1:
				if b.n > 0 {
					b.drop()
					model = model[1:]
				}
			case 2:
				most := rapid.IntRange(1, 10_000).Draw(t, "bytes")
				before := held()
				entries, attrs := b.take(make([]entry, 0, n), nil, most)
				require.LessOrEqual(t, len(entries), n)
				for i, e := range entries {
					require.EqualValues(t, len(model[i]), e.ms)
					require.Equal(t, model[i], string(attrs[:e.attrs]))
					attrs = attrs[e.attrs:]
				}
				require.Empty(t, attrs)
				full := len(entries) == min(n, len(model))
				model = model[len(entries):]
				taken := before - held()
				require.True(t, full || taken >= most, "it takes what fits")
				if len(entries) > 0 {
					last := entries[len(entries)-1]
					require.Less(t, taken-last.size(), most, "and no more")
				}
			}
			require.Equal(t, len(model), b.n)
			require.Equal(t, held(), b.bytes)
		}
	})
}

// TestBufferShrinks: what an outage needed is not kept for good.
func TestBufferShrinks(t *testing.T) {
	var b buffer
	for range 100 {
		b.push(&entry{}, make([]byte, maxAttrBytes))
	}
	entries, _ := b.take(make([]entry, 0, 100), nil, bufferBytes)
	require.Len(t, entries, 100)
	assert.Zero(t, b.bytes)
	assert.LessOrEqual(t, len(b.attrs.slots), batchBytes)
	b.push(&entry{}, []byte("{}"))
	_, attrs := b.take(make([]entry, 0, 1), nil, 1)
	assert.Equal(t, "{}", string(attrs))
}

// fakeHandler keeps records.
type fakeHandler struct {
	slog.Handler
	mu      sync.Mutex
	records []slog.Record
}

func (h *fakeHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *fakeHandler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, r)
	return nil
}

type valuerFunc func() slog.Value

func (f valuerFunc) LogValue() slog.Value { return f() }
