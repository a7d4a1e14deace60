package redis

import (
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// replicates says whether a script's writes wait for replicas.
func (s *store) replicates(sc *script) bool { return s.opt.Replicas > 0 && sc.writes }

// appendWaits adds to the commands of a pipeline a WAIT for each server they go to, on the same connection, and says for each call which
// answer is that of its WAIT. A script that wrote nothing, since it repeats an answer, waits too: for all that was written before.
func (s *store) appendWaits(commands []rueidis.Completed, calls []scriptCall) ([]rueidis.Completed, []int) {
	most := s.opt.Timeout - s.opt.Timeout/5 // so that its answer comes in time
	wait := func() rueidis.Completed {
		return s.client.B().Wait().Numreplicas(int64(s.opt.Replicas)).Timeout(int64(most / time.Millisecond)).Build()
	}
	waits := make([]int, len(calls))
	if !s.clustered() {
		for i := range waits {
			waits[i] = len(commands)
		}
		return append(commands, wait()), waits
	}
	bySlot := make(map[uint16]int)
	for i, call := range calls {
		slot := commands[i].Slot()
		if _, ok := bySlot[slot]; !ok {
			bySlot[slot] = len(commands)
			commands = append(commands, wait().SetSlot(call.keys[0]))
		}
		waits[i] = bySlot[slot]
	}
	return commands, waits
}

// replicated reads the answer of a WAIT.
func (s *store) replicated(result rueidis.RedisResult) error {
	n, err := result.AsInt64()
	if err != nil {
		return err
	}
	if n < int64(s.opt.Replicas) {
		return rpw.Errorf(rpw.ErrUncertain, "the write is done, but only %d of %d replicas have it in time", n, s.opt.Replicas)
	}
	return nil
}
