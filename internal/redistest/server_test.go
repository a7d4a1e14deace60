package redistest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestAServerOnATakenPortDoesNotComeUp: another process may take the port of a server between its choice and its use. What answers there is not taken for the server.
func TestAServerOnATakenPortDoesNotComeUp(t *testing.T) {
	there := Start(t)
	s := &Server{Dir: t.TempDir(), args: there.args, port: there.port, Addr: there.Addr}
	defer s.Kill()
	assert.Error(t, s.run())
}
