package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

func newActionStartCommand(a *app) *cobra.Command {
	s := &start{app: a, onUnique: oneOf("join", "reject", "replace", "reschedule")}
	cmd := &cobra.Command{
		Use:   "start NAME [ARG|-]",
		Short: "Start an action",
		Long: `Start an action for a worker to run, with ARG, which is JSON (default: null; - reads it from stdin), and print its QUEUE/ID when it is
stored. Repeating it with the same --id and ARG answers the same action.

With --wait, wait until it is finished and print its output instead; an action that failed or was cancelled is exit code 12.
Interrupting the wait does not stop the action.

With --json: {"action","queue","id","existing"}; existing says that it was there before (--id, --unique). With --wait the output
is printed as it is, on one line.`,
		Example: `  rpw action start resize '{"path":"cat.png"}' --wait
  rpw action start report --delay 1h --unique nightly --on-unique reschedule`,
		Args: positional(1, 2),
		RunE: a.over(s.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&s.queue, "queue", "", "the queue (default: that of the action's name)")
	flags.StringVar(&s.id, "id", "", "the id (default: a new one)")
	flags.DurationVar(&s.delay, "delay", 0, "run not before this long from now")
	flags.Var(&s.at, "run-at", "run not before this time, like 2026-11-23T10:00:00Z")
	flags.DurationVar(&s.startWithin, "start-within", 0, "fail if no attempt began this long after now")
	flags.DurationVar(&s.attemptTimeout, "attempt-timeout", 0, "bounds each attempt")
	flags.IntVar(&s.maxAttempts, "max-attempts", 0, "how often it is tried (default 5)")
	flags.StringVar(&s.unique, "unique", "", "at most one action of the queue with this key is pending or running")
	flags.Var(s.onUnique, "on-unique", "if there is one: join it, reject this, replace its argument and time, reschedule it")
	flags.StringSliceVar(&s.labels, "label", nil, "labels")
	flags.BoolVar(&s.wait, "wait", false, "wait for its end, and print its output")
	cmd.MarkFlagsMutuallyExclusive("delay", "run-at")
	return cmd
}

type start struct {
	*app
	queue, id                   string
	delay                       time.Duration
	at                          moment
	startWithin, attemptTimeout time.Duration
	maxAttempts                 int
	unique                      string
	onUnique                    *choice
	labels                      []string
	wait                        bool
}

func (s *start) run(ctx context.Context, hub *rpw.Hub, args []string) error {
	var arg json.RawMessage
	if len(args) == 2 {
		data, err := s.argument(args[1])
		if err == nil {
			err = checkJSON("ARG", data)
		}
		if err != nil {
			return err
		}
		arg = data
	}
	handle, err := actions.Define[json.RawMessage, json.RawMessage](args[0]).Start(ctx, hub, arg, s.options()...)
	if err != nil {
		return err
	}
	if s.wait {
		output, err := handle.Wait(ctx)
		if err != nil {
			return err
		}
		return s.printJSON(output)
	}
	if s.json {
		return s.printJSON(struct {
			Action   rpw.ActionRef `json:"action"`
			Queue    string        `json:"queue"`
			ID       string        `json:"id"`
			Existing bool          `json:"existing"`
		}{handle.Ref, handle.Ref.Queue, handle.Ref.ID, handle.Existing})
	}
	return s.print("%s", text(handle.Ref))
}

// policies are the words of --on-unique.
var policies = map[string]rpw.UniquePolicy{
	"join": rpw.UniqueJoin, "reject": rpw.UniqueReject, "replace": rpw.UniqueReplace, "reschedule": rpw.UniqueReschedule,
}

// options are the flags that were given.
func (s *start) options() []actions.Option {
	opts := []actions.Option{
		actions.StartWithin(s.startWithin),
		actions.Timeout(s.attemptTimeout),
		actions.Label(s.labels...),
	}
	if s.queue != "" {
		opts = append(opts, actions.Queue(s.queue))
	}
	if s.id != "" {
		opts = append(opts, actions.ID(s.id))
	}
	if s.delay != 0 {
		opts = append(opts, actions.Delay(s.delay))
	}
	if !s.at.IsZero() {
		opts = append(opts, actions.RunAt(s.at.Time))
	}
	if s.maxAttempts != 0 {
		opts = append(opts, actions.MaxAttempts(s.maxAttempts))
	}
	if s.unique != "" {
		opts = append(opts, actions.Unique(s.unique, policies[s.onUnique.value]))
	}
	return opts
}
