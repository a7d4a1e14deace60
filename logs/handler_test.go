package logs

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestSlogtest runs the standard library's suite against what was stored and read back.
func TestSlogtest(t *testing.T) {
	var hub *rpw.Hub
	var h *Handler
	slogtest.Run(t,
		func(t *testing.T) slog.Handler {
			hub = memoryHub(t)
			h = NewHandler(hub)
			return h
		},
		func(t *testing.T) map[string]any {
			require.NoError(t, h.Flush(t.Context()))
			page, err := hub.Logs().Query(t.Context(), rpw.LogQuery{})
			require.NoError(t, err)
			require.Len(t, page.Records, 1)
			r := page.Records[0]
			result := attrsOf(t, r)
			result[slog.LevelKey], result[slog.MessageKey] = r.Level, r.Message
			if t.Name() != "TestSlogtest/zero-time" { // then the log shows when it was stored
				result[slog.TimeKey] = r.Time
			}
			return result
		})
}

func TestZeroTimeIsNotWritten(t *testing.T) {
	sink := &fakeSink{}
	hub := sinkHub(t, sink)
	h := NewHandler(hub)
	require.NoError(t, h.Handle(t.Context(), slog.Record{Message: "m"}))
	require.NoError(t, hub.Close())
	require.Len(t, sink.written(), 1)
	assert.True(t, sink.written()[0].Time.IsZero())
}

func TestRecordFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		hub := sinkHub(t, sink)
		keep := rpw.Retention{Events: 1000, Age: time.Hour}
		log := slog.New(NewHandler(hub, WithSource("resizer"), WithLog("other"), WithKeep(keep), WithLevel(slog.LevelDebug-1)))
		ctx := rpw.WithOrigin(t.Context(), rpw.Origin{Worker: "w1", Action: rpw.ActionRef{Queue: "resize", ID: "7"}, Attempt: 2})
		log.Log(ctx, slog.LevelDebug-1, "in a worker", "a", 1)
		log.Log(ctx, slog.LevelDebug-2, "below the level")
		var none context.Context // slog passes it on
		log.ErrorContext(none, "outside")
		time.Sleep(time.Second)
		records := sink.written()
		require.Len(t, records, 2)
		assert.Equal(t, "other", sink.last.Log)
		assert.Equal(t, keep, sink.last.Keep)
		assert.NotEqual(t, records[0].ID, records[1].ID)
		records[0].ID, records[1].ID = "", ""
		now := time.UnixMilli(time.Now().Add(-time.Second).UnixMilli())
		assert.Equal(t, rpw.LogRecord{Time: now, Level: slog.LevelDebug - 1, Message: "in a worker", Source: "resizer",
			Worker: "w1", Action: "resize/7", Attempt: 2, Attrs: []byte(`{"a":1}`)}, records[0])
		assert.Equal(t, rpw.LogRecord{Time: now, Level: slog.LevelError, Message: "outside", Source: "resizer"}, records[1])
		require.NoError(t, hub.Close())
	})
}

func TestWithDoesNotShareAttributes(t *testing.T) {
	sink := &fakeSink{}
	hub := sinkHub(t, sink)
	base := slog.New(NewHandler(hub)).With("base", 1).WithGroup("g")
	one, two := base.With("one", 1), base.With("two", 2)
	left, right := one.WithGroup("left"), one.WithGroup("right")
	two.Info("two")
	left.Info("left", "l", 1)
	right.Info("right", "r", 1)
	base.Info("base")
	require.NoError(t, hub.Close())
	var got []string
	for _, r := range sink.written() {
		got = append(got, string(r.Attrs))
	}
	assert.Equal(t, []string{
		`{"base":1,"g":{"two":2}}`,
		`{"base":1,"g":{"one":1,"left":{"l":1}}}`,
		`{"base":1,"g":{"one":1,"right":{"r":1}}}`,
		`{"base":1}`,
	}, got)
}

func TestClosedHubDropsEverything(t *testing.T) {
	hub := sinkHub(t, &fakeSink{})
	require.NoError(t, hub.Close())
	h := NewHandler(hub)
	slog.New(h).Info("lost")
	assert.EqualValues(t, 1, h.Dropped())
	assert.NoError(t, h.Flush(t.Context()), "nothing waits")
	assert.NoError(t, h.Close(t.Context()))
}

// TestNoOptions: a nil option changes nothing, and a nil level is the default.
func TestNoOptions(t *testing.T) {
	hub := sinkHub(t, &fakeSink{})
	h := NewHandler(hub, nil, WithLevel(nil))
	assert.True(t, h.Enabled(t.Context(), slog.LevelInfo))
	assert.False(t, h.Enabled(t.Context(), slog.LevelDebug))
	assert.NotNil(t, Console(t.Output(), nil))
	require.NoError(t, hub.Close())
}

// TestTheZeroHandler: it logs nothing, as do those made from it.
func TestTheZeroHandler(t *testing.T) {
	var h Handler
	log := slog.New(&h)
	assert.False(t, h.Enabled(t.Context(), slog.LevelError))
	log.With("a", 1).WithGroup("g").With("b", 2).Error("m", "c", 3)
	require.NoError(t, h.WithAttrs([]slog.Attr{slog.Int("a", 1)}).Handle(t.Context(), slog.Record{Message: "m"}))
	assert.NoError(t, h.Flush(t.Context()))
	assert.Zero(t, h.Dropped())
	assert.NoError(t, h.Close(t.Context()))
}

// TestNoContext: there is nothing to bound Flush and Close by.
func TestNoContext(t *testing.T) {
	var none context.Context
	hub := sinkHub(t, &fakeSink{})
	for _, h := range []*Handler{NewHandler(hub), new(Handler)} {
		assert.ErrorIs(t, h.Flush(none), rpw.ErrInvalid)
		assert.ErrorIs(t, h.Close(none), rpw.ErrInvalid)
	}
	require.NoError(t, hub.Close())
}

// TestMistakesInOptionsAreTold: Flush and Close say what no write could say to those who log, before anything is logged, and the fallback is told.
func TestMistakesInOptionsAreTold(t *testing.T) {
	for name, mistake := range map[string]Option{
		"name": WithLog("a*"), "count": WithKeep(rpw.Retention{Events: -2}), "age": WithKeep(rpw.Retention{Age: -1}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink, complaints := &fakeSink{}, &fakeHandler{}
				hub := sinkHub(t, sink)
				h := NewHandler(hub, mistake, WithFallback(complaints))
				synctest.Wait()
				require.Len(t, complaints.records, 1)
				assert.ErrorIs(t, h.Flush(t.Context()), rpw.ErrInvalid)
				slog.New(h).Info("m")
				assert.ErrorIs(t, h.Flush(t.Context()), rpw.ErrInvalid)
				assert.EqualValues(t, 1, h.Dropped())
				slog.New(h).Info("m")
				err := hub.Close()
				assert.ErrorIs(t, err, rpw.ErrInvalid)
				assert.ErrorContains(t, err, "1 log records could not be written")
				assert.EqualValues(t, 2, h.Dropped())
				assert.Zero(t, sink.count(), "nothing was sent")
			})
		})
	}
}

// TestRefusalsAreTold: Flush says why the backend refused what was logged, until it takes something again.
func TestRefusalsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := true
		hub := sinkHub(t, &fakeSink{behave: func(context.Context, rpw.WriteLogs) error {
			if refuse {
				return rpw.Errorf(rpw.ErrConflict, "the key holds no stream")
			}
			return nil
		}})
		h := NewHandler(hub)
		slog.New(h).Info("m")
		time.Sleep(time.Minute) // refused before the Flush
		err := h.Flush(t.Context())
		assert.ErrorIs(t, err, rpw.ErrConflict)
		assert.ErrorContains(t, err, "the key holds no stream")
		refuse = false
		slog.New(h).Info("m")
		assert.NoError(t, h.Flush(t.Context()))
		assert.EqualValues(t, 1, h.Dropped())
		refuse = true
		slog.New(h).Info("m")
		time.Sleep(time.Minute)
		assert.ErrorIs(t, h.Close(t.Context()), rpw.ErrConflict)
		assert.ErrorIs(t, h.Close(t.Context()), rpw.ErrConflict)
		require.NoError(t, hub.Close())
	})
}

func TestClosingTheHubFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		hub := sinkHub(t, sink)
		h := NewHandler(hub)
		log := slog.New(h)
		for range 1000 {
			log.Info("m")
		}
		require.NoError(t, hub.Close())
		assert.Len(t, sink.written(), 1000)
		log.Info("late")
		assert.EqualValues(t, 1, h.Dropped())
		assert.Len(t, sink.written(), 1000)
	})
}

func TestCloseOfTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		hub := sinkHub(t, sink)
		h := NewHandler(hub)
		slog.New(h).Info("m")
		require.NoError(t, h.Close(t.Context()))
		require.NoError(t, h.Close(t.Context()), "twice is fine")
		assert.Len(t, sink.written(), 1)
		require.NoError(t, hub.Close())
	})
}

// TestErrorsStayInside: whatever the backend answers, slog sees no error.
func TestErrorsStayInside(t *testing.T) {
	for _, cause := range []error{rpw.ErrUnavailable, rpw.ErrUncertain, rpw.ErrFull, rpw.ErrPermission, rpw.ErrInvalid, errors.New("odd"), errors.ErrUnsupported} {
		synctest.Test(t, func(t *testing.T) {
			sink := &fakeSink{behave: func(context.Context, rpw.WriteLogs) error { return cause }}
			hub := sinkHub(t, sink)
			h := NewHandler(hub)
			require.NoError(t, h.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelInfo, "m", 0)))
			time.Sleep(time.Minute)
			start := time.Now()
			hub.Close()
			assert.LessOrEqual(t, time.Since(start), rpw.CloseTimeout)
			assert.EqualValues(t, 1, h.Dropped(), cause)
		})
	}
}
