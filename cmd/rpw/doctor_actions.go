package main

import (
	"context"
	"fmt"

	"github.com/redis-process-worker/rpw"
)

// runsLong is how many times --old a handler without a timeout may run untold.
const runsLong = 12

// crew are the live workers of a queue.
type crew struct{ workers, slots int }

// actions checks workers and queues.
func (d *doctor) actions(ctx context.Context) error {
	crews, err := d.workers(ctx)
	if err != nil {
		return err
	}
	queues := 0
	for q, err := range queuesOf(ctx, d.hub, "") {
		if err != nil {
			return err
		}
		queues++
		d.queue(q, crews[q.Name])
	}
	if err := d.handlers(ctx); err != nil {
		return err
	}
	d.tell(fine, "actions", d.hub.Driver(), counted(queues, "queue"), "")
	return nil
}

func (d *doctor) queue(q rpw.QueueInfo, c crew) {
	late := q.Oldest > d.old
	oldest := fmt.Sprintf("%s ready, the oldest for %s", counted(q.Ready, "action"), roughly(q.Oldest))
	switch {
	case q.Paused:
		d.tell(warning, "actions", q.Name, fmt.Sprintf("it is paused; %s ready", counted(q.Ready, "action")), "rpw queue resume "+words(q.Name))
	case q.Ready > 0 && c.workers == 0:
		level := warning // perhaps a worker is about to start
		if late {
			level = problem
		}
		d.tell(level, "actions", q.Name, oldest+", and no live worker serves the queue", "start a worker that handles them")
	case late && q.Running >= int64(c.slots):
		d.tell(warning, "actions", q.Name, fmt.Sprintf("%s, and all %s are busy", oldest, counted(c.slots, "slot")), "start more workers, or give them more slots")
	case late:
		d.tell(warning, "actions", q.Name, fmt.Sprintf("%s, though %d of %s are busy", oldest, q.Running, counted(c.slots, "slot")),
			"see what the workers do: rpw worker ls, rpw log query --level warn --since 1h")
	}
}

// handlers looks for actions that run long.
func (d *doctor) handlers(ctx context.Context) error {
	for x, err := range actionsOf(ctx, d.hub, rpw.ListActions{ActionFilter: rpw.ActionFilter{States: []rpw.State{rpw.Running}}}) {
		if err != nil {
			return err
		}
		ran := d.since(x.Started)
		switch {
		case !x.CancelAt.IsZero() && d.since(x.CancelAt) > d.old:
			d.tell(warning, "actions", x.Ref.String(), "it was asked to stop "+roughly(d.since(x.CancelAt))+" ago and still runs on "+x.Worker, "see what its handler waits for; it must end with its ctx")
		case x.Timeout == 0 && ran > runsLong*d.old:
			d.tell(note, "actions", x.Ref.String(), "it runs for "+roughly(ran)+" on "+x.Worker+", and has no timeout", "if it hangs: rpw action cancel "+words(x.Ref.String())+"; give the definition a Timeout")
		}
	}
	return nil
}

// workers checks all workers, and returns the crews of the queues.
func (d *doctor) workers(ctx context.Context) (map[string]crew, error) {
	crews := make(map[string]crew)
	live := make(map[string]bool) // by name
	var gone []rpw.WorkerInfo
	n := 0
	for w, err := range workersOf(ctx, d.hub, rpw.WorkersRequest{}) {
		if err != nil {
			return nil, err
		}
		if w.Status == rpw.WorkerOffline {
			gone = append(gone, w)
			continue
		}
		n++
		live[w.Name] = true
		for _, queue := range w.Queues {
			c := crews[queue]
			crews[queue] = crew{c.workers + 1, c.slots + w.Slots}
		}
		if w.Status == rpw.WorkerError {
			d.tell(warning, "workers", w.ID, "it reports an error: "+w.Error, "see its log: rpw log query --level warn --worker="+quote(w.Name))
		}
	}
	for _, w := range gone {
		level, rest := warning, ""
		if live[w.Name] {
			level, rest = note, "; others of its name are alive"
		}
		d.tell(level, "workers", w.ID, fmt.Sprintf("it is offline, last seen %s ago on %s, process %d%s", roughly(d.since(w.LastSeen)), text(w.Host), w.PID, rest),
			"it died or cannot reach the backend; start it again. It is listed for a day")
	}
	d.tell(fine, "workers", d.hub.Driver(), fmt.Sprintf("%s alive, %d offline", counted(n, "worker"), len(gone)), "")
	return crews, nil
}
