package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Settle implements rpw.StreamBus.
func (b *streamBus) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	keys, letters := b.keysWithDead(req.Stream, req.Group)
	lane, seq := laneArgs(req.Lane)
	args := make([]string, 0, 6+8)
	args = append(args, b.begin(), req.Group, lane, seq, letters, b.groupChannelOf(req.Stream, req.Group))
	args = appendVerdicts(args, req.Settlements)
	m, err := b.exec(ctx, settleScript, keys, args)
	if err != nil {
		return nil, err
	}
	text, err := m.ToString()
	if err != nil || len(text) != len(req.Settlements) {
		return nil, badReply("a strange answer to settle")
	}
	errs := make([]error, len(text))
	for i := range errs {
		errs[i] = settled(text[i], req.Settlements[i].Receipt.ID)
	}
	return errs, nil
}

// run is what neighbouring settlements share, said once for all of them.
type run struct {
	verdict           rpw.Verdict
	incarnation, base uint64
	delay             time.Duration
	reason            string
}

func runOf(s *rpw.Settlement) run {
	return run{s.Verdict, s.Receipt.Incarnation, s.Receipt.Token >> placeBits, s.Delay, s.Reason}
}

// place is the place of an event in its lot.
func place(s *rpw.Settlement) uint64 { return s.Receipt.Token & (1<<placeBits - 1) }

// appendVerdicts says settlements in runs; see lua/group_settle.lua.
func appendVerdicts(args []string, settlements []rpw.Settlement) []string {
	const letters = " anerl"
	for len(settlements) > 0 {
		r := runOf(&settlements[0])
		first := place(&settlements[0])
		var ids idList
		n := 0
		for ; n < len(settlements) && runOf(&settlements[n]) == r && place(&settlements[n]) == first+uint64(n); n++ {
			ids.add(settlements[n].Receipt.ID)
		}
		args = append(args, letters[r.verdict:r.verdict+1], strconv.FormatUint(r.incarnation, 10), strconv.FormatUint(r.base, 10),
			millis(r.delay), r.reason, strconv.Itoa(n), strconv.FormatUint(first, 10), ids.string())
		settlements = settlements[n:]
	}
	return args
}

// idList is ids as scripts about groups take them, see listed in lua/group_lib.lua.
type idList struct {
	text []byte
	last rpw.ID
	more int // ids that follow the last one that is in the text
}

// exact is the greatest whole number that Lua counts to.
const exact = 1 << 53

func (l *idList) add(id rpw.ID) {
	switch {
	case l.text == nil:
		l.text = appendID(nil, id)
	case id.MS == l.last.MS && id.Seq == l.last.Seq+1 && l.last.Seq < exact:
		l.more++
	default:
		l.count()
		l.text = appendID(append(l.text, ' '), id)
	}
	l.last = id
}

// count writes how many follow the last one.
func (l *idList) count() {
	if l.more > 0 {
		l.text = strconv.AppendInt(append(l.text, '+'), int64(l.more), 10)
		l.more = 0
	}
}

// string is the list; nothing may be added after.
func (l *idList) string() string {
	l.count()
	return stringOf(l.text)
}

// settled is the answer to one verdict.
func settled(letter byte, id rpw.ID) error {
	switch letter {
	case 'k':
		return nil
	case 'o':
		return rpw.Errorf(rpw.ErrLeaseLost, "the event was settled with another verdict by the same receipt")
	case 'd':
		return rpw.Errorf(rpw.ErrInvalid, "an event of a dead-letter stream has no further one to go to; ack it, or redrive it")
	}
	return rpw.Errorf(rpw.ErrLeaseLost, "the lease on event %s is over and the event is no longer this holder's; stop working on it", id)
}
