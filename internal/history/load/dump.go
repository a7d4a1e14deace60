package load

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/history"
)

// lastWords publishes once more to every stream, so that all that follows it has something to come to.
func (r *run) lastWords(ctx context.Context, h *rpw.Hub) {
	a := &actor{run: r, name: "last", Rand: r.random(), process: &process{hub: h}}
	for _, s := range r.streams() {
		for ctx.Err() == nil && a.publish(ctx, rpw.Batch{Stream: s, Events: []rpw.NewEvent{{Type: "t", Data: a.payload()}}}) != history.OK {
			sleep(ctx, a.Rand, r.Pause)
		}
	}
}

// done reports whether nothing is left to do.
func (r *run) done(ctx context.Context, h *rpw.Hub) bool {
	all := true
	for _, s := range r.subs {
		at := s.at.Load()
		if at == nil || !atEnd(ctx, h, s.stream, *at) {
			all = false
		} else if !s.caught {
			s.caught = true
			r.Note(history.Record{Actor: s.name, Op: history.OpCaught})
		}
	}
	groups, err := h.Streams().Groups(ctx, groupStream)
	all = all && err == nil && len(groups) == 2
	for _, g := range groups {
		all = all && g.Pending == 0 && atEnd(ctx, h, groupStream, g.Position)
	}
	count, err := h.Actions().Count(ctx, rpw.ActionFilter{Queues: queues})
	return all && err == nil && count[rpw.Pending]+count[rpw.Running] == 0
}

// atEnd reports whether nothing comes after a position, not even a gap.
func atEnd(ctx context.Context, h *rpw.Hub, stream string, at rpw.Position) bool {
	events, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: stream, After: at, Max: 1})
	return err == nil && len(events) == 0
}

// lastDump waits until nothing is left to do, and dumps. Calls that are late may still bring work, then it begins again. When the patience is over
// it takes what there is.
func (r *run) lastDump(ctx context.Context, h *rpw.Hub) (history.Dump, error) {
	for {
		before := ends(ctx, h, r.streams())
		if ctx.Err() == nil && !r.done(ctx, h) {
			time.Sleep(r.Pause)
			continue
		}
		final, err := r.dump(context.WithoutCancel(ctx), h)
		if err != nil || ctx.Err() != nil || idle(final) && slices.Equal(before, ends(ctx, h, r.streams())) {
			return final, err
		}
	}
}

// ends are the ends of the streams.
func ends(ctx context.Context, h *rpw.Hub, streams []string) (all []rpw.Position) {
	for _, name := range streams {
		info, err := h.Streams().StreamInfo(ctx, name)
		if err == nil {
			all = append(all, info.Last)
		}
	}
	return all
}

// idle reports whether a dump shows no work.
func idle(d history.Dump) bool {
	return !slices.ContainsFunc(d.Groups, func(g history.GroupDump) bool { return len(g.Pending) > 0 }) &&
		!slices.ContainsFunc(d.Actions, func(a history.ActionDump) bool { return !a.State.Terminal() })
}

// dump reads what the store holds.
func (r *run) dump(ctx context.Context, h *rpw.Hub) (history.Dump, error) {
	final := history.Dump{Quiet: true}
	for _, name := range r.streams() {
		s, err := dumpStream(ctx, h, name)
		if err != nil {
			return final, err
		}
		final.Streams = append(final.Streams, s)
	}
	groups, err := h.Streams().Groups(ctx, groupStream)
	if err != nil {
		return final, err
	}
	for _, g := range groups {
		d, err := dumpGroup(ctx, h, g)
		if err != nil {
			return final, err
		}
		final.Groups = append(final.Groups, d)
	}
	for _, ref := range r.boss.refs {
		a, err := dumpAction(ctx, h, ref)
		if err != nil {
			return final, err
		}
		if a != nil {
			final.Actions = append(final.Actions, *a)
		}
	}
	return final, nil
}

// readAll reads a stream from its oldest event.
func readAll(ctx context.Context, h *rpw.Hub, stream string) (all []rpw.Event, err error) {
	var at rpw.Position
	for {
		events, err := h.Streams().Read(ctx, rpw.ReadRequest{Stream: stream, After: at})
		if err != nil || len(events) == 0 {
			return all, err
		}
		all = append(all, events...)
		at = events[len(events)-1].Position()
	}
}

func dumpStream(ctx context.Context, h *rpw.Hub, name string) (history.StreamDump, error) {
	info, err := h.Streams().StreamInfo(ctx, name)
	if err != nil {
		return history.StreamDump{}, err
	}
	s := history.StreamDump{Name: name, First: info.First, Last: info.Last}
	events, err := readAll(ctx, h, name)
	for _, e := range events {
		s.Items = append(s.Items, item(e))
	}
	return s, err
}

func dumpGroup(ctx context.Context, h *rpw.Hub, g rpw.GroupInfo) (history.GroupDump, error) {
	d := history.GroupDump{Stream: g.Stream, Group: g.Group, Position: g.Position}
	for after := (rpw.ID{}); ; {
		page, err := h.Streams().Pending(ctx, rpw.PendingRequest{Stream: g.Stream, Group: g.Group, After: after})
		if err != nil {
			return d, err
		}
		for _, e := range page.Entries {
			d.Pending = append(d.Pending, e.ID)
		}
		if after = page.Next; after.IsZero() {
			break
		}
	}
	letters, err := readAll(ctx, h, rpw.DeadLetter(g.Stream, g.Group))
	for _, e := range letters {
		id, bad := rpw.ParseID(e.Header[rpw.HeaderDeadID])
		d.Dead, err = append(d.Dead, id), errors.Join(err, bad)
	}
	return d, err
}

// dumpAction reads an action with all its changes; nil if it is not there.
func dumpAction(ctx context.Context, h *rpw.Hub, ref rpw.ActionRef) (*history.ActionDump, error) {
	answers, err := h.Actions().Get(ctx, []rpw.ActionRef{ref})
	if err != nil {
		return nil, err
	}
	a, err := answers[0].Action, answers[0].Err
	if err != nil {
		if errors.Is(err, rpw.ErrNotFound) {
			err = nil
		}
		return nil, err
	}
	d := &history.ActionDump{Ref: ref.String(), State: a.State, Attempt: a.Attempt, MaxAttempts: a.MaxAttempts,
		Permanent: a.Failure != nil && a.Failure.Permanent, Output: string(a.Output)}
	for _, c := range a.Events {
		d.Changes = append(d.Changes, history.ChangeDump{Seq: c.Seq, Kind: c.Kind, State: c.State})
	}
	return d, nil
}

func dumpLog(ctx context.Context, h *rpw.Hub, source string) (history.LogDump, error) {
	d, seen := history.LogDump{Actor: source}, make(map[string]bool)
	q := rpw.LogQuery{LogFilter: rpw.LogFilter{Source: source, Text: "m"}}
	for {
		page, err := h.Logs().Query(ctx, q)
		if err != nil {
			return d, err
		}
		for _, rec := range page.Records {
			var attrs struct{ N int64 }
			if err := json.Unmarshal(rec.Attrs, &attrs); err != nil {
				return d, err
			}
			switch {
			case rec.Message != "m":
			case seen[rec.ID]:
				d.Again++
			default:
				seen[rec.ID] = true
				d.Stored = append(d.Stored, attrs.N)
			}
		}
		if q.After = page.Next; !page.More {
			return d, nil
		}
	}
}
