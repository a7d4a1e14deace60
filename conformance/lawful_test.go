package conformance

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

// TestLawfulSeesWhatIsNot makes the checker of histories fail.
func TestLawfulSeesWhatIsNot(t *testing.T) {
	number := func(changes ...rpw.Change) []rpw.Change {
		for i := range changes {
			changes[i].Seq = uint64(i + 1)
		}
		return changes
	}
	request := rpw.Change{Kind: rpw.ChangeRequest, State: rpw.Pending}
	claimed := rpw.Change{Kind: rpw.ChangeClaimed, State: rpw.Running}
	completed := rpw.Change{Kind: rpw.ChangeCompleted, State: rpw.Completed}
	failed := rpw.Change{Kind: rpw.ChangeFailed, State: rpw.Failed}
	again := rpw.Change{Kind: rpw.ChangeRescheduled, State: rpw.Pending}
	assert.NoError(t, lawful(nil))
	assert.NoError(t, lawful(number(request, claimed, failed, again, claimed, completed)))
	hole := number(request, claimed, completed)
	hole[2].Seq++
	for name, changes := range map[string][]rpw.Change{
		"two terminal states":     number(request, claimed, completed, failed),
		"completed, then retried": number(request, claimed, completed, again),
		"completed while pending": number(request, completed),
		"two holders":             number(request, claimed, claimed),
		"never enqueued":          number(claimed, completed),
		"a kind of another state": number(request, rpw.Change{Kind: rpw.ChangeClaimed, State: rpw.Completed}),
		"an unknown kind":         number(request, rpw.Change{Kind: "paused", State: rpw.Pending}),
		"a hole":                  hole,
	} {
		assert.Error(t, lawful(changes), name)
	}
}
