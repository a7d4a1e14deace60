package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// publish is the way into a stream.
var publish = area{
	name:  "publish",
	title: "Publish to one stream",
	notes: "256 bytes an event. Without more said, 64 goroutines publish one event a call and wait for its answer, to a stream that has a million events, as many as rpw keeps; " +
		"a new one has none. rpw checks for repeats and bounds the stream, which the others do not; it has one subscriber, in the same process, whose work is within its figures.",
	contestants: []contestant{
		{name: "watermill Publish", redis: true, run: publishWatermill, about: "watermill-redisstream, its marshaller; a connection for each of the 64 callers"},
		{name: "rueidis XADD", redis: true, run: publishRueidis(0, true), about: "the limit: an XADD a call, pipelined by the client"},
		{name: "rpw", redis: true, run: publishRPW(1, true)},
		{name: "asynq Enqueue", redis: true, run: publishAsynq, about: "a connection for each of the 64 callers"},
		{name: "go-redis XADD", redis: true, run: publishGoRedis, about: "a connection for each of the 64 callers"},
		{name: "rpw, no subscriber", redis: true, run: publishRPW(0, true)},
		{name: "rueidis XADD, flush delay", redis: true, run: publishRueidis(20*time.Microsecond, true), about: "the same with MaxFlushDelay 20 µs"},
		{name: "BullMQ add", redis: true, node: true, run: bullmq("add"), about: "64 promises at a time"},
		{name: "rpw, batch of 100", redis: true, run: publishRPWBatch, about: "one caller"},
		{name: "rueidis DoMulti 100", redis: true, run: publishRueidisBatch, about: "one caller"},
		{name: "rpw, new", redis: true, run: publishRPW(1, false)},
		{name: "rueidis XADD, new", redis: true, run: publishRueidis(0, false)},
	},
	targets: []target{
		{id: "pub-raw", what: "publish, 64 callers, to rueidis XADD", metric: Rate, of: "rpw", to: "rueidis XADD", want: 1.1, beyond: 1.8},
		{id: "pub-watermill", what: "the same to watermill", metric: Rate, of: "rpw", to: "watermill Publish", want: 4, beyond: 6},
		{id: "pub-asynq", what: "the same to asynq Enqueue", metric: Rate, of: "rpw", to: "asynq Enqueue", want: 4.5, beyond: 6},
		{id: "pub-batch", what: "batches of 100, 1 caller, to DoMulti of 100", metric: Rate, of: "rpw, batch of 100", to: "rueidis DoMulti 100", want: 0.8, beyond: 0.95},
	},
}

// events is the stream of all these benchmarks.
var events = rpw.StreamOf[json.RawMessage]("events")

func publishRPW(subscribers int, full bool) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		hub, err := t.open(ctx)
		if err != nil {
			return nil, err
		}
		defer hub.Close()
		if full {
			if err := t.fill(ctx, hub, 1); err != nil {
				return nil, err
			}
		}
		for range subscribers {
			stop, err := follow(ctx, hub, events, func() {})
			if err != nil {
				return nil, err
			}
			defer stop()
		}
		return t.floods(ctx, callers, 1, func() error {
			_, err := events.PublishBatch(ctx, hub, rpw.NewEvent{Type: "t", Data: payload})
			return err
		})
	}
}

// follow subscribes to a stream from now on, and calls got for each event until it is stopped.
func follow(ctx context.Context, hub *rpw.Hub, s rpw.Stream[json.RawMessage], got func()) (stop func(), err error) {
	sub, err := s.Subscribe(ctx, hub, rpw.Newest())
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := sub.Next(ctx); err != nil {
				return
			}
			got()
		}
	}()
	return func() {
		sub.Close()
		<-ended
	}, nil
}

func publishRPWBatch(ctx context.Context, t *trial) (Sample, error) {
	hub, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	if err := t.fill(ctx, hub, 1); err != nil {
		return nil, err
	}
	batch := slices.Repeat([]rpw.NewEvent{{Type: "t", Data: payload}}, 100)
	return t.floods(ctx, 1, len(batch), func() error {
		_, err := events.PublishBatch(ctx, hub, batch...)
		return err
	})
}

func xadd(c rueidis.Client) rueidis.Completed {
	return c.B().Xadd().Key("events").Id("*").FieldValue().FieldValue("d", rueidis.BinaryString(payload)).Build()
}

func publishRueidis(flushDelay time.Duration, full bool) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		if full {
			if err := t.fillRaw(ctx); err != nil {
				return nil, err
			}
		}
		c, err := t.rueidis(func(o *rueidis.ClientOption) { o.MaxFlushDelay = flushDelay })
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return t.floods(ctx, callers, 1, func() error { return c.Do(ctx, xadd(c)).Error() })
	}
}

func publishRueidisBatch(ctx context.Context, t *trial) (Sample, error) {
	if err := t.fillRaw(ctx); err != nil {
		return nil, err
	}
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return t.floods(ctx, 1, 100, func() error {
		cmds := make(rueidis.Commands, 100)
		for i := range cmds {
			cmds[i] = xadd(c)
		}
		for _, answer := range c.DoMulti(ctx, cmds...) {
			if err := answer.Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

func publishGoRedis(ctx context.Context, t *trial) (Sample, error) {
	if err := t.fillRaw(ctx); err != nil {
		return nil, err
	}
	c := t.goRedis()
	defer c.Close()
	return t.floods(ctx, callers, 1, func() error {
		return c.XAdd(ctx, &redis.XAddArgs{Stream: "events", Values: []any{"d", payload}}).Err()
	})
}

func publishAsynq(ctx context.Context, t *trial) (Sample, error) {
	c := asynq.NewClient(asynq.RedisClientOpt{Addr: t.Addr, PoolSize: callers})
	defer c.Close()
	return t.floods(ctx, callers, 1, func() error {
		_, err := c.EnqueueContext(ctx, asynq.NewTask("noop", payload))
		return err
	})
}

func publishWatermill(ctx context.Context, t *trial) (Sample, error) {
	if err := t.fillRaw(ctx); err != nil {
		return nil, err
	}
	p, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: t.goRedis()}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return t.floods(ctx, callers, 1, func() error {
		return p.Publish("events", message.NewMessage(watermill.NewUUID(), payload))
	})
}
