package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/redis-process-worker/rpw"
)

func newActionCommand(a *app) *cobra.Command {
	parent := newParent("action", "Start, list, watch and control actions",
		newActionStartCommand(a), newActionListCommand(a), newActionCountCommand(a), newActionShowCommand(a), newActionWatchCommand(a),
		newActionCancelCommand(a), newActionRetryCommand(a), newActionDeleteCommand(a))
	parent.Aliases = []string{"actions"}
	return parent
}

// actionFilter selects actions by flags.
type actionFilter struct {
	rpw.ActionFilter
	states       states
	since, until moment
}

func (f *actionFilter) register(flags *pflag.FlagSet) {
	flags.Var(&f.states, "state", "only in these states: pending, running, completed, failed, cancelled")
	flags.StringSliceVar(&f.Queues, "queue", nil, "only of these queues")
	flags.StringVar(&f.QueuePrefix, "queue-prefix", "", "only of queues that begin so")
	flags.StringVar(&f.NamePrefix, "name", "", "only with names that begin so")
	flags.StringVar(&f.Label, "label", "", "only with this label")
	flags.Var(&f.since, "since", "created then or later: "+momentForms)
	flags.Var(&f.until, "until", "created before then")
}

// selection is the filter, complete.
func (f *actionFilter) selection() rpw.ActionFilter {
	f.States, f.From, f.To = f.states, f.since.Time, f.until.Time
	return f.ActionFilter
}

func newActionListCommand(a *app) *cobra.Command {
	var filter actionFilter
	var limit int
	var reverse bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List actions",
		Long:  "List actions by the time of their creation, over all queues asked for.\n\nWith --json a line is the action: {\"id\",\"queue\",\"name\",\"status\",\"created\",\"arg\",\"output\",\"error\",...}.",
		Example: `  rpw action ls --state failed --since 1h
  rpw action ls --queue resize --reverse --limit 10 --json`,
		Args: positional(0, 0),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, _ []string) error {
			items := actionsOf(ctx, hub, rpw.ListActions{ActionFilter: filter.selection(), Reverse: reverse})
			view := func(x rpw.Action) any { return x }
			return list(a, atMost(limit, items), "ACTION\tNAME\tSTATE\tATTEMPT\tCREATED\tARG\tNOTE", view, func(x rpw.Action) []any {
				return []any{x.Ref, x.Name, x.State, attempts(x), x.Created, short(string(x.Arg), 40), remark(x)}
			})
		}),
	}
	flags := cmd.Flags()
	filter.register(flags)
	flags.IntVar(&limit, "limit", 0, "at most this many")
	flags.BoolVar(&reverse, "reverse", false, "newest first")
	return cmd
}

func actionsOf(ctx context.Context, hub *rpw.Hub, req rpw.ListActions) iter.Seq2[rpw.Action, error] {
	return pages(func(cursor string) ([]rpw.Action, string, error) {
		req.Cursor = cursor
		page, err := hub.Actions().List(ctx, req)
		return page.Actions, page.Next, err
	})
}

func attempts(x rpw.Action) string { return fmt.Sprintf("%d/%d", x.Attempt, x.MaxAttempts) }

// remark is what is worth a word beside an action's state.
func remark(x rpw.Action) string {
	switch {
	case x.Failure != nil:
		return short(x.Failure.Message, 80)
	case x.State == rpw.Running && !x.CancelAt.IsZero():
		return "cancel requested"
	case x.State == rpw.Running && x.Progress > 0:
		return fmt.Sprintf("%.0f %%", 100*x.Progress)
	case x.State == rpw.Pending && x.RunAt.After(x.Created):
		return "from " + text(x.RunAt)
	case x.State == rpw.Completed:
		return short(string(x.Output), 40)
	}
	return ""
}

func newActionCountCommand(a *app) *cobra.Command {
	var filter actionFilter
	cmd := &cobra.Command{
		Use:     "count",
		Short:   "Count actions by state",
		Long:    "Count actions by state.\n\nWith --json: one object, {\"pending\":1,...}; a state without actions may be missing.",
		Example: `  rpw action count --queue resize`,
		Args:    positional(0, 0),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, _ []string) error {
			counts, err := hub.Actions().Count(ctx, filter.selection())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(counts)
			}
			t := newTable(a.stdout, "STATE\tACTIONS")
			for _, state := range slices.Sorted(maps.Keys(counts)) {
				t.row(state, counts[state])
			}
			return t.Flush()
		}),
	}
	filter.register(cmd.Flags())
	return cmd
}

func newActionShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show QUEUE/ID",
		Short:   "Show an action with its history",
		Example: `  rpw action show resize/0190f6a2 --json`,
		Args:    positional(1, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			ref, err := rpw.ParseActionRef(args[0])
			if err != nil {
				return err
			}
			got, err := hub.Actions().Get(ctx, []rpw.ActionRef{ref})
			if err == nil {
				err = got[0].Err
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(got[0].Action)
			}
			return a.showAction(got[0].Action)
		}),
	}
}

func (a *app) showAction(x rpw.Action) error {
	t := newTable(a.stdout, "")
	set := func(label string, value any) {
		if text(value) != "-" {
			t.row(label, value)
		}
	}
	set("action", x.Ref)
	set("name", x.Name)
	set("state", x.State)
	set("attempt", attempts(x))
	set("argument", x.Arg)
	set("created", x.Created)
	set("not before", x.RunAt)
	set("started", x.Started)
	set("finished", x.Finished)
	if x.Progress > 0 {
		set("progress", fmt.Sprintf("%.0f %%", 100*x.Progress))
	}
	set("data", x.Data)
	set("output", x.Output)
	if x.Failure != nil {
		set("failure", x.Failure.Message)
	}
	set("worker", x.Worker)
	set("held until", x.Until)
	set("cancel asked", x.CancelAt)
	set("timeout", x.Timeout)
	set("unique", x.Unique)
	set("labels", strings.Join(x.Labels, " "))
	if err := t.Flush(); err != nil || len(x.Events) == 0 {
		return err
	}
	t = newTable(a.stdout, "\nTIME\tCHANGE\tSTATE\tATTEMPT\tWORKER\tWHAT")
	for _, change := range x.Events {
		t.row(change.Time, change.Kind, change.State, change.Attempt, change.Worker, what(change))
	}
	return t.Flush()
}

// what a change is about.
func what(c rpw.Change) string {
	var parts []string
	if c.Event != "" {
		parts = append(parts, c.Event)
	}
	if c.Kind == rpw.ChangeData {
		parts = append(parts, fmt.Sprintf("%.0f %%", 100*c.Progress))
	}
	for _, value := range []json.RawMessage{c.Data, c.Output} {
		if len(value) > 0 {
			parts = append(parts, short(string(value), 200))
		}
	}
	if c.Failure != nil {
		parts = append(parts, c.Failure.Message)
	}
	if !c.State.Terminal() && c.RunAt.After(c.Time) {
		parts = append(parts, "from "+text(c.RunAt))
	}
	return strings.Join(parts, " ")
}
