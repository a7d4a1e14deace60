package main

import (
	"context"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// Streams and logs are measured as they are after some time: full, with as many events as rpw keeps by default. Before that what is measured is for a good part how fast the
// kernel makes new memory, on both sides; contestants that are called new begin with nothing.

// fill publishes as many events as rpw keeps, so many times, and some more: it takes them away in slices.
func (t *trial) fill(ctx context.Context, hub *rpw.Hub, turns int) error {
	if t.Quick {
		return nil
	}
	batch := slices.Repeat([]rpw.NewEvent{{Type: "t", Data: payload}}, 500)
	for range (turns*rpw.DefaultKeepEvents + rpw.DefaultKeepEvents/50) / len(batch) {
		if _, err := events.PublishBatch(ctx, hub, batch...); err != nil {
			return err
		}
	}
	return nil
}

// fillRaw adds as many events to the stream that contestants without rpw add to.
func (t *trial) fillRaw(ctx context.Context) error {
	if t.Quick {
		return nil
	}
	c, err := t.rueidis(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	const slice = 10_000
	add := rueidis.NewLuaScript("for i = 1, ARGV[2] do redis.call('XADD', KEYS[1], '*', 'd', ARGV[1]) end")
	for range rpw.DefaultKeepEvents / slice {
		answer := add.Exec(ctx, c, []string{"events"}, []string{rueidis.BinaryString(payload), strconv.Itoa(slice)})
		if err := answer.Error(); err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
	}
	return nil
}
