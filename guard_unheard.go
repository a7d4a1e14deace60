package rpw

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// unheard are the fetches of unknown outcome. A store tells a gap once, and such a fetch may have been told one: so the next fetch of its consumer first makes
// it again, on its lane, and what it leased is handed back.
type unheard struct {
	mu         sync.Mutex
	byConsumer map[fetcher][]*unheardFetch
}

// unheardMost bounds the consumers of which it is remembered: some never come back.
const unheardMost = 1000

type fetcher struct{ stream, group, consumer string }

func (req *FetchRequest) fetcher() fetcher { return fetcher{req.Stream, req.Group, req.Consumer} }

type unheardFetch struct {
	req   FetchRequest
	turn  chan struct{} // holds a token of who asks; it guards the rest
	heard bool
	gap   *GapError
}

// add remembers a fetch; nil if there are too many.
func (u *unheard) add(req FetchRequest) *unheardFetch {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byConsumer == nil {
		u.byConsumer = make(map[fetcher][]*unheardFetch)
	}
	if len(u.byConsumer) >= unheardMost {
		return nil
	}
	missed := &unheardFetch{req: req, turn: make(chan struct{}, 1)}
	u.byConsumer[req.fetcher()] = append(u.byConsumer[req.fetcher()], missed)
	return missed
}

// first is the oldest one of a consumer, nil if there is none.
func (u *unheard) first(who fetcher) *unheardFetch {
	u.mu.Lock()
	defer u.mu.Unlock()
	if calls := u.byConsumer[who]; len(calls) > 0 {
		return calls[0]
	}
	return nil
}

// remove forgets a fetch, and reports whether it was there.
func (u *unheard) remove(missed *unheardFetch) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	who := missed.req.fetcher()
	i := slices.Index(u.byConsumer[who], missed)
	if i < 0 {
		return false
	}
	if u.byConsumer[who] = slices.Delete(u.byConsumer[who], i, i+1); len(u.byConsumer[who]) == 0 {
		delete(u.byConsumer, who)
	}
	return true
}

// hear asks what the fetch was answered, unless that is known. It returns an error if it is not known then.
func (f *unheardFetch) hear(ctx context.Context, ask func() error) error {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.turn }()
	if f.heard {
		return nil
	}
	err := ask()
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain)) {
		return err
	}
	f.heard = true // also if the store refuses it now: its group is gone, say, as the next fetch will see
	f.gap, _ = errors.AsType[*GapError](err)
	return nil
}

// hear asks what the fetches of unknown outcome of a consumer were answered. It returns their gap.
func (g guardedStreams) hear(ctx context.Context, c call, who fetcher) error {
	c.waits = false
	for ctx != nil {
		missed := g.h.unheard.first(who)
		if missed == nil {
			break
		}
		err := missed.hear(ctx, func() error {
			_, err := invoke(ctx, c, g.h.parts.Streams, func(bus StreamBus, ctx context.Context, req FetchRequest) (struct{}, error) {
				return struct{}{}, release(ctx, bus, req)
			}, missed.req)
			return err
		})
		if err != nil {
			return err
		}
		if g.h.unheard.remove(missed) && missed.gap != nil {
			return missed.gap
		}
	}
	return nil
}
