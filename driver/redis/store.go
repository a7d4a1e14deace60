package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// store is a backend: what all contracts share.
type store struct {
	client rueidis.Client
	keys   keyspace
	waker  *waker
	opt    options
}

// options are the settings of a store, checked and with their defaults.
type options struct {
	timeout  time.Duration    // of one round trip
	replicas int              // that must have a write before it is acknowledged; 0: none
	notify   func(rpw.Notice) // never nil
}

func newStore(client rueidis.Client, keys keyspace, opt options) *store {
	return &store{client: client, keys: keys, opt: opt, waker: newWaker(client, opt)}
}

func (s *store) parts() rpw.Parts {
	actions := s.actions()
	return rpw.Parts{
		Name:    "redis",
		Streams: s.streams(),
		Cache:   cache{s},
		Actions: actions,
		Health:  s.health,
		Close:   func(ctx context.Context) error { return errors.Join(actions.close(ctx), s.close(ctx)) },
		Native:  s.client,
	}
}

// health asks the server, by the way that all calls take, for a sign of life.
func (s *store) health(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	return classify(ctx, s.client.Do(bounded, s.client.B().Ping().Build()).Error(), false)
}

// close ends what the store runs; the client is its owner's.
func (s *store) close(ctx context.Context) error { return s.waker.close(ctx) }

// clustered says whether keys are spread over the nodes of a cluster, by their slots.
func (s *store) clustered() bool { return s.client.Mode() == rueidis.ClientModeCluster }
