package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var (
	beatScript    = newScript("workers_beat.lua")
	signalScript  = newScript("workers_signal.lua")
	workersScript = newScript("workers_list.lua")
)

const (
	maxWorkers  = 10_000         // in the index
	keepOffline = 24 * time.Hour // how long an offline worker is shown
)

// Heartbeat registers or renews a worker, and waits for signals to it.
func (a *actionStore) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id, after := hb.Worker.ID, strconv.FormatUint(hb.After, 10)
	if hb.Worker.Status == rpw.WorkerOffline {
		_, _, err := a.beat(ctx, id, after, "leave")
		return nil, err
	}
	info, err := json.Marshal(hb.Worker)
	if err != nil {
		return nil, rpw.Errorf(rpw.ErrInvalid, "the worker cannot be told as JSON: %w", err)
	}
	p := patience{hb.Wait, time.Now()}
	var w *watch
	var deaf error // why it cannot wait; the beat is stored all the same
	if hb.Wait > 0 {
		if w, deaf = a.waker.watch(ctx, a.keys.channel(workerChannel, id)); deaf == nil {
			defer w.close()
		}
	}
	signals, there, err := a.beat(ctx, id, after, "beat", hb.Worker.Name, string(info), decimal(micros(cmp.Or(hb.TTL, rpw.DefaultWorkerTTL))),
		strconv.Itoa(maxWorkers), decimal(micros(keepOffline)))
	if err = cmp.Or(err, deaf); err != nil {
		return nil, err
	}
	over, stop := timer(p.left())
	defer stop()
	for there && len(signals) == 0 && hb.Wait > 0 {
		_, ended, err := w.until(ctx, nil, time.Time{}, over)
		if ended {
			return nil, err
		}
		if signals, there, err = a.beat(ctx, id, after, "look"); err != nil {
			return nil, err
		}
	}
	return signals, nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// beat runs a verb of workers_beat.lua.
func (a *actionStore) beat(ctx context.Context, id, after, verb string, more ...string) (signals []rpw.Signal, there bool, err error) {
	keys := []string{a.keys.workers("i"), a.keys.workers("s"), a.keys.workers("t"), a.keys.workers("g")}
	m, err := a.exec(ctx, beatScript, keys, append([]string{id, after, verb}, more...))
	if err != nil {
		return nil, false, err
	}
	values, err := m.ToArray()
	if err != nil {
		return nil, false, err
	}
	for i := range values[1:] {
		s, err := unpackSignal(textOf(&values[1+i]))
		if err != nil {
			return nil, false, err
		}
		signals = append(signals, s)
	}
	return signals, number(&values[0]) == 1, nil
}

func unpackSignal(text string) (rpw.Signal, error) {
	u := unpacker{rest: text}
	if u.array() != 6 {
		return rpw.Signal{}, errUnpack
	}
	s := rpw.Signal{Seq: uint64(u.int()), Kind: rpw.SignalCancel}
	s.Lease = rpw.Lease{Ref: rpw.ActionRef{Queue: u.text(), ID: u.text()}, Token: uint64(u.int())}
	s.Reason, s.Until = u.text(), timeOf(u.int())
	return s, u.err
}

// signalCall is a call of workers_signal.lua that still needs the signals.
func (a *actionStore) signalCall(worker string) scriptCall {
	return scriptCall{
		keys: []string{a.keys.workers("s"), a.keys.workers("g")},
		args: []string{worker, a.keys.channel(workerChannel, worker), strconv.Itoa(rpw.MaxBatch)},
	}
}

// Workers lists the workers, by name and id.
func (a *actionStore) Workers(ctx context.Context, req rpw.WorkersRequest) (rpw.WorkersPage, error) {
	var page rpw.WorkersPage
	if err := ctx.Err(); err != nil {
		return page, err
	}
	from := "[" + req.NamePrefix
	if req.Cursor != "" {
		if !strings.Contains(req.Cursor, "\n") {
			return page, rpw.Errorf(rpw.ErrInvalid, "%s is no cursor; use the Next of a page as it was given", rpw.QuoteName(req.Cursor))
		}
		if req.Cursor > req.NamePrefix { // one from elsewhere leads to no names without the prefix
			from = "(" + req.Cursor
		}
	}
	most := pageSize(req.Max, rpw.MaxPage)
	last := ""
	for {
		m, err := a.exec(ctx, workersScript, []string{a.keys.workers("i"), a.keys.workers("s")}, []string{from, "[" + req.NamePrefix + "\xff", strconv.Itoa(most + 1)})
		if err != nil {
			return page, err
		}
		values, err := m.ToArray()
		if err != nil {
			return page, err
		}
		now := time.UnixMicro(number(&values[0]))
		for values = values[1:]; len(values) >= 2; values = values[2:] {
			at := textOf(&values[0])
			from = "(" + at
			w, shown, err := readWorker(&values[1], now)
			if err != nil {
				return page, err
			}
			if !shown || len(req.Statuses) > 0 && !slices.Contains(req.Statuses, w.Status) {
				continue
			}
			if len(page.Workers) == most {
				page.Next = last
				return page, nil
			}
			page.Workers = append(page.Workers, w)
			last = at
		}
		if m, _ := m.ToArray(); len(m) < 1+2*(most+1) {
			return page, nil
		}
	}
}

// readWorker reads a session as of now; shown: it is not offline for too long.
func readWorker(m *rueidis.RedisMessage, now time.Time) (w rpw.WorkerInfo, shown bool, err error) {
	text := textOf(m)
	if text == "" {
		return w, false, nil
	}
	u := unpacker{rest: text}
	if u.array() != 7 {
		return w, false, errUnpack
	}
	u.text() // its name, which it says of itself, too
	if err := json.Unmarshal([]byte(u.text()), &w); err != nil {
		return w, false, err
	}
	w.LastSeen = timeOf(u.int())
	offline := timeOf(u.int())
	if offline.Before(now) || now.Add(offline.Sub(w.LastSeen)).Before(w.LastSeen) { // the latter when the store's clock fell back, and it said nothing since
		w.Status = rpw.WorkerOffline
	}
	return w, !now.After(offline.Add(keepOffline)), u.err
}
