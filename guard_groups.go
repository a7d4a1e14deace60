package rpw

import (
	"context"
	"errors"
	"time"
)

// The group half of guardedStreams.

// maxReason bounds texts of errors and reasons that are stored; longer ones are cut.
const maxReason = 16 << 10

func (g guardedStreams) EnsureGroup(ctx context.Context, cfg GroupConfig) (GroupInfo, error) {
	c := g.call("ensure group", cfg.Stream)
	c.repeat = true
	if err := checkGroupConfig(&cfg); err != nil {
		return GroupInfo{}, c.wrap(err)
	}
	cfg.Stream = g.h.inward(cfg.Stream)
	info, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.EnsureGroup, cfg)
	info.Stream = g.h.outward(info.Stream)
	return info, err
}

func checkGroupConfig(cfg *GroupConfig) error {
	if err := first(checkGroup(cfg.Stream, cfg.Group), checkStart(cfg.From), checkRetention(cfg.DeadLetter)); err != nil {
		return err
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultGroupLease
	}
	if err := checkDuration("Lease", cfg.Lease, MinLease, MaxLease); err != nil {
		return err
	}
	if cfg.MaxDeliveries == 0 {
		cfg.MaxDeliveries = DefaultMaxDeliveries
	}
	if cfg.MaxDeliveries < Unlimited {
		return Errorf(ErrInvalid, "MaxDeliveries is %d; it is at least 1, 0 for the default or Unlimited", cfg.MaxDeliveries)
	}
	if _, _, dead := ParseDeadLetter(cfg.Stream); dead && cfg.MaxDeliveries != Unlimited {
		return Errorf(ErrInvalid, "a group on a dead-letter stream has no dead letters of its own; set MaxDeliveries to Unlimited")
	}
	return nil
}

func checkGroup(stream, group string) error {
	return first(checkStream(stream), CheckName("group", group))
}

func (g guardedStreams) Fetch(ctx context.Context, req FetchRequest) ([]Delivery, error) {
	c := g.call("fetch", req.Stream)
	c.repeat, c.waits = true, req.Wait > 0
	err := first(checkGroup(req.Stream, req.Group), CheckName("consumer", req.Consumer), checkWait(req.Wait), pageMax(&req.Max, 1, MaxPage))
	if err == nil && req.Lease != 0 {
		err = checkDuration("Lease", req.Lease, MinLease, MaxLease)
	}
	if err != nil {
		return nil, c.wrap(err)
	}
	req.Stream = g.h.inward(req.Stream)
	if err := g.hear(ctx, c, req.fetcher()); err != nil {
		return nil, err
	}
	own := req.Lane == Lane{}
	back := g.h.lane(&req.Lane)
	deliveries, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.Fetch, req)
	var missed *unheardFetch
	if own && errors.Is(err, ErrUncertain) {
		missed = g.h.unheard.add(req)
	}
	switch {
	case abandoned(ctx, err):
		return nil, g.h.handBack(ctx, err, func(ctx context.Context) { g.handBackEvents(ctx, c, req, missed) })
	case missed == nil:
		back()
	}
	return deliveries, err
}

func (g guardedStreams) Settle(ctx context.Context, req SettleRequest) ([]error, error) {
	c := g.call("settle", req.Stream)
	c.repeat, c.items = true, len(req.Settlements)
	if err := first(checkGroup(req.Stream, req.Group), checkItems(len(req.Settlements))); err != nil {
		return nil, c.wrap(err)
	}
	for i := range req.Settlements {
		if err := checkSettlement(&req.Settlements[i]); err != nil {
			return nil, c.wrap(err)
		}
	}
	req.Stream = g.h.inward(req.Stream)
	defer g.h.lane(&req.Lane)()
	errs, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.Settle, req)
	for i := range errs {
		errs[i] = c.wrap(errs[i])
	}
	return errs, err
}

func checkSettlement(s *Settlement) error {
	if len(s.Reason) > maxReason {
		return Errorf(ErrTooLarge, "the reason has %d bytes (max %d)", len(s.Reason), maxReason)
	}
	switch s.Verdict {
	case Ack, Reject, Release:
		if s.Delay != 0 {
			return Errorf(ErrInvalid, "Delay goes with Nack and Extend only")
		}
		return nil
	case Nack:
		return checkDuration("Delay", s.Delay, 0, 24*time.Hour)
	case Extend:
		if s.Delay == 0 {
			return nil
		}
		return checkDuration("Delay", s.Delay, MinLease, MaxLease)
	}
	return Errorf(ErrInvalid, "no verdict: say Ack, Nack, Extend, Reject or Release")
}

func (g guardedStreams) Groups(ctx context.Context, stream string) ([]GroupInfo, error) {
	c := g.call("groups", stream)
	c.repeat = true
	if err := checkStream(stream); err != nil {
		return nil, c.wrap(err)
	}
	groups, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.Groups, g.h.inward(stream))
	for i := range groups {
		groups[i].Stream = g.h.outward(groups[i].Stream)
	}
	return groups, err
}

func (g guardedStreams) Pending(ctx context.Context, req PendingRequest) (PendingPage, error) {
	c := g.call("pending", req.Stream)
	c.repeat = true
	err := first(checkGroup(req.Stream, req.Group), pageMax(&req.Max, MaxPage, MaxPage))
	if err == nil && req.Consumer != "" {
		err = CheckName("consumer", req.Consumer)
	}
	if err != nil {
		return PendingPage{}, c.wrap(err)
	}
	req.Stream = g.h.inward(req.Stream)
	return invoke(ctx, c, g.h.parts.Streams, StreamBus.Pending, req)
}

func (g guardedStreams) Administer(ctx context.Context, req GroupCommands) ([]GroupAnswer, error) {
	c := g.call("administer", "")
	c.repeat, c.items = true, len(req.Commands)
	if err := checkItems(len(req.Commands)); err != nil {
		return nil, c.wrap(err)
	}
	targets := req.Commands
	req.Commands = make([]GroupCommand, len(targets))
	for i, cmd := range targets {
		c.target = cmd.Stream
		if err := checkGroupCommand(&cmd); err != nil {
			return nil, c.wrap(err)
		}
		cmd.Stream = g.h.inward(cmd.Stream)
		req.Commands[i] = cmd
	}
	defer g.h.lane(&req.Lane)()
	answers, err := invoke(ctx, c, g.h.parts.Streams, StreamBus.Administer, req)
	for i := range answers {
		c.target = targets[i].Stream
		answers[i].Err = c.wrap(answers[i].Err)
	}
	return answers, err
}

func checkGroupCommand(cmd *GroupCommand) error {
	if err := checkGroup(cmd.Stream, cmd.Group); err != nil {
		return err
	}
	switch cmd.Verb {
	case Redrive:
		return first(pageMax(&cmd.Max, MaxBatch, MaxBatch), func() error {
			if len(cmd.IDs) > MaxBatch {
				return Errorf(ErrTooLarge, "%d ids in one command (max %d)", len(cmd.IDs), MaxBatch)
			}
			return nil
		}())
	case ResetGroup:
		return checkStart(cmd.From)
	case DeleteGroup:
		return nil
	case RemoveConsumer:
		return CheckName("consumer", cmd.Consumer)
	}
	return Errorf(ErrInvalid, "no command: say Redrive, ResetGroup, DeleteGroup or RemoveConsumer")
}
