package redis

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

func TestClassifyReply(t *testing.T) {
	for text, want := range map[string]string{
		"LOADING Redis is loading the dataset in memory":                        "unavailable",
		"READONLY You can't write against a read only replica.":                 "unavailable",
		"MISCONF Errors writing to the AOF file: No space left on device":       "unavailable",
		"NOREPLICAS Not enough good replicas to write.":                         "unavailable",
		"MASTERDOWN Link with MASTER is down":                                   "unavailable",
		"CLUSTERDOWN The cluster is down":                                       "unavailable",
		"TRYAGAIN Multiple keys request during rehashing of slot":               "unavailable",
		"BUSY Redis is busy running a script.":                                  "unavailable",
		"ERR max number of clients reached":                                     "unavailable",
		"ERR Script attempted to access a non local key in a cluster node":      "unavailable",
		"OOM command not allowed when used memory > 'maxmemory'.":               "full",
		"WRONGPASS invalid username-password pair or user is disabled.":         "permission",
		"NOAUTH Authentication required.":                                       "permission",
		"NOPERM this user has no permissions to run the 'xadd' command":         "permission",
		"ERR The user executing the script can't run this command script: x":    "permission",
		"DENIED Redis is running in protected mode because":                     "permission",
		"WRONGTYPE Operation against a key holding the wrong kind of value":     "conflict",
		"ERR DB index is out of range":                                          "invalid",
		"CROSSSLOT Keys in request don't hash to the same slot":                 "invalid",
		"ERR unknown command 'FOO', with args beginning with:":                  "unsupported",
		"RPW lease_lost another holder has it":                                  "lease_lost",
		"RPW not_found no such group":                                           "not_found",
		"RPW nonsense text":                                                     "internal",
		"ERR user_script:3: attempt to index a nil value script: x, on @user:3": "internal",
	} {
		assert.Equal(t, want, rpw.Code(classifyReply(text)), text)
	}
}

func TestClassifyLink(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	alive := t.Context()
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, c := range []struct {
		ctx         context.Context
		err         error
		read, write string
	}{
		{alive, nil, "", ""},
		{alive, dial, "unavailable", "unavailable"},
		{ended, dial, "unavailable", "unavailable"},
		{ended, &net.OpError{Op: "dial", Err: context.Canceled}, "canceled", "canceled"}, // nothing was sent
		{ended, &net.OpError{Op: "dial", Err: errAbandoned}, "canceled", "canceled"},
		{alive, &net.OpError{Op: "dial", Err: errAbandoned}, "unavailable", "unavailable"},
		{alive, io.EOF, "unavailable", "uncertain"},
		{alive, context.DeadlineExceeded, "unavailable", "uncertain"}, // our own bound
		{alive, context.Canceled, "unavailable", "uncertain"},
		{ended, context.Canceled, "canceled", "uncertain"},
		{ended, io.EOF, "unavailable", "uncertain"},
	} {
		assert.Equal(t, c.read, rpw.Code(classify(c.ctx, c.err, false)), "read: %v", c.err)
		assert.Equal(t, c.write, rpw.Code(classify(c.ctx, c.err, true)), "write: %v", c.err)
	}
	assert.ErrorIs(t, classify(ended, context.Canceled, true), context.Canceled)
	assert.NotErrorIs(t, classify(alive, context.Canceled, true), context.Canceled, "it is not the caller's")
}
