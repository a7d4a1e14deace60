package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis-process-worker/rpw"
)

// almostTrimmed is the share of what a stream keeps, from which on a group that lags so far is about to lose events.
const almostTrimmed = 0.8

// streams checks the groups of all streams.
func (d *doctor) streams(ctx context.Context) error {
	streams, groups := 0, 0
	for s, err := range infos(ctx, d.hub, streamNames(ctx, d.hub, rpw.StreamsRequest{})) {
		if err != nil {
			return err
		}
		streams++
		if s.Groups == 0 {
			continue
		}
		found, err := d.hub.Streams().Groups(ctx, s.Name)
		if errors.Is(err, rpw.ErrNotFound) { // gone meanwhile
			continue
		}
		if err != nil {
			return err
		}
		for _, g := range found {
			groups++
			d.group(s, g)
		}
	}
	d.tell(fine, "streams", d.hub.Driver(), fmt.Sprintf("%s, %s", counted(streams, "stream"), counted(groups, "group")), "")
	return nil
}

func (d *doctor) group(s rpw.StreamInfo, g rpw.GroupInfo) {
	target := s.Name + ", group " + g.Group
	tell := func(level severity, do, format string, args ...any) {
		d.tell(level, "streams", target, fmt.Sprintf(format, args...), do)
	}
	names := words(s.Name, g.Group)
	seen := d.lastSeen(g)
	switch abandoned := seen < 0 || seen > d.old; {
	case s.Keep.Events > 0 && float64(g.Lag) >= almostTrimmed*float64(s.Keep.Events):
		tell(problem, "start more consumers, or raise the stream's retention, before they are trimmed",
			"%s wait, and the stream keeps %d", counted(g.Lag, "event"), s.Keep.Events)
	case abandoned && g.Lag+g.Pending > 0:
		when := "no consumer is known"
		if seen >= 0 {
			when = "no consumer was seen for " + roughly(seen)
		}
		tell(warning, "start a consumer, or delete the group if nobody needs it: rpw group delete "+names,
			"%s not delivered and %d pending, but %s", counted(g.Lag, "event"), g.Pending, when)
	case g.Lag > d.lag:
		tell(warning, "start more consumers, or make them faster", "it lags by %s", counted(g.Lag, "event"))
	}
	if g.OldestPending > max(d.old, 2*g.Lease) {
		tell(warning, "see who holds it and why it fails: rpw group pending "+names,
			"the oldest pending event was first delivered %s ago", roughly(g.OldestPending))
	}
	for _, c := range g.Consumers {
		if gone := d.since(c.LastSeen); c.Pending > 0 && gone > max(d.old, 2*g.Lease) && gone > seen {
			tell(warning, "nothing, if others consume: they get them when the leases lapse; otherwise start it again",
				"consumer %s holds %s and was not seen for %s", c.Name, counted(c.Pending, "event"), roughly(gone))
		}
	}
	if g.DeadLetters > 0 {
		tell(warning, fmt.Sprintf("look at the reasons: rpw tail --from start --no-follow %s; then hand them out again: rpw group redrive %s",
			words(rpw.DeadLetter(s.Name, g.Group)), names), "%s", counted(g.DeadLetters, "dead letter"))
	}
}

// lastSeen is how long ago the latest consumer of a group was seen; negative if there is none.
func (d *doctor) lastSeen(g rpw.GroupInfo) time.Duration {
	var latest time.Time
	for _, c := range g.Consumers {
		if c.LastSeen.After(latest) {
			latest = c.LastSeen
		}
	}
	if latest.IsZero() {
		return -1
	}
	return max(0, d.since(latest))
}
