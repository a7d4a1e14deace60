package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// desk is where the claims of this process that wait for the same queues take turns: one of them watches for all, so that news makes one
// of them look, not every one.
type desk struct {
	name  string
	turn  chan view // holds what was seen last, while nobody has the turn
	watch *watch    // of who has the turn; nil: none yet
	seats int       // guarded by the mutex of the actionStore
}

// sit joins the desk of some queues, in any order of these.
func (a *actionStore) sit(queues []string) *desk {
	name := queues[0]
	if len(queues) > 1 {
		name = strings.Join(slices.Sorted(slices.Values(queues)), "\n")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.desks[name]
	if d == nil {
		d = &desk{name: name, turn: make(chan view, 1)}
		d.turn <- view{look: true}
		a.desks[name] = d
	}
	d.seats++
	return d
}

// leave leaves a desk; the last one closes it.
func (a *actionStore) leave(d *desk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d.seats--; d.seats == 0 {
		delete(a.desks, d.name)
		if d.watch != nil {
			d.watch.close()
		}
	}
}

// awaitClaim claims, waiting for its turn and then for something to claim.
func (a *actionStore) awaitClaim(ctx context.Context, req rpw.ClaimRequest, p patience) ([]rpw.Claimed, error) {
	d := a.sit(req.Queues)
	defer a.leave(d)
	over, stop := timer(p.left())
	defer stop()
	var seen view
	select {
	case seen = <-d.turn:
		seen.look = true
	default: // others wait: a look before the wait for the turn
		if claimed, now, err := a.claim(ctx, req, noSeat); len(claimed) > 0 || err != nil || now.over {
			return claimed, err
		}
		select {
		case seen = <-d.turn:
		case <-over:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() { d.turn <- seen }()
	if d.watch == nil {
		channels := a.queueChannels(req.Queues)
		if !a.waker.listens(channels...) { // a look before that is waited for
			if claimed, now, err := a.claim(ctx, req, noSeat); len(claimed) > 0 || err != nil || now.over {
				return claimed, err
			}
		}
		w, err := a.waker.watch(ctx, channels...)
		if err != nil {
			return nil, err
		}
		d.watch, seen.look = w, true
	}
	seat := a.seatOf(req)
	var given <-chan string
	if seat != noSeat {
		lane := laneText(req.Lane)
		given = a.waker.sit(lane)
		defer a.waker.rise(lane)
	}
	var looked time.Time
	sat := false
	for {
		if seen.look {
			looked = time.Now()
			claimed, now, err := a.claim(ctx, req, seat)
			if err != nil {
				return nil, a.unseated(req, seat, sat, err)
			}
			seen, sat = now, true
			if len(claimed) > 0 || now.over {
				return claimed, nil
			}
			if seen.look { // ready, but others took it
				continue
			}
		}
		news, ended, err := d.watch.until(ctx, given, seen.due, over)
		switch {
		case err != nil:
			a.withdraw(req, seat)
			return nil, err
		case ended && seat != noSeat:
			claimed, _, err := a.claim(ctx, req, noSeat) // what it was given meanwhile, and it leaves its seat
			if err != nil {
				err = a.unseated(req, seat, sat, err)
			}
			return claimed, err
		case ended:
			return nil, nil
		}
		if given, ok := readGiven(req, news); ok && age(time.Now(), looked) < warm+maxGivenAge {
			return given, nil
		}
		if len(req.Queues) > 1 || !seen.hear(news) { // the news of one queue may have taken the place of another's
			seen.look = true
		}
	}
}

func (a *actionStore) queueChannels(queues []string) []string {
	channels := make([]string, len(queues))
	for i, queue := range queues {
		channels[i] = a.keys.channel(queueChannel, queue)
	}
	return channels
}

// hear learns from the text of save of lua/core_actions.lua; false: it says nothing.
func (v *view) hear(news string) bool {
	ready, due, ok := strings.Cut(news, " ")
	if !ok || ready != "0" {
		return false
	}
	us, err := strconv.ParseInt(due, 10, 64)
	if err != nil {
		return false
	}
	*v = view{due: dueIn(us)}
	return true
}

// timer is a channel that tells when d has passed; rpw.Forever: never.
func timer(d time.Duration) (<-chan time.Time, func() bool) {
	if d == rpw.Forever {
		return nil, func() bool { return true }
	}
	t := time.NewTimer(d)
	return t.C, t.Stop
}
