package memory

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func worker(id string) rpw.WorkerInfo {
	return rpw.WorkerInfo{ID: id, Name: "name-" + id, Status: rpw.WorkerIdle}
}

func (s actionTest) beat(hb rpw.Heartbeat) []rpw.Signal {
	s.t.Helper()
	signals, err := s.Heartbeat(s.t.Context(), hb)
	require.NoError(s.t, err)
	return signals
}

func (s actionTest) listed(req rpw.WorkersRequest) (workers []rpw.WorkerInfo) {
	s.t.Helper()
	for {
		page, err := s.Workers(s.t.Context(), req)
		require.NoError(s.t, err)
		workers = append(workers, page.Workers...)
		if req.Cursor = page.Next; req.Cursor == "" {
			return workers
		}
	}
}

func TestWorkerStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		info := worker("w1")
		info.Queues = []string{"q"}
		info.Meta = map[string]string{"k": "v"}
		s.beat(rpw.Heartbeat{Worker: info, TTL: time.Second})
		info.Queues[0], info.Meta["k"] = "x", "x"
		s.beat(rpw.Heartbeat{Worker: worker("w2")})
		workers := s.listed(rpw.WorkersRequest{})
		require.Len(t, workers, 2)
		assert.Equal(t, []string{"q"}, workers[0].Queues)
		assert.Equal(t, map[string]string{"k": "v"}, workers[0].Meta)
		assert.True(t, workers[0].LastSeen.Equal(time.Now()))
		assert.Equal(t, rpw.WorkerIdle, workers[0].Status)

		time.Sleep(time.Second + 1)
		offline := s.listed(rpw.WorkersRequest{Statuses: []rpw.WorkerStatus{rpw.WorkerOffline}})
		require.Len(t, offline, 1)
		assert.Equal(t, "w1", offline[0].ID)
		idle := s.listed(rpw.WorkersRequest{Statuses: []rpw.WorkerStatus{rpw.WorkerIdle}})
		require.Len(t, idle, 1)
		assert.Equal(t, "w2", idle[0].ID)

		time.Sleep(rpw.DefaultWorkerTTL)
		assert.Len(t, s.listed(rpw.WorkersRequest{Statuses: []rpw.WorkerStatus{rpw.WorkerOffline}}), 2)
		time.Sleep(day - rpw.DefaultWorkerTTL)
		assert.Len(t, s.listed(rpw.WorkersRequest{}), 1, "a day later")
		s.beat(rpw.Heartbeat{Worker: worker("w3")})
		assert.Len(t, s.sessions.byID, 2, "removed")

		gone := worker("w3")
		gone.Status = rpw.WorkerOffline
		s.beat(rpw.Heartbeat{Worker: gone})
		assert.Len(t, s.listed(rpw.WorkersRequest{}), 1)
	})
}

func TestWorkersPages(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		for i := range 30 {
			s.beat(rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: fmt.Sprintf("%02d", 29-i), Name: fmt.Sprint("n", i%3), Status: rpw.WorkerBusy}})
		}
		for _, size := range []int{1, 9, 10, 11, 30} {
			workers := s.listed(rpw.WorkersRequest{Max: size})
			require.Len(t, workers, 30)
			for i, w := range workers[1:] {
				assert.Less(t, workers[i].Name+workers[i].ID, w.Name+w.ID)
			}
			assert.Len(t, s.listed(rpw.WorkersRequest{NamePrefix: "n1", Max: size}), 10)
		}
		renamed := rpw.WorkerInfo{ID: "07", Name: "other"}
		s.beat(rpw.Heartbeat{Worker: renamed})
		assert.Len(t, s.listed(rpw.WorkersRequest{}), 30)
		assert.Len(t, s.listed(rpw.WorkersRequest{NamePrefix: "other"}), 1)
		_, err := s.Workers(t.Context(), rpw.WorkersRequest{Cursor: "x"})
		assert.ErrorIs(t, err, rpw.ErrInvalid)
	})
}

func TestWorkersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		for i := range maxWorkers + 5 {
			s.beat(rpw.Heartbeat{Worker: worker(fmt.Sprint(i))})
			if i < 10 {
				time.Sleep(time.Second)
			}
		}
		assert.Len(t, s.sessions.sorted, maxWorkers)
		for i := range 5 {
			assert.NotContains(t, s.sessions.byID, fmt.Sprint(i), "the longest offline went")
		}
		assert.Contains(t, s.sessions.byID, "5")
	})
}

func TestSignalCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		hb := rpw.Heartbeat{Worker: worker("w1")}
		s.beat(hb)
		s.put(spec("a"), spec("b"), spec("c"))
		a, b := s.takeOne(), s.takeOne()
		s.take(rpw.ClaimRequest{Worker: "unknown"})

		// requested between two heartbeats, it stays until it was handled
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a"), Reason: "why"})
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")}) // once
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("c")}) // nobody listens
		want := []rpw.Signal{{Seq: 1, Kind: rpw.SignalCancel, Lease: a.Lease, Reason: "why", Until: s.got("a").CancelAt.Add(rpw.DefaultCancelGrace)}}
		assert.Equal(t, want, s.beat(hb))
		hb.Wait = rpw.Forever
		assert.Equal(t, want, s.beat(hb))

		// while it waits
		hb.After = 1
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("b")})
		}()
		signals := s.beat(hb)
		require.Len(t, signals, 1)
		assert.Equal(t, b.Lease, signals[0].Lease)
		assert.Equal(t, uint64(2), signals[0].Seq)
		assert.Equal(t, time.Second, time.Since(began))

		hb.After, hb.Wait = 2, time.Minute
		assert.Empty(t, s.beat(hb))
		assert.Equal(t, time.Second+time.Minute, time.Since(began))
		assert.Empty(t, s.sessions.byID["w1"].signals, "handled ones are forgotten")
	})
}

func TestSignalsGoOnAfterTheSessionWasDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		hb := rpw.Heartbeat{Worker: worker("w1"), After: 7, Wait: rpw.Forever}
		waiting := make(chan []rpw.Signal)
		go func() { waiting <- s.beat(hb) }()
		synctest.Wait()
		s.flush()
		assert.Empty(t, <-waiting)
		hb.Wait = 0
		s.beat(hb)
		s.put(spec("a"))
		s.takeOne()
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
		signals := s.beat(hb)
		require.Len(t, signals, 1)
		assert.Equal(t, uint64(8), signals[0].Seq)
	})
}

func TestHeartbeatContext(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Heartbeat(ctx, rpw.Heartbeat{Worker: worker("w1"), Wait: rpw.Forever})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Len(t, s.listed(rpw.WorkersRequest{}), 1, "the beat was stored at once")
	})
}
