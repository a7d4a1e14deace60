package socket

import (
	"context"
	"time"

	"github.com/redis-process-worker/rpw"
)

var opEnqueue = define(22, "Actions.Enqueue", "enqueue", verb[[]rpw.ActionSpec, []rpw.Enqueued]{
	call: actions(rpw.ActionStore.Enqueue),
	access: func(q *[]rpw.ActionSpec, n *needs) {
		for i := range *q {
			spec := &(*q)[i]
			n.add(Write, KindQueue, spec.Ref.Queue)
			for _, ref := range spec.After {
				n.add(Read, KindQueue, ref.Queue)
			}
		}
	},
	fits: itemByItem[rpw.ActionSpec, rpw.Enqueued],
})

var opClaim = define(23, "Actions.Claim", "claim", verb[rpw.ClaimRequest, []rpw.Claimed]{
	call: actions(rpw.ActionStore.Claim),
	access: func(q *rpw.ClaimRequest, n *needs) {
		for _, queue := range q.Queues {
			n.add(Consume, KindQueue, queue)
		}
	},
	wait:  func(q *rpw.ClaimRequest) *time.Duration { return &q.Wait },
	holds: func(q *rpw.ClaimRequest) int { return pageHolds(max(1, q.Max)) },
	size: func(claimed *[]rpw.Claimed) int {
		return sizeOfActions(*claimed, func(c *rpw.Claimed) *rpw.Action { return &c.Action })
	},
	bind: func(q *rpw.ClaimRequest, bind func(*[16]byte)) { bind(&q.Lane.ID) },
	undo: func(p rpw.Parts, ctx context.Context, _ *rpw.ClaimRequest, claimed []rpw.Claimed) {
		back := make([]rpw.Move, len(claimed))
		for i, c := range claimed {
			back[i] = rpw.Move{Lease: c.Lease, Kind: rpw.Giveback}
		}
		if len(back) > 0 { // what cannot be handed back is claimed again when its lease has lapsed
			p.Actions.Advance(ctx, rpw.AdvanceRequest{Moves: back})
		}
	},
})

var opAdvance = define(24, "Actions.Advance", "advance", verb[rpw.AdvanceRequest, []rpw.Advanced]{
	call: actions(rpw.ActionStore.Advance),
	access: func(q *rpw.AdvanceRequest, n *needs) {
		for i := range q.Moves {
			n.add(Consume, KindQueue, q.Moves[i].Lease.Ref.Queue)
		}
	},
	fits: func(q *rpw.AdvanceRequest, answers *[]rpw.Advanced) bool { return len(q.Moves) == len(*answers) },
	bind: func(q *rpw.AdvanceRequest, bind func(*[16]byte)) { bind(&q.Lane.ID) },
})

var opControl = define(25, "Actions.Control", "control", verb[rpw.ControlRequest, []rpw.Controlled]{
	call: actions(rpw.ActionStore.Control),
	access: func(q *rpw.ControlRequest, n *needs) {
		for _, cmd := range q.Commands {
			right := Write
			switch cmd.Kind {
			case rpw.DeleteAction, rpw.Pause, rpw.Resume:
				right = Admin
			}
			n.add(right, KindQueue, cmd.Ref.Queue)
		}
	},
	fits: func(q *rpw.ControlRequest, answers *[]rpw.Controlled) bool {
		return len(q.Commands) == len(*answers)
	},
	bind: func(q *rpw.ControlRequest, bind func(*[16]byte)) { bind(&q.Lane.ID) },
})

var opGetAction = define(26, "Actions.Get", "get action", verb[[]rpw.ActionRef, []rpw.GotAction]{
	opInfo: opInfo{reads: true},
	call: func(h *rpw.Hub, ctx context.Context, refs []rpw.ActionRef) ([]rpw.GotAction, error) {
		return inParts(ctx, refs, h.Actions().Get, sizeOfGot)
	},
	holds: func(refs *[]rpw.ActionRef) int { return len(*refs) * rpw.MaxPayload },
	size:  sizeOfGot,
	access: func(q *[]rpw.ActionRef, n *needs) {
		for _, ref := range *q {
			n.add(Read, KindQueue, ref.Queue)
		}
	},
	fits: itemByItem[rpw.ActionRef, rpw.GotAction],
})

// filterQueues lists what a filter names.
func filterQueues(f *rpw.ActionFilter, n *needs) {
	for _, queue := range f.Queues {
		n.add(Read, KindQueue, queue)
	}
	if len(f.Queues) == 0 {
		n.add(Read, KindQueue, "")
	}
}

var opListActions = define(27, "Actions.List", "list actions", verb[rpw.ListActions, rpw.ActionsPage]{
	opInfo: opInfo{reads: true},
	call:   actions(rpw.ActionStore.List),
	holds:  func(q *rpw.ListActions) int { return pageHolds(q.Max) },
	size: func(page *rpw.ActionsPage) int {
		return sizeOfActions(page.Actions, func(a *rpw.Action) *rpw.Action { return a })
	},
	access: func(q *rpw.ListActions, n *needs) { filterQueues(&q.ActionFilter, n) },
	filter: func(l lister[rpw.ListActions, rpw.ActionsPage], q rpw.ListActions, page *rpw.ActionsPage) error {
		return visiblePage(l, q, page,
			func(q *rpw.ListActions) (*string, *int) { return &q.Cursor, &q.Max },
			func(p *rpw.ActionsPage) (*[]rpw.Action, *string) { return &p.Actions, &p.Next },
			func(a rpw.Action) bool { return l.see(KindQueue, a.Ref.Queue) })
	},
})

var opCountActions = define(28, "Actions.Count", "count actions", verb[rpw.ActionFilter, map[rpw.State]int64]{
	opInfo: opInfo{reads: true},
	call:   actions(rpw.ActionStore.Count),
	access: func(q *rpw.ActionFilter, n *needs) { filterQueues(q, n) },
	filter: countVisible,
})

// countVisible counts again without the queues that the client may not see, if there are any.
func countVisible(l lister[rpw.ActionFilter, map[rpw.State]int64], q rpw.ActionFilter, counts *map[rpw.State]int64) error {
	if len(q.Queues) > 0 {
		return nil
	}
	for req := (rpw.QueuesRequest{Prefix: q.QueuePrefix}); ; {
		page, err := l.hub.Actions().Queues(l.ctx, req)
		if err != nil {
			return err
		}
		for _, info := range page.Queues {
			if l.see(KindQueue, info.Name) {
				continue
			}
			q.Queues = []string{info.Name}
			hidden, err := l.again(q)
			if err != nil {
				return err
			}
			for state, n := range hidden {
				(*counts)[state] = max(0, (*counts)[state]-n)
			}
		}
		if req.After = page.Next; req.After == "" {
			return nil
		}
	}
}

var opQueues = define(29, "Actions.Queues", "queues", verb[rpw.QueuesRequest, rpw.QueuesPage]{
	opInfo: opInfo{reads: true},
	call:   actions(rpw.ActionStore.Queues),
	access: func(_ *rpw.QueuesRequest, n *needs) { n.add(Read, KindQueue, "") },
	filter: func(l lister[rpw.QueuesRequest, rpw.QueuesPage], q rpw.QueuesRequest, page *rpw.QueuesPage) error {
		return visiblePage(l, q, page,
			func(q *rpw.QueuesRequest) (*string, *int) { return &q.After, &q.Max },
			func(p *rpw.QueuesPage) (*[]rpw.QueueInfo, *string) { return &p.Queues, &p.Next },
			func(info rpw.QueueInfo) bool { return l.see(KindQueue, info.Name) })
	},
})

var opChanges = define(30, "Actions.Changes", "changes", verb[rpw.ChangesRequest, []rpw.Change]{
	opInfo: opInfo{reads: true},
	call:   actions(rpw.ActionStore.Changes),
	access: func(q *rpw.ChangesRequest, n *needs) { n.add(Read, KindQueue, q.Ref.Queue) },
	wait:   func(q *rpw.ChangesRequest) *time.Duration { return &q.Wait },
	holds:  func(q *rpw.ChangesRequest) int { return pageHolds(q.Max) },
	size:   sizeOfChanges,
})

// A heartbeat is stored at once and then waits: repeating it does no harm.
var opHeartbeat = define(31, "Actions.Heartbeat", "heartbeat", verb[rpw.Heartbeat, []rpw.Signal]{
	call:   actions(rpw.ActionStore.Heartbeat),
	access: func(q *rpw.Heartbeat, n *needs) { n.add(Consume, KindWorker, q.Worker.Name) },
	wait:   func(q *rpw.Heartbeat) *time.Duration { return &q.Wait },
})

var opWorkers = define(32, "Actions.Workers", "workers", verb[rpw.WorkersRequest, rpw.WorkersPage]{
	opInfo: opInfo{reads: true},
	call:   actions(rpw.ActionStore.Workers),
	access: func(_ *rpw.WorkersRequest, n *needs) { n.add(Read, KindWorker, "") },
	filter: func(l lister[rpw.WorkersRequest, rpw.WorkersPage], q rpw.WorkersRequest, page *rpw.WorkersPage) error {
		return visiblePage(l, q, page,
			func(q *rpw.WorkersRequest) (*string, *int) { return &q.Cursor, &q.Max },
			func(p *rpw.WorkersPage) (*[]rpw.WorkerInfo, *string) { return &p.Workers, &p.Next },
			func(w rpw.WorkerInfo) bool { return l.see(KindWorker, w.Name) })
	},
})
