package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// groups is the way out of a stream by a consumer group.
var groups = area{
	name:  "groups",
	title: "A consumer group takes events off a stream",
	notes: "The stream is full at the start; 256 bytes an event; each is acknowledged. rpw gives each event a lease with a fencing token, and counts deliveries.",
	contestants: []contestant{
		{name: "raw XREADGROUP + XACK", redis: true, run: groupRaw(1), about: "the limit: 100 a call, with the XACK of the 100 before in the same trip"},
		{name: "rpw Fetch + Settle", redis: true, run: groupRPW, about: "100 a call, one consumer"},
		{name: "watermill, 10 subscribers", redis: true, run: groupWatermill(10)},
		{name: "watermill, 1 subscriber", redis: true, run: groupWatermill(1), about: "a message at a time is its design; each subscriber has a pool of its own"},
		{name: "raw, 4 consumers", redis: true, run: groupRaw(4)},
		{name: "rpw Consume", redis: true, run: groupRPWConsume, about: "one member with 100 handlers at a time"},
	},
	targets: []target{
		{id: "group-raw", what: "fetch and settle by 100, to raw XREADGROUP 100 + XACK", metric: Rate, of: "rpw Fetch + Settle", to: "raw XREADGROUP + XACK", want: 0.6, beyond: 0.9},
		{id: "group-watermill", what: "the same to watermill with 10 subscribers", metric: Rate, of: "rpw Fetch + Settle", to: "watermill, 10 subscribers", want: 5, beyond: 8},
	},
}

// errEmpty says that a stream did not last for the trial.
var errEmpty = errors.New("the stream was empty before the time was over")

// enough is how many events last for the trial at this rate.
func (t *trial) enough(perSecond int) int {
	return int((t.Length + warmUp + time.Second/2).Seconds() * float64(perSecond))
}

// fillRPW publishes n events.
func fillRPW(ctx context.Context, hub *rpw.Hub, n int) error {
	batch := slices.Repeat([]rpw.NewEvent{{Type: "t", Data: payload}}, 500)
	for ; n > 0; n -= len(batch) {
		if _, err := events.PublishBatch(ctx, hub, batch...); err != nil {
			return err
		}
	}
	return nil
}

func groupRPW(ctx context.Context, t *trial) (Sample, error) {
	hub, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	if err := fillRPW(ctx, hub, t.enough(300_000)); err != nil {
		return nil, err
	}
	bus := hub.Streams()
	if _, err := bus.EnsureGroup(ctx, rpw.GroupConfig{Stream: events.Name(), Group: "g", From: rpw.Oldest()}); err != nil {
		return nil, err
	}
	return t.floods(ctx, 1, 100, func() error {
		got, err := bus.Fetch(ctx, rpw.FetchRequest{Stream: events.Name(), Group: "g", Consumer: "c", Max: 100})
		if err != nil {
			return err
		}
		if len(got) != 100 {
			return fmt.Errorf("%d events at once: %w", len(got), errEmpty)
		}
		acks := make([]rpw.Settlement, len(got))
		for i, d := range got {
			acks[i] = rpw.Settlement{Receipt: d.Receipt, Verdict: rpw.Ack}
		}
		answers, err := bus.Settle(ctx, rpw.SettleRequest{Stream: events.Name(), Group: "g", Settlements: acks})
		return errors.Join(append(answers, err)...)
	})
}

func groupRPWConsume(ctx context.Context, t *trial) (Sample, error) {
	hub, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	if err := fillRPW(ctx, hub, t.enough(200_000)); err != nil {
		return nil, err
	}
	return t.counted(ctx, func(ctx context.Context, count func()) error {
		return rpw.Consume(ctx, hub, events.Name(), rpw.Consumer{Group: "g", From: rpw.Oldest(), Concurrency: 100},
			func(context.Context, rpw.Delivery) error {
				count()
				return nil
			})
	})
}

// counted is a trial of something that runs until its ctx ends and counts its items: they are counted for the measured part, after a warm-up that
// begins with the first one.
func (t *trial) counted(ctx context.Context, run func(ctx context.Context, count func()) error) (Sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	wg.Go(func() { ended <- run(ctx, func() { n.Add(1) }) })
	s, err := t.measureAfter(ctx, func() bool { return n.Load() > 0 }, func() (tally, error) {
		before := n.Load()
		select {
		case err := <-ended:
			return tally{}, fmt.Errorf("it ended early: %w", err)
		case <-time.After(t.Length):
		}
		return tally{items: int(n.Load() - before)}, nil
	})
	cancel()
	wg.Wait()
	return s, err
}

// fillRaw adds n events, and makes a group that has them all before it.
func fillRaw(ctx context.Context, c rueidis.Client, n int) error {
	for ; n > 0; n -= 500 {
		cmds := make(rueidis.Commands, 500)
		for i := range cmds {
			cmds[i] = xadd(c)
		}
		for _, answer := range c.DoMulti(ctx, cmds...) {
			if err := answer.Error(); err != nil {
				return err
			}
		}
	}
	return c.Do(ctx, c.B().XgroupCreate().Key("events").Group("g").Id("0").Build()).Error()
}

func groupRaw(consumers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		c, err := t.rueidis(nil)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := fillRaw(ctx, c, t.enough(500_000)); err != nil {
			return nil, err
		}
		type consumer struct {
			name string
			acks []string
		}
		free := make(chan *consumer, consumers)
		for i := range consumers {
			free <- &consumer{name: strconv.Itoa(i)}
		}
		return t.floods(ctx, consumers, 100, func() error {
			me := <-free
			defer func() { free <- me }()
			cmds := make(rueidis.Commands, 0, 2)
			if len(me.acks) > 0 {
				cmds = append(cmds, c.B().Xack().Key("events").Group("g").Id(me.acks...).Build())
			}
			cmds = append(cmds, c.B().Xreadgroup().Group("g", me.name).Count(100).Streams().Key("events").Id(">").Build())
			answers := c.DoMulti(ctx, cmds...)
			if err := answers[0].Error(); err != nil && !rueidis.IsRedisNil(err) {
				return err
			}
			got, err := answers[len(answers)-1].AsXRead()
			if rueidis.IsRedisNil(err) {
				return errEmpty
			}
			if err != nil {
				return err
			}
			me.acks = me.acks[:0]
			for _, e := range got["events"] {
				me.acks = append(me.acks, e.ID)
			}
			return nil
		})
	}
}

func groupWatermill(subscribers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		if err := fillWatermill(ctx, t, t.enough(50_000)); err != nil {
			return nil, err
		}
		return t.counted(ctx, func(ctx context.Context, count func()) error {
			var wg sync.WaitGroup
			defer wg.Wait()
			for range subscribers {
				s, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: t.goRedis(), ConsumerGroup: "g"}, watermill.NopLogger{})
				if err != nil {
					return err
				}
				messages, err := s.Subscribe(ctx, "events")
				if err != nil {
					return err
				}
				wg.Go(func() {
					defer s.Close()
					for m := range messages {
						m.Ack()
						count()
					}
				})
			}
			return nil
		})
	}
}

// fillWatermill adds events as watermill's publisher does, but many in a trip.
func fillWatermill(ctx context.Context, t *trial, n int) error {
	c := t.goRedis()
	defer c.Close()
	for ; n > 0; n -= 500 {
		pipe := c.Pipeline()
		for range 500 {
			values, err := redisstream.DefaultMarshallerUnmarshaller{}.Marshal("events", message.NewMessage(watermill.NewUUID(), payload))
			if err != nil {
				return err
			}
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: "events", Values: values})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
