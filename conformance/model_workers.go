package conformance

import (
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// workerModel is the registry: a worker by its id.
type workerModel struct {
	*world
	workers map[string]modelWorker
}

type modelWorker struct {
	rpw.WorkerInfo
	offlineAt time.Time
	left      bool // it said that it goes
}

func newWorkerModel(w *world) *workerModel {
	return &workerModel{w, make(map[string]modelWorker)}
}

func (m *workerModel) verbs() map[string]func() {
	return map[string]func(){"worker beat": m.beat, "worker list": m.list}
}

func (m *workerModel) flushed() { clear(m.workers) }

func (m *workerModel) beat() {
	hb := rpw.Heartbeat{TTL: m.span("ttl")}
	hb.Worker = rpw.WorkerInfo{
		ID: pick(m.world, "id", "1", "2", "3"), Name: pick(m.world, "name", "ab", "abc", "b"), Slots: m.number("slots", 0, 9),
		Status: pick(m.world, "status", rpw.WorkerIdle, rpw.WorkerBusy, rpw.WorkerError, rpw.WorkerOffline),
	}
	signals, err := m.hub.Actions().Heartbeat(m.ctx, hb)
	m.code("", err, "beat", hb)
	require.Empty(m, signals)
	m.workers[hb.Worker.ID] = modelWorker{hb.Worker, time.Now().Add(hb.TTL), hb.Worker.Status == rpw.WorkerOffline}
}

func (m *workerModel) list() {
	req := rpw.WorkersRequest{NamePrefix: pick(m.world, "prefix", "", "ab", "c"), Max: m.number("max", 1, 3)}
	if m.number("filtered", 0, 1) == 1 {
		req.Statuses = []rpw.WorkerStatus{pick(m.world, "status", rpw.WorkerIdle, rpw.WorkerBusy, rpw.WorkerOffline)}
	}
	m.compare(req)
}

func (m *workerModel) check() { m.compare(rpw.WorkersRequest{}) }

// compare reads all pages.
func (m *workerModel) compare(req rpw.WorkersRequest) {
	listed := make(map[string]bool)
	before := ""
	for {
		page, err := m.hub.Actions().Workers(m.ctx, req)
		m.code("", err)
		for _, got := range page.Workers {
			want, known := m.workers[got.ID]
			require.True(m, known, "a worker of nobody: %v", got)
			require.Equal(m, []any{want.Name, m.status(want), want.Slots}, []any{got.Name, got.Status, got.Slots}, got.ID)
			require.Less(m, before, got.Name+"\n"+got.ID, "the order")
			before, listed[got.ID] = got.Name+"\n"+got.ID, true
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			break
		}
	}
	for id, w := range m.workers {
		wanted := strings.HasPrefix(w.Name, req.NamePrefix) && (len(req.Statuses) == 0 || slices.Contains(req.Statuses, m.status(w)))
		if !w.left && time.Now().Before(w.offlineAt.Add(24*time.Hour)) || !wanted { // one that left may be listed or not
			require.Equal(m, wanted, listed[id], "worker %s with %v", id, req)
		}
	}
}

func (m *workerModel) status(w modelWorker) rpw.WorkerStatus {
	if w.offlineAt.Before(time.Now()) {
		return rpw.WorkerOffline
	}
	return w.Status
}
