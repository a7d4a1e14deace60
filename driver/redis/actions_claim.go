package redis

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var claimScript = newActionScript("actions_claim.lua", "careful_claim.lua", []string{actionPrelude, actionCore, actionBundles, actionLots}, actionLanes, actionDescribe)

// Claim leases actions that can run, waiting for some if asked to.
func (a *actionStore) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := patience{req.Wait, time.Now()}
	req.Max = pageSize(req.Max, 1)
	req.Lease = cmp.Or(req.Lease, rpw.DefaultLease)
	req.Queues = unique(req.Queues)
	if req.Wait > 0 {
		return a.awaitClaim(ctx, req, p)
	}
	claimed, _, err := a.claim(ctx, req, noSeat)
	return claimed, err
}

// unique returns a list without what comes in it a second time.
func unique(names []string) []string {
	var own []string
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			if own == nil {
				own = slices.Clone(names[:i])
			}
		} else if own != nil {
			own = append(own, name)
		}
	}
	if own == nil {
		return names
	}
	return own
}

// view is what a claim has seen of its queues.
type view struct {
	look bool      // something is ready, or may be
	due  time.Time // when to look again; zero: not before somebody calls
	over bool      // the call is a repeat, and holds nothing of its answer any more: the caller goes on
}

// more adds what was seen of another queue.
func (v *view) more(look bool, due time.Time) {
	v.look = v.look || look
	if v.due.IsZero() || !due.IsZero() && due.Before(v.due) {
		v.due = due
	}
}

// claim takes what is ready now. Several queues are looked at in one pipeline before any of them is claimed from, since the
// call may be the repeat of one that was answered: then its answer is given again. A queue that cannot be reached, on a node that is gone, holds up
// no other; it is told of once there is nothing to give. What a call before may have claimed from it comes back when its lease ends.
// seat is the channel to tell it on, if it waits and nothing is ready.
func (a *actionStore) claim(ctx context.Context, req rpw.ClaimRequest, seat string) ([]rpw.Claimed, view, error) {
	if len(req.Queues) == 1 {
		one := a.claimFrom(ctx, req, req.Queues, []int{req.Max}, seat)[0]
		return one.claimed, one.view, one.err
	}
	looks := a.claimFrom(ctx, req, req.Queues, make([]int, len(req.Queues)), noSeat)
	var recalled, claimed []rpw.Claimed
	var seen view
	var queues []string
	var shares []int
	var failed error
	left := req.Max
	for i, look := range looks {
		if look.err != nil {
			failed = cmp.Or(failed, look.err)
			continue
		}
		recalled = append(recalled, look.claimed...)
		if n := min(look.ready, left); n > 0 {
			queues, shares = append(queues, req.Queues[i]), append(shares, n)
			left -= n
		}
		seen.more(look.look, look.due)
	}
	if repeat := slices.ContainsFunc(looks, func(l claimAnswer) bool { return l.repeat }); repeat || len(queues) == 0 {
		claimed, seen.over = recalled, repeat && len(recalled) == 0
	} else {
		seen = view{look: true}
		for _, part := range a.claimFrom(ctx, req, queues, shares, noSeat) {
			claimed = append(claimed, part.claimed...)
			failed = cmp.Or(failed, part.err)
		}
	}
	if len(claimed) > 0 {
		failed = nil // what was claimed is told; the rest comes back when its lease ends
	}
	return claimed, seen, failed
}

// claimAnswer is what one queue answered.
type claimAnswer struct {
	view
	ready   int  // actions that are ready still
	repeat  bool // the call was answered before: claimed is that answer, as far as it still holds
	claimed []rpw.Claimed
	err     error
}

// claimFrom claims from queues, at most so many of each; 0 only looks, -1 withdraws.
func (a *actionStore) claimFrom(ctx context.Context, req rpw.ClaimRequest, queues []string, most []int, seat string) []claimAnswer {
	calls := make([]queueCall, len(queues))
	lease, lane := strconv.FormatInt(micros(req.Lease), 10), laneText(req.Lane)
	size := strconv.Itoa(rpw.MaxBatchBytes / len(queues))
	for i, queue := range queues {
		calls[i] = queueCall{queue, claimLane, req.Lane, []string{req.Worker, strconv.Itoa(most[i]), lease, lane, seat, size}}
	}
	answers := make([]claimAnswer, len(queues))
	for i, got := range a.runAll(ctx, claimScript, calls) {
		if answers[i].err = got.err; got.err == nil {
			answers[i].read(queues[i], got.values)
		}
	}
	return answers
}

func (c *claimAnswer) read(queue string, values []rueidis.RedisMessage) {
	c.ready = int(number(&values[0]))
	c.look, c.due = c.ready > 0, dueIn(number(&values[1]))
	c.repeat = number(&values[2]) == 1
	values = values[3:]
	c.claimed = make([]rpw.Claimed, 0, len(values)/describedValues)
	for ; len(values) > 0; values = values[describedValues:] {
		if hasNoSpec(values) {
			continue
		}
		c.claimed = append(c.claimed, rpw.Claimed{})
		one := &c.claimed[len(c.claimed)-1]
		token, _, err := readAction(&one.Action, queue, values, false)
		if err != nil {
			c.err = err
			return
		}
		one.Lease = rpw.Lease{Ref: one.Ref, Token: token}
	}
	c.over = c.repeat && len(c.claimed) == 0
}

// dueIn is the time in so many µs; negative: never.
func dueIn(us int64) time.Time {
	if us < 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(us) * time.Microsecond)
}
