package main

import (
	"context"
	"fmt"
	"time"

	"github.com/centrifugal/centrifuge"
)

// newNode is a node of centrifuge whose clients are subscribed to "events" from their start. It gathers what it sends to a client for the delay.
func newNode(delay time.Duration) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: 64 << 20})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{"events": {}},
			WriteDelay:    delay,
		}, nil
	})
	return node, node.Run()
}

// countingTransport is a client in the same process; it counts what it is sent.
type countingTransport struct{ reader *reader }

func (c countingTransport) Write([]byte) error {
	c.reader.got.Add(1)
	return nil
}

func (c countingTransport) WriteMany(messages ...[]byte) error {
	c.reader.got.Add(int64(len(messages)))
	return nil
}

func (countingTransport) Name() string                      { return "counting" }
func (countingTransport) AcceptProtocol() string            { return "" }
func (countingTransport) Protocol() centrifuge.ProtocolType { return centrifuge.ProtocolTypeJSON }
func (countingTransport) ProtocolVersion() centrifuge.ProtocolVersion {
	return centrifuge.ProtocolVersion2
}
func (countingTransport) Unidirectional() bool      { return true }
func (countingTransport) Emulation() bool           { return false }
func (countingTransport) DisabledPushFlags() uint64 { return centrifuge.PushFlagConnect }
func (countingTransport) PingPongConfig() centrifuge.PingPongConfig {
	return centrifuge.PingPongConfig{PingInterval: time.Hour, PongTimeout: time.Minute}
}
func (countingTransport) Close(centrifuge.Disconnect) error { return nil }

func memoryCentrifuge(subscribers int) func(context.Context, *trial) (Sample, error) {
	return func(ctx context.Context, t *trial) (Sample, error) {
		node, err := newNode(0)
		if err != nil {
			return nil, err
		}
		defer node.Shutdown(context.Background())
		readers := newReaders(subscribers)
		for _, r := range readers {
			client, _, err := centrifuge.NewClient(ctx, node, countingTransport{r})
			if err != nil {
				return nil, err
			}
			client.Connect(centrifuge.ConnectRequest{})
		}
		if n := node.Hub().NumSubscribers("events"); n != subscribers {
			return nil, fmt.Errorf("centrifuge has %d subscribers", n)
		}
		return t.fanOut(ctx, readers, func() error {
			_, err := node.Publish("events", payload)
			return err
		})
	}
}
