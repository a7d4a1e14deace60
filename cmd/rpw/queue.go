package main

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newQueueCommand(a *app) *cobra.Command {
	parent := newParent("queue", "List, pause and resume queues of actions",
		newQueueListCommand(a),
		newQueueSwitchCommand(a, rpw.Pause, "pause", "Let queues hand out nothing until they are resumed; what runs goes on"),
		newQueueSwitchCommand(a, rpw.Resume, "resume", "Let paused queues go on"))
	parent.Aliases = []string{"queues"}
	return parent
}

func newQueueListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls [PREFIX]",
		Short:   "List the queues that hold actions or are paused",
		Long:    "List the queues that hold actions or are paused. OLDEST is how long the oldest ready action has been due.",
		Example: `  rpw queue ls --json`,
		Args:    positional(0, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			queues := atMost(limit, queuesOf(ctx, hub, optional(args)))
			return list(a, queues, "QUEUE\tSTATE\tREADY\tSCHEDULED\tRUNNING\tFINISHED\tOLDEST", viewQueue, func(q rpw.QueueInfo) []any {
				state := "open"
				if q.Paused {
					state = "paused"
				}
				return []any{q.Name, state, q.Ready, q.Scheduled, q.Running, q.Finished, q.Oldest}
			})
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many")
	return cmd
}

func queuesOf(ctx context.Context, hub *rpw.Hub, prefix string) iter.Seq2[rpw.QueueInfo, error] {
	return pages(func(after string) ([]rpw.QueueInfo, string, error) {
		page, err := hub.Actions().Queues(ctx, rpw.QueuesRequest{Prefix: prefix, After: after})
		return page.Queues, page.Next, err
	})
}

func viewQueue(q rpw.QueueInfo) any {
	return struct {
		Queue     string `json:"queue"`
		Paused    bool   `json:"paused"`
		Ready     int64  `json:"ready"`
		Scheduled int64  `json:"scheduled"`
		Running   int64  `json:"running"`
		Finished  int64  `json:"finished"`
		Oldest    int64  `json:"oldestMs,omitempty"`
	}{q.Name, q.Paused, q.Ready, q.Scheduled, q.Running, q.Finished, millis(q.Oldest)}
}

func newQueueSwitchCommand(a *app, kind rpw.CommandKind, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " QUEUE...",
		Short:   short,
		Example: "  rpw queue " + verb + " resize",
		Args:    positional(1, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, queues []string) error {
			commands := make([]rpw.Command, len(queues))
			for i, queue := range queues {
				commands[i] = rpw.Command{Kind: kind, Ref: rpw.ActionRef{Queue: queue}}
			}
			answers, err := hub.Actions().Control(ctx, rpw.ControlRequest{Commands: commands})
			if err != nil {
				return err
			}
			var failed failures
			for _, answer := range answers {
				if answer.Err != nil {
					failed = append(failed, answer.Err)
				}
			}
			return failed.err()
		}),
	}
}
