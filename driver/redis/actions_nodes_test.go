package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestQueuesOnOtherNodesGoOn: A1, A4: a node of a cluster is gone, and then a slot of it is nobody's. Who works for queues on several nodes is given the actions of the
// others, and told of the node once they have none.
func TestQueuesOnOtherNodesGoOn(t *testing.T) {
	c := redistest.StartCluster(t, 3, "--cluster-require-full-coverage", "no")
	a := storeWith(t, dialCluster(t, c), "p").actions()
	gone := c.Nodes[0]
	if gone == c.Owner(t, a.registryKeys()[0]) {
		gone = c.Nodes[1]
	}
	var lost string
	var well []string
	for i := 0; len(well) < 2 || lost == ""; i++ {
		queue := fmt.Sprintf("q%d", i)
		if c.Owner(t, a.keys.queue(queue).side("q")) != gone {
			well = append(well, queue)
		} else {
			lost = queue
		}
	}
	n := 0
	enqueue := func() {
		for _, queue := range well {
			n++
			mustEnqueue(t, a, rpw.ActionSpec{Ref: rpw.ActionRef{Queue: queue, ID: fmt.Sprint(n)}, Name: "job"})
		}
	}
	enqueue()
	req := rpw.ClaimRequest{Queues: append([]string{lost}, well...), Worker: "w", Max: 10, Lane: rpw.Lane{ID: [16]byte{1}}}
	claim := func() ([]rpw.Claimed, error) {
		req.Lane.Seq++
		return a.Claim(t.Context(), req)
	}
	held, err := claim()
	require.NoError(t, err)
	require.Len(t, held, len(well))
	gone.Kill()
	goOn := func() {
		t.Helper()
		for _, wait := range []time.Duration{0, time.Second} {
			enqueue()
			req.Wait = wait
			held, err := claim()
			require.NoError(t, err)
			assert.Len(t, held, len(well))
			_, err = claim()
			assert.ErrorIs(t, err, rpw.ErrUnavailable)
		}
	}
	goOn()
	for _, node := range c.Nodes {
		if node != gone {
			node.CLI(t, "CLUSTER", "DELSLOTS", node.CLI(t, "CLUSTER", "KEYSLOT", a.keys.queue(lost).side("q")))
		}
	}
	require.Eventually(t, func() bool { // the client has learnt it
		_, err := a.Get(t.Context(), []rpw.ActionRef{{Queue: lost, ID: "a"}})
		return err != nil && strings.Contains(err.Error(), "slot")
	}, 30*time.Second, 50*time.Millisecond)
	goOn()
}
