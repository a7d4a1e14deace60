package socket

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw/internal/redistest"
)

// shared is the Redis server of the tests that do no harm to it.
var shared redistest.Shared

// TestMain checks E3 for all tests of the package: nothing is left running.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		shared.Stop()
		os.Exit(code)
	}))
}
