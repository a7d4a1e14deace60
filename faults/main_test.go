package faults

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	_ "github.com/redis-process-worker/rpw/driver/redis"
)

// TestMain checks that nothing is left running, and prints the figures. Some tests start this program again, to be another process.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		beChild(role)
		return
	}
	asked := goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1") // where slots are: it sleeps for a second, also after Close
	goleak.VerifyTestMain(m, asked, goleak.Cleanup(func(code int) {
		figures.print(os.Stdout)
		os.Exit(code)
	}))
}
