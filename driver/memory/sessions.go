package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis-process-worker/rpw"
)

const (
	maxWorkers   = 10_000         // in the index
	keepOffline  = 24 * time.Hour // how long an offline worker is shown
	sweepWorkers = time.Minute    // how often those offline for longer are looked for, at most
)

// sessions is the registry of workers, with the signals to them. The zero value is ready.
type sessions struct {
	mu      sync.Mutex
	byID    map[string]*session
	sorted  []*session // by name and id
	sweepAt time.Time
}

// session is one run of a worker.
type session struct {
	rpw.WorkerInfo
	offlineAt time.Time
	seq       uint64       // of the newest signal
	signals   []rpw.Signal // not handled yet
	waiters   waiters
	gone      bool
}

// Heartbeat registers or renews a worker, and waits for signals to it.
func (s *actionStore) Heartbeat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.sessions.beat(ctx, hb)
}

// Workers lists the workers, by name and id.
func (s *actionStore) Workers(ctx context.Context, req rpw.WorkersRequest) (rpw.WorkersPage, error) {
	if err := ctx.Err(); err != nil {
		return rpw.WorkersPage{}, err
	}
	return s.sessions.list(req)
}

func (s *sessions) beat(ctx context.Context, hb rpw.Heartbeat) ([]rpw.Signal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	p := patience{hb.Wait, now}
	if hb.Worker.Status == rpw.WorkerOffline {
		s.remove(s.byID[hb.Worker.ID])
		return nil, nil
	}
	worker := s.enroll(hb, now)
	for {
		signals := slices.DeleteFunc(slices.Clone(worker.signals), func(sig rpw.Signal) bool { return sig.Seq <= hb.After })
		left := p.left(clock())
		if len(signals) > 0 || left <= 0 || worker.gone {
			return signals, nil
		}
		w := worker.waiters.add()
		s.mu.Unlock()
		woken, err := w.wait(ctx, left)
		s.mu.Lock()
		if !woken {
			worker.waiters.remove(w)
		}
		if err != nil {
			return nil, err
		}
	}
}

// enroll stores a beat and forgets the signals that were handled.
func (s *sessions) enroll(hb rpw.Heartbeat, now time.Time) *session {
	s.sweep(now)
	worker := s.byID[hb.Worker.ID]
	switch {
	case worker == nil:
		worker = s.admit(hb.Worker.ID)
	case worker.Name != hb.Worker.Name:
		s.unlist(worker) // it is listed elsewhere now
	}
	worker.WorkerInfo = hb.Worker
	worker.LastSeen = now
	worker.Queues = slices.Clone(hb.Worker.Queues)
	worker.Running = slices.Clone(hb.Worker.Running)
	worker.Meta = maps.Clone(hb.Worker.Meta)
	worker.offlineAt = now.Add(cmp.Or(hb.TTL, rpw.DefaultWorkerTTL))
	worker.seq = max(worker.seq, hb.After) // a session that had been dropped goes on counting
	worker.signals = slices.DeleteFunc(worker.signals, func(sig rpw.Signal) bool { return sig.Seq <= hb.After })
	if i, listed := s.seek(worker.Name, worker.ID); !listed {
		s.sorted = slices.Insert(s.sorted, i, worker)
	}
	return worker
}

// admit makes a session. In a full index the longest offline makes room.
func (s *sessions) admit(id string) *session {
	if len(s.sorted) >= maxWorkers {
		s.remove(slices.MinFunc(s.sorted, func(a, b *session) int { return a.offlineAt.Compare(b.offlineAt) }))
	}
	if s.byID == nil {
		s.byID = make(map[string]*session)
	}
	worker := new(session)
	s.byID[id] = worker
	return worker
}

// sweep removes workers that were offline for long.
func (s *sessions) sweep(now time.Time) {
	if now.Before(s.sweepAt) {
		return
	}
	s.sweepAt = now.Add(sweepWorkers)
	s.sorted = slices.DeleteFunc(s.sorted, func(worker *session) bool {
		if !worker.forgotten(now) {
			return false
		}
		delete(s.byID, worker.ID)
		worker.end()
		return true
	})
}

func (s *sessions) remove(worker *session) {
	if worker == nil {
		return
	}
	s.unlist(worker)
	delete(s.byID, worker.ID)
	worker.end()
}

func (s *sessions) unlist(worker *session) {
	i, _ := s.seek(worker.Name, worker.ID)
	s.sorted = slices.Delete(s.sorted, i, i+1)
}

func (s *sessions) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, worker := range s.sorted {
		worker.end()
	}
	s.byID, s.sorted = nil, nil
}

func (s *sessions) seek(name, id string) (int, bool) {
	return slices.BinarySearchFunc(s.sorted, name, func(worker *session, name string) int {
		return cmp.Or(strings.Compare(worker.Name, name), strings.Compare(worker.ID, id))
	})
}

// signal tells a worker something; without a session nobody listens.
func (s *sessions) signal(id string, sig rpw.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	worker := s.byID[id]
	if worker == nil {
		return
	}
	if now := clock(); len(worker.signals) >= rpw.MaxBatch { // it does not handle them: only those that still matter stay
		worker.signals = slices.DeleteFunc(worker.signals, func(sig rpw.Signal) bool { return sig.Until.Before(now) })
	}
	worker.seq++
	sig.Seq = worker.seq
	worker.signals = append(worker.signals, sig)
	worker.waiters.wakeAll()
}

func (s *sessions) list(req rpw.WorkersRequest) (rpw.WorkersPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock()
	name, id := req.NamePrefix, ""
	if req.Cursor != "" {
		var ok bool
		if name, id, ok = strings.Cut(req.Cursor, "\n"); !ok {
			return rpw.WorkersPage{}, rpw.Errorf(rpw.ErrInvalid, "%s is no cursor; use the Next of a page as it was given", rpw.QuoteName(req.Cursor))
		}
	}
	if name < req.NamePrefix { // a cursor from elsewhere
		name, id = req.NamePrefix, ""
	}
	i, found := s.seek(name, id)
	if found {
		i++
	}
	var page rpw.WorkersPage
	most := pageSize(req.Max, rpw.MaxPage)
	for _, worker := range s.sorted[i:] {
		if !strings.HasPrefix(worker.Name, req.NamePrefix) {
			break
		}
		info := worker.info(now)
		if worker.forgotten(now) || len(req.Statuses) > 0 && !slices.Contains(req.Statuses, info.Status) {
			continue
		}
		if len(page.Workers) == most {
			last := page.Workers[most-1]
			page.Next = last.Name + "\n" + last.ID // no name holds a line feed
			break
		}
		page.Workers = append(page.Workers, info)
	}
	return page, nil
}

// info describes the worker as of now.
func (w *session) info(now time.Time) rpw.WorkerInfo {
	info := w.WorkerInfo
	if w.offlineAt.Before(now) {
		info.Status = rpw.WorkerOffline
	}
	return info
}

func (w *session) forgotten(now time.Time) bool { return now.After(w.offlineAt.Add(keepOffline)) }

// end lets waiting heartbeats return.
func (w *session) end() {
	w.gone = true
	w.waiters.wakeAll()
}
