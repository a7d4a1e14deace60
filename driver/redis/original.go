package redis

import (
	"context"
	"encoding/json"

	"github.com/redis-process-worker/rpw"
)

// originalStreams refuses what a program of the original cannot read: it takes payloads for JSON, and an event of the type "complete" for the end of
// the stream.
type originalStreams struct{ rpw.StreamBus }

// Publish implements rpw.StreamBus.
func (o originalStreams) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	answers := make([]rpw.Published, len(batches))
	var good []rpw.Batch
	var places []int
	for i := range batches {
		if answers[i].Err = readable(&batches[i]); answers[i].Err == nil {
			good = append(good, batches[i])
			places = append(places, i)
		}
	}
	if len(good) == len(batches) {
		return o.StreamBus.Publish(ctx, batches)
	}
	if len(good) == 0 {
		return answers, ctx.Err()
	}
	published, err := o.StreamBus.Publish(ctx, good)
	if err != nil {
		return nil, err
	}
	for j, i := range places {
		answers[i] = published[j]
	}
	return answers, nil
}

// readable says why the original could not read a batch.
func readable(batch *rpw.Batch) error {
	for i := range batch.Events {
		e := &batch.Events[i]
		if e.Type == "complete" {
			return rpw.Errorf(rpw.ErrInvalid, "an event of the type %q ends the listeners of the original; use another type", e.Type)
		}
		if err := readableData(e.Data); err != nil {
			return err
		}
	}
	return nil
}

// readableData: the original writes nothing for undefined, and JSON else.
func readableData(data []byte) error {
	if len(data) > 0 && !json.Valid(data) {
		return rpw.Errorf(rpw.ErrInvalid, "the payload is no JSON, so the original cannot read it")
	}
	return nil
}

// originalCache refuses values that a program of the original cannot read.
type originalCache struct{ rpw.Cache }

// Set implements rpw.Cache.
func (o originalCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	errs := make([]error, len(items))
	var good []rpw.CacheSet
	var places []int
	for i := range items {
		if errs[i] = readableData(items[i].Data); errs[i] == nil {
			good = append(good, items[i])
			places = append(places, i)
		}
	}
	if len(good) == 0 {
		return errs, ctx.Err()
	}
	set, err := o.Cache.Set(ctx, good)
	if err != nil {
		return nil, err
	}
	for j, i := range places {
		errs[i] = set[j]
	}
	return errs, nil
}
