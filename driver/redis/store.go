package redis

import (
	"context"
	"errors"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// store is a backend: what all contracts share.
type store struct {
	client rueidis.Client
	keys   keyspace
	waker  *waker
	near   *near // nil: none
	*sender
	rights rights
	opt    Options
}

func newStore(client rueidis.Client, keys keyspace, opt Options) *store {
	s := &store{client: client, keys: keys, sender: opt.sender, opt: opt, waker: newWaker(client, keys, opt)}
	if opt.NearCache > 0 {
		s.near = newNear(s, s.read)
	}
	if !opt.IgnoreForeign {
		s.waker.others = &foreign{store: s, known: make(map[string]string)}
	}
	return s
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
	return s.fault(ctx, s.send(bounded, s.client, s.client.B().Ping().Build())[0].Error(), false)
}

// close ends what the store runs; the client is its owner's.
func (s *store) close(ctx context.Context) error {
	err := s.waker.close(ctx)
	if s.near != nil {
		err = errors.Join(err, s.near.close(ctx))
	}
	return errors.Join(err, s.sender.close(ctx))
}

// clustered says whether keys are spread over the nodes of a cluster, by their slots.
func (s *store) clustered() bool { return s.client.Mode() == rueidis.ClientModeCluster }
