//go:build faults

package faults

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	_ "github.com/redis-process-worker/rpw/driver/redis"
)

// TestMain checks that nothing is left running, and prints the figures.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		figures.print(os.Stdout)
		os.Exit(code)
	}))
}
