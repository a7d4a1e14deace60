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
	began := clock()
	if hb.Worker.Status == rpw.WorkerOffline {
		s.remove(s.byID[hb.Worker.ID])
		return nil, nil
	}
	worker := s.enroll(hb, began)
	for {
		signals := slices.DeleteFunc(slices.Clone(worker.signals), func(sig rpw.Signal) bool { return sig.Seq <= hb.After })
		left := timeLeft(hb.Wait, began, clock())
		if len(signals) > 0 || left <= 0 || worker.gone {
			return signals, nil
		}
		w := worker.waiters.add()
		s.mu.Unlock()
		_, err := w.wait(ctx, left)
		s.mu.Lock()
		worker.waiters.remove(w)
		if err != nil {
			return nil, err
		}
	}
}

// enroll stores a beat and forgets the signals that were handled.
func (s *sessions) enroll(hb rpw.Heartbeat, now time.Time) *session {
	s.sweep(now)
	worker := s.byID[hb.Worker.ID]
	if worker == nil || worker.Name != hb.Worker.Name {
		worker = s.insert(worker, hb)
	}
	info := hb.Worker
	info.LastSeen = now
	info.Queues = slices.Clone(info.Queues)
	info.Running = slices.Clone(info.Running)
	info.Meta = maps.Clone(info.Meta)
	worker.WorkerInfo = info
	worker.offlineAt = now.Add(cmp.Or(hb.TTL, rpw.DefaultWorkerTTL))
	worker.seq = max(worker.seq, hb.After) // a session that had been dropped goes on counting
	worker.signals = slices.DeleteFunc(worker.signals, func(sig rpw.Signal) bool { return sig.Seq <= hb.After })
	return worker
}

// insert puts a new worker, or one with a new name, into the index. The longest offline makes room.
func (s *sessions) insert(renamed *session, hb rpw.Heartbeat) *session {
	if renamed != nil {
		i, _ := s.seek(renamed.Name, renamed.ID)
		s.sorted = slices.Delete(s.sorted, i, i+1)
		renamed.Name = hb.Worker.Name
	} else {
		if len(s.sorted) >= maxWorkers {
			s.remove(slices.MinFunc(s.sorted, func(a, b *session) int { return a.offlineAt.Compare(b.offlineAt) }))
		}
		if s.byID == nil {
			s.byID = make(map[string]*session)
		}
		renamed = &session{WorkerInfo: rpw.WorkerInfo{ID: hb.Worker.ID, Name: hb.Worker.Name}}
		s.byID[hb.Worker.ID] = renamed
	}
	i, _ := s.seek(renamed.Name, renamed.ID)
	s.sorted = slices.Insert(s.sorted, i, renamed)
	return renamed
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
	i, _ := s.seek(worker.Name, worker.ID)
	s.sorted = slices.Delete(s.sorted, i, i+1)
	delete(s.byID, worker.ID)
	worker.end()
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
