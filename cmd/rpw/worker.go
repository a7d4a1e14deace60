package main

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newWorkerCommand(a *app) *cobra.Command {
	parent := newParent("worker", "List workers", newWorkerListCommand(a))
	parent.Aliases = []string{"workers"}
	return parent
}

func newWorkerListCommand(a *app) *cobra.Command {
	var statuses []string
	var limit int
	cmd := &cobra.Command{
		Use:     "ls [NAME-PREFIX]",
		Short:   "List workers and what they do",
		Long:    "List the workers by name and id, with what they do now. One whose heartbeat stopped is offline, and listed for a day.",
		Example: `  rpw worker ls resizer --status busy,offline`,
		Args:    positional(0, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			req := rpw.WorkersRequest{NamePrefix: optional(args)}
			for _, status := range statuses {
				known := []rpw.WorkerStatus{rpw.WorkerIdle, rpw.WorkerBusy, rpw.WorkerError, rpw.WorkerOffline}
				if !slices.Contains(known, rpw.WorkerStatus(status)) {
					return misuse("--status %q is none of idle, busy, error, offline", status)
				}
				req.Statuses = append(req.Statuses, rpw.WorkerStatus(status))
			}
			view := func(w rpw.WorkerInfo) any { return w }
			return list(a, atMost(limit, workersOf(ctx, hub, req)), "WORKER\tID\tSTATUS\tSEEN\tHOST\tPID\tSLOTS\tQUEUES\tDOES", view, func(w rpw.WorkerInfo) []any {
				return []any{w.Name, w.ID, w.Status, w.LastSeen, w.Host, w.PID, w.Slots, strings.Join(w.Queues, " "), doing(w)}
			})
		}),
	}
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "only with these: idle, busy, error, offline")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many")
	return cmd
}

func workersOf(ctx context.Context, hub *rpw.Hub, req rpw.WorkersRequest) iter.Seq2[rpw.WorkerInfo, error] {
	return pages(func(cursor string) ([]rpw.WorkerInfo, string, error) {
		req.Cursor = cursor
		page, err := hub.Actions().Workers(ctx, req)
		return page.Workers, page.Next, err
	})
}

// doing is what a worker does, or what is wrong with it.
func doing(w rpw.WorkerInfo) string {
	if w.Error != "" {
		return short(w.Error, 80)
	}
	var b strings.Builder
	for i, task := range w.Running {
		if i == 3 {
			b.WriteString(" …")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(task.Name)
	}
	return b.String()
}
