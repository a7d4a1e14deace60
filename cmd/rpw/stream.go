package main

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newStreamCommand(a *app) *cobra.Command {
	parent := newParent("stream", "List, describe, trim and delete streams",
		newStreamListCommand(a), newStreamInfoCommand(a), newStreamTrimCommand(a), newStreamDeleteCommand(a))
	parent.Aliases = []string{"streams"}
	return parent
}

func newStreamListCommand(a *app) *cobra.Command {
	var dead bool
	var limit int
	cmd := &cobra.Command{
		Use:     "ls [PREFIX]",
		Short:   "List the streams that exist",
		Example: `  rpw stream ls order --dead`,
		Args:    positional(0, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			names := atMost(limit, streamNames(ctx, hub, rpw.StreamsRequest{Prefix: optional(args), DeadLetters: dead}))
			return list(a, infos(ctx, hub, names), "STREAM\tEVENTS\tBYTES\tGROUPS\tLAST", viewStream, func(s rpw.StreamInfo) []any {
				return []any{s.Name, s.Events, known(s.Bytes), s.Groups, timeOf(s.Last.ID)}
			})
		}),
	}
	cmd.Flags().BoolVar(&dead, "dead", false, "also dead-letter streams")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many")
	return cmd
}

func newStreamInfoCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "info STREAM",
		Short:   "Describe a stream",
		Example: `  rpw stream info file-change`,
		Args:    positional(1, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			s, err := hub.Streams().StreamInfo(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(viewStream(s))
			}
			t := newTable(a.stdout, "")
			t.row("stream", s.Name)
			t.row("events", s.Events)
			t.row("bytes", known(s.Bytes))
			t.row("ever added", s.Added)
			t.row("oldest after", s.First)
			t.row("newest", s.Last)
			t.row("newest at", timeOf(s.Last.ID))
			t.row("groups", s.Groups)
			t.row("keeps events", bound(s.Keep.Events))
			t.row("keeps for", s.Keep.Age)
			return t.Flush()
		}),
	}
}

func newStreamTrimCommand(a *app) *cobra.Command {
	var keep rpw.Retention
	cmd := &cobra.Command{
		Use:   "trim STREAM",
		Short: "Remove the oldest events, as retention does",
		Long: `Remove the oldest events beyond --events or --age and print how many went. Readers that had not seen them get a gap. The backend may
keep somewhat more events than asked: 1 % or 100, whichever is larger.`,
		Example: `  rpw stream trim file-change --events 1000
  rpw stream trim file-change --age 168h`,
		Args: positional(1, 1),
	}
	flags := cmd.Flags()
	flags.Int64Var(&keep.Events, "events", rpw.Unlimited, "keep this many")
	flags.DurationVar(&keep.Age, "age", 0, "keep what is younger")
	cmd.MarkFlagsOneRequired("events", "age")
	cmd.RunE = a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
		if flags.Changed("events") && keep.Events < 1 || flags.Changed("age") && keep.Age <= 0 {
			return misuse("--events and --age must be positive; rpw stream delete removes all of a stream")
		}
		n, err := hub.Streams().Trim(ctx, args[0], keep)
		if err != nil {
			return err
		}
		return a.removed(n)
	})
	return cmd
}

func (a *app) removed(n int64) error {
	if a.json {
		return a.printJSON(struct {
			Events int64 `json:"events"`
		}{n})
	}
	return a.print("%s removed", counted(n, "event"))
}

func newStreamDeleteCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "delete STREAM...",
		Short:   "Delete streams with their groups and dead letters",
		Long:    "Delete streams with their groups, keys and dead letters. Readers get a gap. Deleting what does not exist is no error.",
		Example: `  rpw stream delete file-change`,
		Args:    positional(1, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			var failed failures
			for _, stream := range args {
				if err := hub.Streams().DeleteStream(ctx, stream); err != nil {
					failed = append(failed, err)
				}
			}
			return failed.err()
		}),
	}
}

// streamNames are the names of all streams asked for.
func streamNames(ctx context.Context, hub *rpw.Hub, req rpw.StreamsRequest) iter.Seq2[string, error] {
	return pages(func(after string) ([]string, string, error) {
		req.After = after
		page, err := hub.Streams().Streams(ctx, req)
		return page.Names, page.Next, err
	})
}

// infos describes streams. One that has gone meanwhile is left out.
func infos(ctx context.Context, hub *rpw.Hub, names iter.Seq2[string, error]) iter.Seq2[rpw.StreamInfo, error] {
	return func(yield func(rpw.StreamInfo, error) bool) {
		for name, err := range names {
			var info rpw.StreamInfo
			if err == nil {
				info, err = hub.Streams().StreamInfo(ctx, name)
			}
			if errors.Is(err, rpw.ErrNotFound) {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// streamView is a stream in JSON.
type streamView struct {
	Stream     string       `json:"stream"`
	Events     int64        `json:"events"`
	Bytes      int64        `json:"bytes"`
	Added      uint64       `json:"added"`
	First      rpw.Position `json:"first"`
	Last       rpw.Position `json:"last"`
	LastTime   time.Time    `json:"lastTime,omitzero"`
	Groups     int          `json:"groups"`
	KeepEvents int64        `json:"keepEvents"` // -1: no bound
	KeepAge    int64        `json:"keepAgeMs,omitempty"`
}

func viewStream(s rpw.StreamInfo) any {
	return streamView{s.Name, s.Events, s.Bytes, s.Added, s.First, s.Last, timeOf(s.Last.ID), s.Groups, s.Keep.Events, millis(s.Keep.Age)}
}

// timeOf is the time of an id; zero before the first event.
func timeOf(id rpw.ID) time.Time {
	if id.IsZero() {
		return time.Time{}
	}
	return id.Time().UTC()
}

// known is a number that is 0 if the store cannot tell.
func known(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// bound is a number that may say there is none.
func bound(n int64) string {
	if n == rpw.Unlimited {
		return "all"
	}
	return strconv.FormatInt(n, 10)
}
