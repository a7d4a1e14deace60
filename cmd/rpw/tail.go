package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newTailCommand(a *app) *cobra.Command {
	t := &tail{app: a, onGap: oneOf("stop", "continue", "replay")}
	cmd := &cobra.Command{
		Use:   "tail STREAM",
		Short: "Follow a stream",
		Long: `Print the events of a stream, from now on or from where --from or --last say, until interrupted.

Nothing is missed and nothing comes twice, also while the backend is away for a time. History that is missing
(trimmed before it was read, or the stream began anew) is a gap: the tail tells it and stops with exit code 8, or goes on
as --on-gap says. A dead-letter stream has the name STREAM!dead!GROUP. With --no-follow it only looks: a stream that does not
exist is exit code 3; without it the tail waits for its first event.

With --json a line is {"id","time","type","data","key","header","position"}; a payload that is no JSON stands in "text" or
"base64" instead of "data". A gap is {"gap":{"kind","missed","after","resume","oldest"}}. Give the position of the last line
to --from, to go on after it in another run.`,
		Example: `  rpw tail file-change
  rpw tail file-change --from start --no-follow --json
  rpw tail file-change --from 10m --type write,remove
  rpw tail file-change --last 1 --count 1`,
		Args: positional(1, 1),
		RunE: a.over(t.run),
	}
	flags := cmd.Flags()
	flags.Var(&t.from, "from", "where to begin: now, start, an event's id or position (what follows it), a time, or how long ago (10m)")
	flags.IntVar(&t.last, "last", 0, "begin with this many of the newest events")
	flags.IntVar(&t.count, "count", 0, "stop after this many events")
	flags.StringSliceVar(&t.types, "type", nil, "only events of these types")
	flags.Var(t.onGap, "on-gap", "when history is missing: stop, continue with what is there and was not seen, or replay all that is there")
	flags.BoolVar(&t.once, "no-follow", false, "stop at the end of the stream")
	cmd.MarkFlagsMutuallyExclusive("from", "last")
	return cmd
}

type tail struct {
	*app
	from  place
	last  int
	count int
	types []string
	onGap *choice
	once  bool
}

func (t *tail) run(ctx context.Context, hub *rpw.Hub, args []string) error {
	if t.last < 0 || t.count < 0 {
		return misuse("--last and --count are numbers of events, at least 1")
	}
	if t.last > 0 {
		t.from.Start = rpw.Last(t.last)
	}
	events := t.follow
	if t.once {
		events = t.read
	}
	n := 0
	for e, err := range events(ctx, hub, args[0]) {
		if err != nil {
			if t.count == 0 && !t.once && errors.Is(err, context.Canceled) {
				return nil // it has no other end
			}
			return err
		}
		if len(t.types) > 0 && !slices.Contains(t.types, e.Type) {
			continue
		}
		if err := t.show(e); err != nil {
			return err
		}
		if n++; n == t.count {
			return nil
		}
	}
	return nil
}

// follow gives the events of a subscription.
func (t *tail) follow(ctx context.Context, hub *rpw.Hub, stream string) iter.Seq2[rpw.Event, error] {
	return func(yield func(rpw.Event, error) bool) {
		sub, err := rpw.StreamOf[json.RawMessage](stream).Subscribe(ctx, hub, t.from.Start, rpw.OnGap(t.gap))
		if err != nil {
			yield(rpw.Event{}, err)
			return
		}
		defer sub.Close()
		for m, err := range sub.All(ctx) {
			if !yield(m.Event, err) {
				return
			}
		}
	}
}

// read gives the events that are there. It only looks: a stream that does not exist is told, not begun, but for one of dead
// letters, which begins with the first of them.
func (t *tail) read(ctx context.Context, hub *rpw.Hub, stream string) iter.Seq2[rpw.Event, error] {
	return func(yield func(rpw.Event, error) bool) {
		bus := hub.Streams()
		if t.from.Kind != rpw.StartAfter { // a position of what is gone is a gap
			_, err := bus.StreamInfo(ctx, stream)
			if _, _, dead := rpw.ParseDeadLetter(stream); dead && errors.Is(err, rpw.ErrNotFound) {
				return
			}
			if err != nil {
				yield(rpw.Event{}, err)
				return
			}
		}
		at, err := bus.Locate(ctx, stream, t.from.Start)
		for err == nil {
			var events []rpw.Event
			events, err = bus.Read(ctx, rpw.ReadRequest{Stream: stream, After: at})
			if gap, ok := errors.AsType[*rpw.GapError](err); ok {
				at, err = t.gap(gap)
				continue
			}
			if err == nil && len(events) == 0 {
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
				at = e.Position()
			}
		}
		yield(rpw.Event{}, err)
	}
}

// gap tells of missing history, and does about it what the flag says.
func (t *tail) gap(gap *rpw.GapError) (rpw.Position, error) {
	if t.json {
		if err := t.printJSON(map[string]any{"gap": viewGap(gap)}); err != nil {
			return rpw.Position{}, err
		}
	}
	switch t.onGap.value {
	case "continue":
		t.warn(gap.Error())
		return rpw.GapContinue(gap)
	case "replay":
		t.warn(gap.Error())
		return rpw.GapReplay(gap)
	}
	return rpw.GapStop(gap)
}

func (t *tail) show(e rpw.Event) error {
	if t.json {
		return t.printJSON(struct {
			ID   rpw.ID    `json:"id"`
			Time time.Time `json:"time"`
			Type string    `json:"type"`
			payload
			Key      string            `json:"key,omitempty"`
			Header   map[string]string `json:"header,omitempty"`
			Position rpw.Position      `json:"position"`
		}{e.ID, e.ID.Time().UTC(), e.Type, payloadOf(e.Data), e.Key, e.Header, e.Position()})
	}
	line := e.ID.Time().Local().Format("2006-01-02 15:04:05.000") + "  " + e.ID.String() + "  " + text(e.Type) + "  " + text(e.Data)
	if e.Key != "" {
		line += "  key=" + text(e.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		line += "  " + text(name) + "=" + text(e.Header[name])
	}
	return t.print("%s", line)
}

// gapView is a gap in JSON.
type gapView struct {
	Kind   rpw.GapKind  `json:"kind"`
	Missed uint64       `json:"missed,omitempty"`
	After  rpw.Position `json:"after"`
	Resume rpw.Position `json:"resume"`
	Oldest rpw.Position `json:"oldest"`
}

func viewGap(g *rpw.GapError) gapView {
	return gapView{g.Kind, g.Missed, g.After, g.Resume, g.Oldest}
}
