package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newGroupCommand(a *app) *cobra.Command {
	parent := newParent("group", "Look into consumer groups, redrive dead letters",
		newGroupListCommand(a), newGroupPendingCommand(a), newGroupRedriveCommand(a), newGroupDeleteCommand(a))
	parent.Aliases = []string{"groups"}
	return parent
}

func newGroupListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls STREAM",
		Short: "List the groups of a stream",
		Long: `List the groups of a stream: LAG is what was not delivered yet, PENDING what is held or waits to be delivered again, OLDEST how
long the oldest of these has been, DEAD how many dead letters there are.`,
		Example: `  rpw group ls orders --json`,
		Args:    positional(1, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			groups, err := hub.Streams().Groups(ctx, args[0])
			return list(a, all(groups, err), "GROUP\tLAG\tPENDING\tOLDEST\tDEAD\tLEASE\tDELIVERIES\tCONSUMERS", viewGroup, func(g rpw.GroupInfo) []any {
				names := make([]string, len(g.Consumers))
				for i, c := range g.Consumers {
					names[i] = c.Name
				}
				return []any{g.Group, g.Lag, g.Pending, g.OldestPending, g.DeadLetters, g.Lease, bound(int64(g.MaxDeliveries)), strings.Join(names, " ")}
			})
		}),
	}
}

func newGroupPendingCommand(a *app) *cobra.Command {
	var consumer string
	var limit int
	cmd := &cobra.Command{
		Use:     "pending STREAM GROUP",
		Short:   "List the events that a group has delivered and not settled",
		Example: `  rpw group pending orders billing --consumer host-1`,
		Args:    positional(2, 2),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			entries := pages(func(after rpw.ID) ([]rpw.PendingEntry, rpw.ID, error) {
				page, err := hub.Streams().Pending(ctx, rpw.PendingRequest{Stream: args[0], Group: args[1], Consumer: consumer, After: after})
				return page.Entries, page.Next, err
			})
			return list(a, atMost(limit, entries), "ID\tSTATE\tUNTIL\tATTEMPT\tCONSUMER\tREASON", viewPending, func(e rpw.PendingEntry) []any {
				state := "waiting"
				if e.Leased {
					state = "leased"
				}
				return []any{e.ID, state, e.Until, e.Attempt, e.Consumer, short(e.Reason, 80)}
			})
		}),
	}
	cmd.Flags().StringVar(&consumer, "consumer", "", "only what this consumer holds")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many")
	return cmd
}

func newGroupRedriveCommand(a *app) *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:   "redrive STREAM GROUP [ID...]",
		Short: "Hand dead letters to their group again",
		Long: `Hand the dead letters of a group to it again, from attempt 1: those with these ids in the dead-letter stream, or the oldest ones. No
other group and no subscriber sees them. Print how many went. rpw tail 'STREAM!dead!GROUP' --from start --no-follow
shows them, with the reason in a header.`,
		Example: `  rpw group redrive orders billing
  rpw group redrive orders billing 1795399404210-0`,
		Args: positional(2, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			if most < 1 || most > rpw.MaxBatch {
				return misuse("--max is %d; it must be from 1 to %d", most, rpw.MaxBatch)
			}
			cmd := rpw.GroupCommand{Stream: args[0], Group: args[1], Verb: rpw.Redrive}
			for _, arg := range args[2:] {
				id, err := rpw.ParseID(arg)
				if err != nil {
					return err
				}
				cmd.IDs = append(cmd.IDs, id)
			}
			if len(cmd.IDs) == 0 {
				cmd.Max = most
			}
			n, err := administer(ctx, hub, cmd)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Events int64 `json:"events"`
				}{n})
			}
			return a.print("%s redriven", counted(n, "event"))
		}),
	}
	cmd.Flags().IntVar(&most, "max", rpw.MaxBatch, "at most this many, the oldest first")
	return cmd
}

func newGroupDeleteCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "delete STREAM GROUP",
		Short:   "Delete a group with its pending events",
		Long:    "Delete a group with its pending events. Its dead-letter stream stays.",
		Example: `  rpw group delete orders billing`,
		Args:    positional(2, 2),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			_, err := administer(ctx, hub, rpw.GroupCommand{Stream: args[0], Group: args[1], Verb: rpw.DeleteGroup})
			return err
		}),
	}
}

func administer(ctx context.Context, hub *rpw.Hub, cmd rpw.GroupCommand) (events int64, err error) {
	answers, err := hub.Streams().Administer(ctx, rpw.GroupCommands{Commands: []rpw.GroupCommand{cmd}})
	if err != nil {
		return 0, err
	}
	return answers[0].Events, answers[0].Err
}

// groupView is a group in JSON.
type groupView struct {
	Stream        string         `json:"stream"`
	Group         string         `json:"group"`
	Lag           int64          `json:"lag"`
	Pending       int64          `json:"pending"`
	OldestPending int64          `json:"oldestPendingMs,omitempty"`
	DeadLetters   int64          `json:"deadLetters"`
	Position      rpw.Position   `json:"position"`
	Lease         int64          `json:"leaseMs"`
	MaxDeliveries int            `json:"maxDeliveries"` // -1: no bound
	Consumers     []consumerView `json:"consumers"`
}

type consumerView struct {
	Name     string    `json:"name"`
	Pending  int64     `json:"pending"`
	LastSeen time.Time `json:"lastSeen"`
}

func viewGroup(g rpw.GroupInfo) any {
	v := groupView{g.Stream, g.Group, g.Lag, g.Pending, millis(g.OldestPending), g.DeadLetters, g.Position, millis(g.Lease), g.MaxDeliveries,
		make([]consumerView, len(g.Consumers))}
	for i, c := range g.Consumers {
		v.Consumers[i] = consumerView(c)
	}
	return v
}

func viewPending(e rpw.PendingEntry) any {
	return struct {
		ID       rpw.ID    `json:"id"`
		Consumer string    `json:"consumer"`
		Attempt  int       `json:"attempt"`
		Leased   bool      `json:"leased"`
		Until    time.Time `json:"until"`
		Reason   string    `json:"reason,omitempty"`
	}(e)
}
