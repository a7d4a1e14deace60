package main

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/mempubsub"

	"github.com/redis-process-worker/rpw"
)

// memoryArea is publish and subscribe within one process.
var memoryArea = area{
	name:  "memory",
	title: "In one process: deliveries to 1 and to 10 subscribers",
	notes: "256 bytes; one publisher, at most 4,096 events ahead of the slowest subscriber, which gets every event. rpw keeps a million events, its default, checks " +
		"for repeats and decodes JSON. What keeps events has gone round three times before, but where it is new. Latency is that of the call that publishes.",
	contestants: []contestant{
		{name: "rpw, 1", run: memoryRPW(1, true)},
		{name: "plain log, 1", run: memoryPlainLog(1, 1<<16), about: "a ring of 65,536 under one lock, read in pages by cursors: nothing is checked"},
		{name: "centrifuge, 1", run: memoryCentrifuge(1), about: "a node with clients on a transport that only counts: nothing is kept"},
		{name: "Go channels, 1", run: memoryChannels(1), about: "a channel for each subscriber: nothing is kept"},
		{name: "rpw pages, 1", run: memoryRPWPages(1), about: "StreamBus.Read in a loop: nothing is decoded"},
		{name: "watermill gochannel, 1", run: memoryGoChannel(1), about: "each message is acknowledged, in order"},
		{name: "gocloud mempubsub, 1", run: memoryGoCloud(1), about: "each message is acknowledged"},
		{name: "rpw, 1, new", run: memoryRPW(1, false), about: "the stream is empty at the start, so its memory is new"},
		{name: "large plain log, 1", run: memoryPlainLog(1, rpw.DefaultKeepEvents), about: "it keeps as many events as rpw"},
		{name: "rpw, 10", run: memoryRPW(10, true)},
		{name: "centrifuge, 10", run: memoryCentrifuge(10)},
		{name: "plain log, 10", run: memoryPlainLog(10, 1<<16)},
		{name: "Go channels, 10", run: memoryChannels(10)},
		{name: "rpw pages, 10", run: memoryRPWPages(10)},
		{name: "watermill gochannel, 10", run: memoryGoChannel(10)},
		{name: "gocloud mempubsub, 10", run: memoryGoCloud(10)},
		{name: "rpw, 10, new", run: memoryRPW(10, false)},
	},
	targets: []target{
		{id: "mem-1", what: "memory, 1 subscriber, to a plain log with cursors", metric: Rate, of: "rpw, 1", to: "plain log, 1", want: 0.4, beyond: 0.7},
		{id: "mem-10", what: "memory, 10 subscribers, to centrifuge's node", metric: Rate, of: "rpw, 10", to: "centrifuge, 10", want: 3, beyond: 6},
	},
}

func newReaders(n int) []*reader {
	readers := make([]*reader, n)
	for i := range readers {
		readers[i] = new(reader)
	}
	return readers
}

// turns is how often a log has gone round before it is measured: then its memory is not new, nor what the collector lets grow beside it.
const turns = 3

func memoryRPW(subscribers int, full bool) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		hub, err := rpw.Open(ctx, "memory://")
		if err != nil {
			return nil, err
		}
		defer hub.Close()
		if full {
			if err := t.fill(ctx, hub, turns); err != nil {
				return nil, err
			}
		}
		readers := newReaders(subscribers)
		for _, r := range readers {
			if _, err := follow(ctx, hub, events, func() { r.got.Add(1) }); err != nil {
				return nil, err
			}
		}
		return t.fanOut(ctx, readers, func() error {
			_, err := events.PublishBatch(ctx, hub, rpw.NewEvent{Type: "t", Data: payload})
			return err
		})
	}
}

func memoryRPWPages(subscribers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		hub, err := rpw.Open(ctx, "memory://")
		if err != nil {
			return nil, err
		}
		defer hub.Close()
		if err := t.fill(ctx, hub, turns); err != nil {
			return nil, err
		}
		readers := newReaders(subscribers)
		for _, r := range readers {
			at, err := hub.Streams().Locate(ctx, events.Name(), rpw.Newest())
			if err != nil {
				return nil, err
			}
			go func() {
				for {
					page, err := hub.Streams().Read(ctx, rpw.ReadRequest{Stream: events.Name(), After: at, Wait: rpw.Forever})
					if err != nil {
						return
					}
					if len(page) > 0 {
						at = page[len(page)-1].Position()
						r.got.Add(int64(len(page)))
					}
				}
			}()
		}
		return t.fanOut(ctx, readers, func() error {
			_, err := events.PublishBatch(ctx, hub, rpw.NewEvent{Type: "t", Data: payload})
			return err
		})
	}
}

// plainLog is the least that a stream is: the newest events, and readers with cursors.
type plainLog struct {
	mu     sync.Mutex
	more   *sync.Cond
	ring   [][]byte
	length int
}

func (l *plainLog) publish(data []byte) {
	l.mu.Lock()
	l.ring[l.length%len(l.ring)] = append([]byte(nil), data...)
	l.length++
	l.mu.Unlock()
	l.more.Broadcast()
}

// read waits for events after at, and returns at most a page of them.
func (l *plainLog) read(at int, page [][]byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at == l.length {
		l.more.Wait()
	}
	for ; at < l.length && len(page) < cap(page); at++ {
		page = append(page, l.ring[at%len(l.ring)])
	}
	return page
}

func memoryPlainLog(subscribers, keeps int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		l := &plainLog{ring: make([][]byte, keeps)}
		l.more = sync.NewCond(&l.mu)
		for range turns * keeps {
			l.publish(payload)
		}
		end := l.length
		readers := newReaders(subscribers)
		for _, r := range readers {
			go func() {
				page := make([][]byte, 0, 256)
				for at := end; ; {
					n := len(l.read(at, page))
					at += n
					r.got.Add(int64(n))
				}
			}()
		}
		return t.fanOut(ctx, readers, func() error {
			l.publish(payload)
			return nil
		})
	}
}

func memoryChannels(subscribers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		readers := newReaders(subscribers)
		channels := make([]chan []byte, subscribers)
		for i, r := range readers {
			channels[i] = make(chan []byte, 1024)
			go func() {
				for range channels[i] {
					r.got.Add(1)
				}
			}()
		}
		return t.fanOut(ctx, readers, func() error {
			for _, c := range channels {
				c <- payload
			}
			return nil
		})
	}
}

func memoryGoChannel(subscribers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		ps := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1024}, watermill.NopLogger{})
		defer ps.Close()
		readers := newReaders(subscribers)
		for _, r := range readers {
			messages, err := ps.Subscribe(ctx, "events")
			if err != nil {
				return nil, err
			}
			go func() {
				for m := range messages {
					m.Ack()
					r.got.Add(1)
				}
			}()
		}
		return t.fanOut(ctx, readers, func() error {
			return ps.Publish("events", message.NewMessage(watermill.NewUUID(), payload))
		})
	}
}

func memoryGoCloud(subscribers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		topic := mempubsub.NewTopic()
		readers := newReaders(subscribers)
		for _, r := range readers {
			sub := mempubsub.NewSubscription(topic, time.Minute)
			go func() {
				for {
					m, err := sub.Receive(ctx)
					if err != nil {
						return
					}
					m.Ack()
					r.got.Add(1)
				}
			}()
		}
		return t.fanOut(ctx, readers, func() error {
			return topic.Send(ctx, &pubsub.Message{Body: payload})
		})
	}
}
