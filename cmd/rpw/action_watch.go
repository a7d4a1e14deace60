package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

func newActionWatchCommand(a *app) *cobra.Command {
	var after uint64
	cmd := &cobra.Command{
		Use:   "watch QUEUE/ID",
		Short: "Follow an action to its end",
		Long: `Print how an action is now, then every change of it, until it is finished. One that failed or was cancelled is exit code 12.

With --json a line is {"seq","type","time","status",...}; the first one, of type snapshot, holds the whole action in "action". With
--after SEQ the changes that follow that one come, without a snapshot unless some are lost.`,
		Example: `  rpw action watch resize/0190f6a2`,
		Args:    positional(1, 1),
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "go on after the change with this seq")
	cmd.RunE = a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
		ref, err := rpw.ParseActionRef(args[0])
		if err != nil {
			return err
		}
		handle := actions.Define[json.RawMessage, json.RawMessage](ref.Queue).Handle(hub, ref)
		updates := handle.Watch(ctx)
		if cmd.Flags().Changed("after") {
			updates = handle.WatchAfter(ctx, after)
		}
		for update, err := range updates {
			if err == nil {
				err = a.showUpdate(update)
			}
			if err != nil {
				return err
			}
			if update.Err != nil { // it is the last one
				return update.Err
			}
		}
		return nil
	})
	return cmd
}

func (a *app) showUpdate(u actions.Update[json.RawMessage]) error {
	if a.json {
		return a.printJSON(struct {
			rpw.Change
			Action *rpw.Action `json:"action,omitempty"`
		}{u.Change, u.Action})
	}
	line := u.Time.Local().Format("2006-01-02 15:04:05.000") + "  " + text(u.Kind) + "  " + text(u.State)
	if u.Attempt > 0 {
		line += "  attempt " + text(u.Attempt)
	}
	if about := what(u.Change); about != "" {
		line += "  " + text(about)
	}
	return a.print("%s", line)
}
