package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis-process-worker/rpw"
)

// A claim that waits for one queue takes its seat when it finds nothing. For a moment after that it is given the only action of an enqueue, within the script of
// that, and told on the channel of the waker: one way from who enqueues to who works, not three. What it was given is on record as the answer to
// its call, so a message that is lost costs a repeat of the call, as the loss of an answer does. The moment is short, since a process may stop between two
// looks; an action that such a one was given comes back when its lease ends, like one that it had claimed.

const (
	warm        = 2 * time.Second // how long that moment is; lua/actions_claim.lua says the same
	maxGivenAge = time.Second     // who was stopped meanwhile asks whether he still has what he was given
)

// noSeat is the seat of a claim that is given nothing.
const noSeat = ""

// laneSize is how long the lane is that a message to a seat begins with, givenHead what comes before the id: the lane, the number of the claim there, and how long id
// and record are.
const (
	laneSize  = 32
	givenHead = laneSize + 8 + 2 + 4
)

// seatOf is the channel on which a claim is told what it is given. In a cluster the node of a queue does not know who listens to another.
func (a *actionStore) seatOf(req rpw.ClaimRequest) string {
	if len(req.Queues) > 1 || req.Lane == (rpw.Lane{}) || a.clustered() {
		return noSeat
	}
	return a.waker.echo
}

// withdraw takes a claim whose caller has gone from its seat, and gives back what it was given there; it is not waited for.
func (a *actionStore) withdraw(req rpw.ClaimRequest, seat string) {
	if seat == noSeat {
		return
	}
	a.beside(func() {
		a.claimFrom(context.Background(), req, req.Queues, []int{-1}, noSeat) // else it is lost as one that was claimed by who is gone
	})
}

// unseated is the error of a look that failed; sat says that the claim had its seat since a look before, so it may have been given something. Who
// made a call of unknown outcome makes it again, or has it handed back: withdrawing it as well might come late, and take from him what he was given then.
func (a *actionStore) unseated(req rpw.ClaimRequest, seat string, sat bool, err error) error {
	switch {
	case errors.Is(err, rpw.ErrUncertain):
		return err
	case !errors.Is(err, rpw.ErrUnavailable):
		a.withdraw(req, seat)
		return err
	case sat && seat != noSeat:
		return rpw.Errorf(rpw.ErrUncertain, "the claim may have been given an action, and cannot ask: %v", err)
	}
	return err
}

// readGiven reads what a claim is told that it was given; false: it is told something else.
func readGiven(req rpw.ClaimRequest, news string) ([]rpw.Claimed, bool) {
	if len(news) < givenHead || news[:laneSize] != laneText(req.Lane) {
		return nil, false
	}
	u := unpacker{rest: news[laneSize:]}
	seq, idSize, recordSize := u.number(8), u.number(2), u.number(4)
	id, record, spec := u.take(int(idSize)), u.take(int(recordSize)), u.rest
	if u.err != nil || seq != req.Lane.Seq {
		return nil, false
	}
	claimed := make([]rpw.Claimed, 1)
	one := &claimed[0]
	a := storedAction{Action: &one.Action}
	one.Ref = rpw.ActionRef{Queue: req.Queues[0], ID: id}
	if a.readSpec(spec) != nil || a.read(record, nil) != nil {
		return nil, false // it looks
	}
	one.Lease = rpw.Lease{Ref: one.Ref, Token: a.token}
	return claimed, true
}
