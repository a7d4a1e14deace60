package memory

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks E3 for all tests of the package: nothing is left running.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
