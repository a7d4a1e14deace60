package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// beat is one heartbeat of a worker that is idle.
func beat(id string) rpw.Heartbeat {
	return rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: id, Name: "worker-" + id, Status: rpw.WorkerIdle}}
}

// beats sends a heartbeat that must be taken, and returns the signals.
func (b board) beats(hb rpw.Heartbeat) []rpw.Signal {
	b.Helper()
	signals, err := b.Heartbeat(b.Context(), hb)
	require.NoError(b, err)
	return signals
}

// workers are all workers that match, from pages of two, in the order they come.
func (b board) workers(req rpw.WorkersRequest) []rpw.WorkerInfo {
	b.Helper()
	var all []rpw.WorkerInfo
	for req.Max = 2; ; {
		page, err := b.Workers(b.Context(), req)
		require.NoError(b, err)
		require.LessOrEqual(b, len(page.Workers), 2)
		all = append(all, page.Workers...)
		if req.Cursor = page.Next; req.Cursor == "" {
			return all
		}
	}
}

func statuses(workers []rpw.WorkerInfo) map[string]rpw.WorkerStatus {
	out := make(map[string]rpw.WorkerStatus, len(workers))
	for _, w := range workers {
		out[w.ID] = w.Status
	}
	return out
}

// listen waits on its own for signals to a worker.
func (b board) listen(hb rpw.Heartbeat) <-chan answer[[]rpw.Signal] {
	waiting := start(func() ([]rpw.Signal, error) {
		for end := time.Now().Add(b.patience()); time.Now().Before(end); time.Sleep(b.unit) {
			hb.Wait = b.patience()
			signals, err := b.Heartbeat(b.Context(), hb)
			if err != nil || len(signals) > 0 {
				return signals, err
			}
		}
		return nil, nil
	})
	b.idle()
	return waiting
}

// sessionCases are the cases of workers' sessions: the registry and the signals.
func sessionCases() []testCase {
	return []testCase{
		{"Workers/Heartbeat/IsListed", []string{"W2"},
			"A worker that sent a heartbeat is listed with all it said, by every process, as of the newest one.", func(e *env) {
				b := e.board()
				started := time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC()
				w := rpw.WorkerInfo{ID: "w1", Name: "resizer", Status: rpw.WorkerBusy, Started: started, Host: "host", PID: 42, Slots: 8,
					Queues: []string{"a", "b"}, Meta: map[string]string{"k": "v"},
					Running: []rpw.WorkerTask{{Kind: "action", Name: "a/1", Since: started}, {Kind: "service", Name: "http", Since: started}}}
				before := time.Now()
				b.beats(rpw.Heartbeat{Worker: w})
				other := e.boardOf(e.peer())
				list := other.workers(rpw.WorkersRequest{})
				require.Len(e, list, 1)
				got := list[0]
				require.WithinDuration(e, before, got.LastSeen, time.Minute, "LastSeen is by the store's clock")
				got.LastSeen = time.Time{}
				got.Started = got.Started.UTC()
				for i := range got.Running {
					require.True(e, started.Equal(got.Running[i].Since))
					got.Running[i].Since = started
				}
				require.Equal(e, w, got)
				w = rpw.WorkerInfo{ID: "w1", Name: "resizer", Status: rpw.WorkerError, Error: "no disk", Started: started}
				b.beats(rpw.Heartbeat{Worker: w})
				got = other.workers(rpw.WorkersRequest{})[0]
				require.Equal(e, rpw.WorkerError, got.Status)
				require.Equal(e, "no disk", got.Error)
				require.Empty(e, got.Running, "a heartbeat replaces what was stored")
				require.Empty(e, got.Meta)
			}},
		{"Workers/Heartbeat/OfflineShows", []string{"W2"},
			"A worker whose heartbeat stopped shows as offline when its time is over, not before, and comes back with the next one.", func(e *env) {
				b := e.board()
				ttl := e.lease()
				for _, id := range []string{"1", "2"} {
					hb := beat(id)
					hb.TTL = ttl
					b.beats(hb)
				}
				began := time.Now()
				require.Equal(e, map[string]rpw.WorkerStatus{"1": rpw.WorkerIdle, "2": rpw.WorkerIdle}, statuses(b.workers(rpw.WorkersRequest{})))
				e.eventually(func() bool {
					hb := beat("2")
					hb.TTL = rpw.DefaultWorkerTTL
					b.beats(hb)
					return statuses(b.workers(rpw.WorkersRequest{}))["1"] == rpw.WorkerOffline
				}, "the silent one is offline")
				require.GreaterOrEqual(e, time.Since(began)+e.unit, ttl-e.unit, "early")
				require.Equal(e, rpw.WorkerIdle, statuses(b.workers(rpw.WorkersRequest{}))["2"])
				require.Len(e, b.workers(rpw.WorkersRequest{Statuses: []rpw.WorkerStatus{rpw.WorkerOffline}}), 1)
				b.beats(beat("1"))
				require.Equal(e, rpw.WorkerIdle, statuses(b.workers(rpw.WorkersRequest{}))["1"])
				hb := beat("1")
				hb.Worker.Status = rpw.WorkerOffline
				b.beats(hb)
				if status, listed := statuses(b.workers(rpw.WorkersRequest{}))["1"]; listed {
					require.Equal(e, rpw.WorkerOffline, status, "it said that it goes")
				}
			}},
		{"Workers/List/InOrderAndInPages", []string{"W2"},
			"Workers are listed by name and id, in pages, by name prefix and status.", func(e *env) {
				b := e.board()
				var want, busy, prefixed []string
				for _, name := range []string{"ab", "abc", "b"} {
					for i := range 3 {
						id := fmt.Sprintf("%d-%s", 9-i, name)
						hb := rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: id, Name: name, Status: rpw.WorkerIdle}}
						if i == 1 {
							hb.Worker.Status = rpw.WorkerBusy
							busy = append(busy, id)
						}
						b.beats(hb)
					}
					for i := range 3 {
						id := fmt.Sprintf("%d-%s", 7+i, name)
						want = append(want, id)
						if name != "b" {
							prefixed = append(prefixed, id)
						}
					}
				}
				list := func(req rpw.WorkersRequest) []string {
					var ids []string
					for _, w := range b.workers(req) {
						ids = append(ids, w.ID)
					}
					return ids
				}
				require.Equal(e, want, list(rpw.WorkersRequest{}))
				require.Equal(e, prefixed, list(rpw.WorkersRequest{NamePrefix: "ab"}))
				require.Equal(e, busy, list(rpw.WorkersRequest{Statuses: []rpw.WorkerStatus{rpw.WorkerBusy}}))
				require.Empty(e, list(rpw.WorkersRequest{NamePrefix: "c"}))
				require.Empty(e, list(rpw.WorkersRequest{Statuses: []rpw.WorkerStatus{rpw.WorkerOffline}}))
			}},
		{"Workers/Heartbeat/BadInput", []string{"W2", "E2"},
			"A heartbeat that can never work is ErrInvalid or ErrTooLarge on every driver; long lists and texts are cut.", func(e *env) {
				b := e.board()
				meta := make(map[string]string)
				for i := range 33 {
					meta[fmt.Sprint(i)] = ""
				}
				for what, c := range map[string]struct {
					spoil func(*rpw.Heartbeat)
					kind  error
				}{
					"no id":          {func(hb *rpw.Heartbeat) { hb.Worker.ID = "" }, rpw.ErrInvalid},
					"no name":        {func(hb *rpw.Heartbeat) { hb.Worker.Name = "" }, rpw.ErrInvalid},
					"no status":      {func(hb *rpw.Heartbeat) { hb.Worker.Status = "" }, rpw.ErrInvalid},
					"unknown status": {func(hb *rpw.Heartbeat) { hb.Worker.Status = "asleep" }, rpw.ErrInvalid},
					"short TTL":      {func(hb *rpw.Heartbeat) { hb.TTL = rpw.MinLease - 1 }, rpw.ErrInvalid},
					"long TTL":       {func(hb *rpw.Heartbeat) { hb.TTL = rpw.MaxLease + 1 }, rpw.ErrInvalid},
					"negative Wait":  {func(hb *rpw.Heartbeat) { hb.Wait = -1 }, rpw.ErrInvalid},
					"33 meta":        {func(hb *rpw.Heartbeat) { hb.Worker.Meta = meta }, rpw.ErrTooLarge},
					"101 queues":     {func(hb *rpw.Heartbeat) { hb.Worker.Queues = make([]string, 101) }, rpw.ErrTooLarge},
				} {
					hb := beat("1")
					c.spoil(&hb)
					_, err := b.Heartbeat(e.Context(), hb)
					e.is(err, c.kind, what)
				}
				require.Empty(e, b.workers(rpw.WorkersRequest{}))
				hb := beat("1")
				hb.Worker.Running = make([]rpw.WorkerTask, 150)
				for i := range hb.Worker.Running {
					hb.Worker.Running[i].Name = fmt.Sprint(i)
				}
				hb.Worker.Error = text(1 << 20)
				b.beats(hb)
				w := b.workers(rpw.WorkersRequest{})[0]
				require.Len(e, w.Running, 100)
				require.Equal(e, "149", last(w.Running).Name)
				require.LessOrEqual(e, len(w.Error), 16<<10)
				_, err := b.Workers(e.Context(), rpw.WorkersRequest{Max: -1})
				e.is(err, rpw.ErrInvalid)
			}},
		{"Workers/Heartbeat/IsStoredBeforeTheWait", []string{"W2", "E1"},
			"A heartbeat that waits for signals is seen at once; its wait ends with its context, or empty with its time.", func(e *env) {
				b := e.board()
				ctx, cancel := context.WithCancel(e.Context())
				defer cancel()
				hb := beat("1")
				hb.Wait = rpw.Forever
				waiting := start(func() ([]rpw.Signal, error) { return b.Heartbeat(ctx, hb) })
				e.eventually(func() bool { return len(b.workers(rpw.WorkersRequest{})) == 1 }, "the waiting worker is listed")
				began := time.Now()
				cancel()
				_, err := await(e, waiting)
				require.ErrorIs(e, err, context.Canceled)
				e.soon(began)
				hb.Wait = e.units(5)
				require.Empty(e, b.beats(hb))
			}},
		{"Workers/Signal/CancelAtOnce", []string{"A7", "W2"},
			"The worker that runs an action is told at once that it is to be cancelled, with lease, reason and the end of the grace; no other is.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				spec := job("q", "1")
				spec.CancelGrace = time.Minute
				b.add(spec)
				claimed := b.take(rpw.ClaimRequest{Queues: []string{"q"}, Worker: "1"})
				mine, another := b.listen(beat("1")), other.listen(beat("2"))
				began := time.Now()
				require.NoError(e, other.command(rpw.Command{Kind: rpw.Cancel, Ref: spec.Ref, Reason: "enough"}).Err)
				signals, err := await(e, mine)
				require.NoError(e, err)
				e.soon(began)
				require.Len(e, signals, 1)
				require.Equal(e, rpw.SignalCancel, signals[0].Kind)
				require.Equal(e, claimed[0].Lease, signals[0].Lease)
				require.Equal(e, "enough", signals[0].Reason)
				a := b.get(spec.Ref)
				require.WithinDuration(e, a.CancelAt.Add(time.Minute), signals[0].Until, time.Second)
				e.idle()
				require.Empty(e, another)
			}},
		{"Workers/Signal/NoneIsLost", []string{"A7"},
			"A signal that comes between two heartbeats is answered by the next one, and by each until it is acknowledged; never after that.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				hb := beat("1")
				b.beats(hb)
				b.add(jobs("q", 4)...)
				b.take(rpw.ClaimRequest{Queues: []string{"q"}, Worker: "1", Max: 4})
				ref := func(i int) rpw.ActionRef { return rpw.ActionRef{Queue: "q", ID: fmt.Sprintf("%03d", i)} }
				of := func(signals []rpw.Signal) []string {
					var out []string
					for i, s := range signals {
						out = append(out, s.Lease.Ref.ID)
						if i > 0 {
							require.Greater(e, s.Seq, signals[i-1].Seq)
						}
					}
					return out
				}
				other.commanded(rpw.Cancel, ref(0))
				require.Equal(e, []string{"000"}, of(b.beats(hb)))
				other.commanded(rpw.Cancel, ref(1))
				signals := b.beats(hb)
				require.Equal(e, []string{"000", "001"}, of(signals), "nothing is acknowledged yet")
				hb.After = signals[0].Seq
				require.Equal(e, []string{"001"}, of(b.beats(hb)))
				hb.After = signals[1].Seq
				require.Empty(e, b.beats(hb))
				waiting := b.listen(hb)
				other.commanded(rpw.Cancel, ref(2))
				signals, err := await(e, waiting)
				require.NoError(e, err)
				require.Equal(e, []string{"002"}, of(signals))
				hb.After = signals[0].Seq
				other.commanded(rpw.Cancel, ref(3))
				hb.Wait = e.patience()
				require.Equal(e, []string{"003"}, of(b.beats(hb)))
			}},
		{"Workers/Namespace/IsClosed", []string{"K2", "W2"},
			"Workers of one namespace are not seen from another, also with the same id, and get no signal of it.", func(e *env) {
				a, other := e.boardOf(e.peer(rpw.WithNamespace("a"))), e.boardOf(e.peer(rpw.WithNamespace("b")))
				a.beats(beat("1"))
				busy := beat("1")
				busy.Worker.Status = rpw.WorkerBusy
				other.beats(busy)
				require.Equal(e, map[string]rpw.WorkerStatus{"1": rpw.WorkerIdle}, statuses(a.workers(rpw.WorkersRequest{})))
				require.Equal(e, "worker-1", other.workers(rpw.WorkersRequest{NamePrefix: "worker"})[0].Name)
				require.Len(e, e.board().workers(rpw.WorkersRequest{}), 2)
				a.beats(beat("2"))
				page, err := e.board().Workers(e.Context(), rpw.WorkersRequest{Max: 1}) // whose Next has another worker of a after it
				require.NoError(e, err)
				seen, err := other.Workers(e.Context(), rpw.WorkersRequest{Cursor: page.Next})
				require.NoError(e, err)
				require.Equal(e, statuses([]rpw.WorkerInfo{busy.Worker}), statuses(seen.Workers), "a cursor from elsewhere leads to no others")
				for _, b := range []board{a, other} {
					b.add(job("q", "1"))
					b.take(rpw.ClaimRequest{Queues: []string{"q"}, Worker: "1"})
				}
				a.commanded(rpw.Cancel, job("q", "1").Ref)
				require.Empty(e, other.beats(busy))
				signals := a.beats(beat("1"))
				require.Len(e, signals, 1)
				require.Equal(e, job("q", "1").Ref, signals[0].Lease.Ref)
			}},
	}
}
