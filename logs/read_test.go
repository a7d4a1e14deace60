package logs

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// fill logs messages "0" to "n-1", every tenth as a warning, and waits until they are stored.
func fill(t *testing.T, hub *rpw.Hub, n int) {
	t.Helper()
	h := NewHandler(hub, WithSource("test"), WithBuffer(max(n, 2)))
	for i := range n {
		level := slog.LevelInfo
		if i%10 == 0 {
			level = slog.LevelWarn
		}
		slog.New(h).Log(t.Context(), level, strconv.Itoa(i), "half", i/2)
	}
	require.NoError(t, h.Close(t.Context()))
}

func messages(t *testing.T, seq iter.Seq2[rpw.LogRecord, error]) []string {
	t.Helper()
	var got []string
	for r, err := range seq {
		require.NoError(t, err)
		got = append(got, r.Message)
	}
	return got
}

func TestQueryPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		fill(t, hub, 1234)
		got := messages(t, Query(t.Context(), hub, rpw.LogQuery{}))
		require.Len(t, got, 1234)
		for i, m := range got {
			require.Equal(t, strconv.Itoa(i), m)
		}
		got = messages(t, Query(t.Context(), hub, rpw.LogQuery{Reverse: true, Max: 100}))
		require.Len(t, got, 1234)
		assert.Equal(t, "1233", got[0])
		assert.Equal(t, "0", got[1233])

		warn := slog.LevelWarn
		assert.Len(t, messages(t, Query(t.Context(), hub, rpw.LogQuery{Max: 7, LogFilter: rpw.LogFilter{Level: &warn}})), 124)
		rare := rpw.LogQuery{Max: 100, LogFilter: rpw.LogFilter{Attrs: map[string]string{"half": "600"}}}
		assert.Equal(t, []string{"1200", "1201"}, messages(t, Query(t.Context(), hub, rare)), "pages without a match are passed")
		assert.Empty(t, messages(t, Query(t.Context(), hub, rpw.LogQuery{LogFilter: rpw.LogFilter{Source: "other"}})))
	})
}

func TestQueryTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		start := time.Now()
		h := NewHandler(hub)
		for i := range 10 {
			slog.New(h).Info(strconv.Itoa(i))
			require.NoError(t, h.Flush(t.Context()))
			time.Sleep(time.Second)
		}
		q := rpw.LogQuery{Since: start.Add(3 * time.Second), Until: start.Add(6 * time.Second), Max: 2}
		assert.Equal(t, []string{"3", "4", "5"}, messages(t, Query(t.Context(), hub, q)))
		q.Reverse = true
		assert.Equal(t, []string{"5", "4", "3"}, messages(t, Query(t.Context(), hub, q)))

		first, _ := next(t, Query(t.Context(), hub, rpw.LogQuery{}))
		q = rpw.LogQuery{After: first.Position, Since: start.Add(8 * time.Second)}
		assert.Equal(t, []string{"8", "9"}, messages(t, Query(t.Context(), hub, q)), "Since holds beside After")

		for _, bad := range []rpw.LogQuery{
			{Since: start, Until: start.Add(-time.Second)},
			{Until: time.UnixMilli(0)},
			{Since: time.UnixMilli(-1)},
			{Max: -1},
		} {
			_, err := next(t, Query(t.Context(), hub, bad))
			assert.ErrorIs(t, err, rpw.ErrInvalid)
		}
	})
}

// next returns the first thing that seq yields.
func next(t *testing.T, seq iter.Seq2[rpw.LogRecord, error]) (rpw.LogRecord, error) {
	t.Helper()
	for r, err := range seq {
		return r, err
	}
	return rpw.LogRecord{}, errors.New("nothing was yielded")
}

// collect follows a tail in the background until n records came or it ended.
func collect(t *testing.T, seq iter.Seq2[rpw.LogRecord, error], n int) (got []string, gaps int, err error) {
	t.Helper()
	for r, err := range seq {
		if _, ok := errors.AsType[*rpw.GapError](err); ok {
			gaps++
			continue
		}
		if err != nil {
			return got, gaps, err
		}
		if got = append(got, r.Message); len(got) == n {
			break
		}
	}
	return got, gaps, nil
}

func TestTailStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		begin := time.Now()
		fill(t, hub, 20)
		time.Sleep(time.Second)
		middle := time.Now()
		warn := slog.LevelWarn
		warnings := rpw.LogFilter{Level: &warn}
		newest := Tail(t.Context(), hub, rpw.LogFilter{}, rpw.Newest())
		tenth, err := next(t, Query(t.Context(), hub, rpw.LogQuery{LogFilter: rpw.LogFilter{Text: "9"}}))
		require.NoError(t, err)
		fill(t, hub, 11)
		for _, c := range []struct {
			name string
			tail iter.Seq2[rpw.LogRecord, error]
			want []string
		}{
			{"newest is pinned", newest, []string{"0", "1", "2"}},
			{"again from the same place", newest, []string{"0", "1", "2"}},
			{"oldest", Tail(t.Context(), hub, warnings, rpw.Oldest()), []string{"0", "10", "0", "10"}},
			{"since the middle", Tail(t.Context(), hub, warnings, rpw.Since(middle)), []string{"0", "10"}},
			{"since the beginning", Tail(t.Context(), hub, warnings, rpw.Since(begin)), []string{"0", "10", "0", "10"}},
			{"after", Tail(t.Context(), hub, rpw.LogFilter{}, rpw.After(tenth.Position)), []string{"10", "11"}},
			{"last one", Tail(t.Context(), hub, rpw.LogFilter{}, rpw.Last(1)), []string{"10"}},
			{"last matching", Tail(t.Context(), hub, warnings, rpw.Last(3)), []string{"10", "0", "10"}},
			{"last of fewer", Tail(t.Context(), hub, warnings, rpw.Last(100)), []string{"0", "10", "0", "10"}},
		} {
			got, _, err := collect(t, c.tail, len(c.want))
			require.NoError(t, err, c.name)
			assert.Equal(t, c.want, got, c.name)
		}
		for _, start := range []rpw.Start{rpw.Last(0), rpw.Since(time.Time{}), rpw.Since(time.UnixMilli(-1)), {Kind: 99}} {
			_, err = next(t, Tail(t.Context(), hub, warnings, start))
			assert.ErrorIs(t, err, rpw.ErrInvalid, start)
		}
		var none context.Context
		for _, start := range []rpw.Start{rpw.Newest(), rpw.Oldest(), rpw.Last(1)} {
			_, err = next(t, Tail(none, hub, warnings, start))
			assert.ErrorIs(t, err, rpw.ErrInvalid, start)
		}
		_, err = next(t, Tail(t.Context(), hub, warnings, rpw.Newest(), FromLog("bad{name")))
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	})
}

func TestTailFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		warn := slog.LevelWarn
		for _, start := range []rpw.Start{rpw.Newest(), rpw.Last(5)} { // of an empty log
			tail := Tail(t.Context(), hub, rpw.LogFilter{Level: &warn}, start, FromLog(strconv.Itoa(int(start.Kind))))
			done := make(chan []string)
			go func() {
				got, _, _ := collect(t, tail, 3)
				done <- got
			}()
			h := NewHandler(hub, WithLog(strconv.Itoa(int(start.Kind))))
			for i := range 6 {
				slog.New(h).Log(t.Context(), slog.Level(4*(i%2)), strconv.Itoa(i))
				time.Sleep(time.Second)
			}
			assert.Equal(t, []string{"1", "3", "5"}, <-done)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := next(t, Tail(ctx, hub, rpw.LogFilter{}, rpw.Newest()))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestTailReportsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		fill(t, hub, 3)
		first, err := next(t, Query(t.Context(), hub, rpw.LogQuery{}))
		require.NoError(t, err)
		fill(t, hub, 500)
		_, err = hub.Streams().Trim(t.Context(), rpw.DefaultLog, rpw.Retention{Events: 10})
		require.NoError(t, err)
		_, gaps, err := collect(t, Tail(t.Context(), hub, rpw.LogFilter{}, rpw.After(first.Position)), 5)
		require.NoError(t, err)
		assert.Equal(t, 1, gaps)

		gaps = 0
		n := 0
		for _, err := range Query(t.Context(), hub, rpw.LogQuery{After: first.Position}) {
			if _, ok := errors.AsType[*rpw.GapError](err); ok {
				gaps++
			} else {
				require.NoError(t, err)
				n++
			}
		}
		assert.Equal(t, 1, gaps)
		assert.Positive(t, n)
	})
}

// awaySink is a log whose backend can be away.
type awaySink struct {
	rpw.LogSink
	away atomic.Bool
}

func (s *awaySink) Query(ctx context.Context, q rpw.LogQuery) (rpw.LogPage, error) {
	if s.away.Load() {
		return rpw.LogPage{}, rpw.ErrUnavailable
	}
	q.Wait = min(q.Wait, time.Second)
	return s.LogSink.Query(ctx, q)
}

func TestTailSurvivesOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := memory.New(memory.Options{}).Parts()
		sink := &awaySink{LogSink: rpw.NewStreamLogs(parts.Streams)}
		parts.Logs = sink
		hub, err := rpw.New(parts)
		require.NoError(t, err)
		fill(t, hub, 3)

		sink.away.Store(true)
		tail := Tail(t.Context(), hub, rpw.LogFilter{}, rpw.Last(2)) // cannot be pinned yet
		done := make(chan []string)
		go func() {
			got, _, err := collect(t, tail, 3)
			assert.NoError(t, err)
			done <- got
		}()
		time.Sleep(time.Minute)
		sink.away.Store(false)
		time.Sleep(time.Minute)
		sink.away.Store(true)
		time.Sleep(time.Minute)
		fill(t, hub, 1)
		sink.away.Store(false)
		assert.Equal(t, []string{"1", "2", "0"}, <-done)

		ended := make(chan error)
		go func() {
			_, err := next(t, Tail(t.Context(), hub, rpw.LogFilter{}, rpw.Newest()))
			ended <- err
		}()
		time.Sleep(time.Minute)
		require.NoError(t, hub.Close())
		assert.ErrorIs(t, <-ended, rpw.ErrClosed)
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memoryHub(t)
		h := NewHandler(hub, WithKeep(rpw.Retention{Events: 100, Age: time.Hour}))
		for i := range 2000 {
			slog.New(h).Info(strconv.Itoa(i))
		}
		require.NoError(t, h.Flush(t.Context()))
		n := len(messages(t, Query(t.Context(), hub, rpw.LogQuery{})))
		assert.LessOrEqual(t, n, 200)
		assert.GreaterOrEqual(t, n, 100)
		time.Sleep(2 * time.Hour)
		slog.New(h).Info("new")
		require.NoError(t, h.Flush(t.Context()))
		assert.Equal(t, []string{"new"}, messages(t, Query(t.Context(), hub, rpw.LogQuery{})))
	})
}
