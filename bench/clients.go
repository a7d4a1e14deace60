package main

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
	_ "github.com/redis-process-worker/rpw/driver/redis"
)

// open is a Hub on the trial's Redis, with the defaults.
func (t *trial) open(ctx context.Context) (*rpw.Hub, error) {
	return rpw.Open(ctx, "redis://"+t.Addr)
}

// rueidis is a client with its defaults, changed by change, which may be nil.
func (t *trial) rueidis(change func(*rueidis.ClientOption)) (rueidis.Client, error) {
	opt := rueidis.ClientOption{InitAddress: []string{t.Addr}}
	if change != nil {
		change(&opt)
	}
	return rueidis.NewClient(opt)
}

// goRedis is a client with its defaults, but a connection for each caller.
func (t *trial) goRedis() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: t.Addr, PoolSize: callers})
}

// callers is how many goroutines call at the same time, where many do.
const callers = 64
