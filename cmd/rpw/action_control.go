package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newActionCancelCommand(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel QUEUE/ID...",
		Short: "Cancel actions",
		Long: `Cancel actions and print the state of each after that: cancelled if it was pending, running if its handler was asked to stop, which
rpw action watch tells of. One that is finished is exit code 4.`,
		Example: `  rpw action cancel resize/0190f6a2 --reason "wrong file"`,
		Args:    positional(1, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			return a.control(ctx, hub, rpw.Command{Kind: rpw.Cancel, Reason: reason}, args)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; the handler and who waits see it")
	return cmd
}

func newActionRetryCommand(a *app) *cobra.Command {
	var delay time.Duration
	cmd := &cobra.Command{
		Use:     "retry QUEUE/ID...",
		Short:   "Run failed or cancelled actions again",
		Long:    "Run failed or cancelled actions again, with all their attempts, and print their state.",
		Example: `  rpw action ls --state failed --json | jq -r '.queue+"/"+.id' | xargs rpw action retry`,
		Args:    positional(1, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			return a.control(ctx, hub, rpw.Command{Kind: rpw.Retry, Delay: delay}, args)
		}),
	}
	cmd.Flags().DurationVar(&delay, "delay", 0, "not before this long from now")
	return cmd
}

func newActionDeleteCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "delete QUEUE/ID...",
		Short:   "Delete actions that are not running",
		Example: `  rpw action delete resize/0190f6a2`,
		Args:    positional(1, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			return a.control(ctx, hub, rpw.Command{Kind: rpw.DeleteAction}, args)
		}),
	}
}

// control gives a command to actions and prints the state of each.
func (a *app) control(ctx context.Context, hub *rpw.Hub, command rpw.Command, refs []string) error {
	commands := make([]rpw.Command, len(refs))
	for i, arg := range refs {
		ref, err := rpw.ParseActionRef(arg)
		if err != nil {
			return err
		}
		commands[i] = command
		commands[i].Ref = ref
	}
	answers, err := hub.Actions().Control(ctx, rpw.ControlRequest{Commands: commands})
	if err != nil {
		return err
	}
	var failed failures
	for i, answer := range answers {
		switch {
		case answer.Err != nil:
			failed = append(failed, answer.Err)
			continue
		case a.json:
			err = a.printJSON(struct {
				Action rpw.ActionRef `json:"action"`
				State  rpw.State     `json:"status,omitempty"` // none once it is deleted
			}{commands[i].Ref, answer.State})
		case command.Kind == rpw.DeleteAction:
			err = a.print("%s deleted", text(commands[i].Ref))
		default:
			err = a.print("%s %s", text(commands[i].Ref), text(answer.State))
		}
		if err != nil {
			return err
		}
	}
	return failed.err()
}
