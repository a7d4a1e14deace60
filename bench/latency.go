package main

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/hibiken/asynq"
	"github.com/redis/rueidis"
)

// latency is what a single action or message waits for, when nobody has anything to do.
var latency = area{
	name:  "latency",
	title: "One action or message at a time, idle workers",
	notes: "From before the call that starts it until its handler begins, in the same process, with a pause of 2 ms before; 256 bytes. Commands are those of its whole life. " +
		"Idle workers: the commands that one sends without anything to do.",
	contestants: []contestant{
		{name: "PING", redis: true, run: latencyPing, about: "a round trip of rueidis on the same server"},
		{name: "raw PUBLISH to SUBSCRIBE", redis: true, run: latencyPubSub},
		{name: "raw XREADGROUP BLOCK", redis: true, run: latencyRaw},
		{name: "rpw", redis: true, run: latencyRPW},
		{name: "watermill", redis: true, run: latencyWatermill, about: "watermill-redisstream, its defaults"},
		{name: "BullMQ", redis: true, node: true, run: bullmq("latency"), about: "concurrency 1"},
		{name: "asynq", redis: true, run: latencyAsynq(0), about: "it looks for work once a second when idle, its default"},
		{name: "asynq, checks every 10 ms", redis: true, run: latencyAsynq(10 * time.Millisecond)},
		{name: "rpw, idle worker", redis: true, run: idleRPW},
		{name: "asynq, idle worker", redis: true, run: idleAsynq},
		{name: "watermill, idle subscriber", redis: true, run: idleWatermill},
	},
	targets: []target{
		{id: "idle-p50", what: "enqueue to handler start, idle worker, p50, to raw XREADGROUP BLOCK", metric: P50, of: "rpw", to: "raw XREADGROUP BLOCK", want: 1.3, beyond: 1, atMost: true},
		{id: "idle-cmds", what: "commands a second of an idle worker", metric: PerSecond, of: "rpw, idle worker", want: 2, beyond: 1, atMost: true},
	},
}

// oneByOne is a trial that does one thing at a time, after a pause; once returns when it arrived.
func (t *trial) oneByOne(ctx context.Context, length, pause time.Duration, once func() (time.Time, error)) (Sample, error) {
	loop := func(length time.Duration) (done tally, err error) {
		for end := time.Now().Add(length); time.Now().Before(end); done.items++ {
			time.Sleep(pause)
			began := time.Now()
			arrived, err := once()
			if err != nil {
				return done, err
			}
			done.took = append(done.took, arrived.Sub(began))
		}
		return done, nil
	}
	if _, err := loop(warmUp); err != nil {
		return nil, err
	}
	s, err := t.measure(ctx, func() (tally, error) { return loop(length) })
	delete(s, Rate) // the pauses make it
	return s, err
}

// calm is the pause before each call, so that all are idle again.
const calm = 2 * time.Millisecond

// arrivals carries the time of an arrival from a handler to the one who waits for it.
type arrivals chan time.Time

func (a arrivals) now() { a <- time.Now() }

func latencyRPW(ctx context.Context, t *trial) (Sample, error) {
	hub, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	began := make(arrivals, 1)
	stop, err := work(ctx, hub, 1, began.now)
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.oneByOne(ctx, t.Length, calm, func() (time.Time, error) {
		if _, err := noop.Start(ctx, hub, payload); err != nil {
			return time.Time{}, err
		}
		return <-began, nil
	})
}

func latencyPing(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return t.oneByOne(ctx, t.Length, calm, func() (time.Time, error) {
		err := c.Do(ctx, c.B().Ping().Build()).Error()
		return time.Now(), err
	})
}

func latencyPubSub(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	got := make(arrivals, 1)
	sub, done := c.Dedicate()
	defer done()
	sub.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(rueidis.PubSubMessage) { got.now() }})
	if err := sub.Do(ctx, sub.B().Subscribe().Channel("bell").Build()).Error(); err != nil {
		return nil, err
	}
	return t.oneByOne(ctx, t.Length, calm, func() (time.Time, error) {
		if err := c.Do(ctx, c.B().Publish().Channel("bell").Message(rueidis.BinaryString(payload)).Build()).Error(); err != nil {
			return time.Time{}, err
		}
		return <-got, nil
	})
}

func latencyRaw(ctx context.Context, t *trial) (Sample, error) {
	c, err := t.rueidis(nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	began := make(arrivals, 1)
	stop, err := t.readGroup(ctx, 1, began.now)
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.oneByOne(ctx, t.Length, calm, func() (time.Time, error) {
		if err := c.Do(ctx, xadd(c)).Error(); err != nil {
			return time.Time{}, err
		}
		return <-began, nil
	})
}

// subscribeWatermill handles messages as a group of one until it is stopped.
func (t *trial) subscribeWatermill(ctx context.Context, handle func()) (stop func(), err error) {
	s, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: t.goRedis(), ConsumerGroup: "g"}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	messages, err := s.Subscribe(ctx, "events")
	if err != nil {
		cancel()
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for m := range messages {
			handle()
			m.Ack()
		}
	})
	return func() {
		cancel()
		s.Close()
		wg.Wait()
	}, nil
}

func latencyWatermill(ctx context.Context, t *trial) (Sample, error) {
	began := make(arrivals, 1)
	stop, err := t.subscribeWatermill(ctx, began.now)
	if err != nil {
		return nil, err
	}
	defer stop()
	p, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: t.goRedis()}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return t.oneByOne(ctx, t.Length, calm, func() (time.Time, error) {
		if err := p.Publish("events", message.NewMessage(watermill.NewUUID(), payload)); err != nil {
			return time.Time{}, err
		}
		return <-began, nil
	})
}

func latencyAsynq(check time.Duration) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		began := make(arrivals, 1)
		stop, err := t.serveAsynq(asynq.Config{Concurrency: 1, TaskCheckInterval: check}, func(*asynq.Task) error {
			began.now()
			return nil
		})
		if err != nil {
			return nil, err
		}
		defer stop()
		c := asynq.NewClient(asynq.RedisClientOpt{Addr: t.Addr})
		defer c.Close()
		return t.oneByOne(ctx, max(t.Length, 3*time.Second), calm, func() (time.Time, error) {
			if _, err := c.EnqueueContext(ctx, asynq.NewTask("noop", payload)); err != nil {
				return time.Time{}, err
			}
			return <-began, nil
		})
	}
}

// idle counts the commands of a worker that has nothing to do.
func (t *trial) idle(ctx context.Context) (Sample, error) {
	length := max(8*t.Length, 5*time.Second) // what comes every few seconds is in it
	select {                                 // what it does at its start is over
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	before, err := usageOf(ctx, t.Addr)
	if err != nil {
		return nil, err
	}
	time.Sleep(length)
	after, err := usageOf(ctx, t.Addr)
	if err != nil {
		return nil, err
	}
	return Sample{PerSecond: (after.commands - before.commands) / length.Seconds()}, nil
}

func idleRPW(ctx context.Context, t *trial) (Sample, error) {
	hub, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	stop, err := work(ctx, hub, slots, func() {})
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.idle(ctx)
}

func idleAsynq(ctx context.Context, t *trial) (Sample, error) {
	stop, err := t.serveAsynq(asynq.Config{Concurrency: slots}, func(*asynq.Task) error { return nil })
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.idle(ctx)
}

func idleWatermill(ctx context.Context, t *trial) (Sample, error) {
	stop, err := t.subscribeWatermill(ctx, func() {})
	if err != nil {
		return nil, err
	}
	defer stop()
	return t.idle(ctx)
}
