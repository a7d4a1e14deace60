// Package mutants breaks the memory driver and the Hub in small ways, one at a time, and requires that the case of the suite that
// names the promise fails. It stands apart from the packages it breaks, so that testing those stays quick.
package mutants

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/internal/mutate"
)

// driver is the folder of the package that is broken and tested.
const driver = "../../driver/memory"

// mutant breaks a promise by changing one text in a file of the driver, or of the package rpw. The case is the one that must
// notice.
type mutant struct{ promise, name, file, old, new, test string }

func allMutants() []mutant {
	return slices.Concat(streamMutants, groupMutants, cacheMutants, actionMutants, hubMutants)
}

// TestMutants breaks each promise, to see that its cases can fail.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the driver, and waits for what a mutant leaves out")
	}
	var mutants []mutate.Mutant
	for _, m := range allMutants() {
		mutants = append(mutants, mutate.Mutant{Name: m.name, Promise: m.promise, File: m.file, Old: m.old, New: m.new, Test: "TestConformance/" + m.test})
	}
	mutate.Run(t, driver, mutants)
}

func TestEveryPromiseHasAMutant(t *testing.T) {
	broken := make(map[string]bool)
	for _, m := range allMutants() {
		broken[m.promise] = true
	}
	for _, p := range conformance.Promises() {
		if p.Elsewhere == "" && !p.Later {
			assert.True(t, broken[p.ID], "no mutant breaks %s: %s", p.ID, p.Text)
		}
		delete(broken, p.ID)
	}
	assert.Empty(t, broken, "mutants break promises that do not exist")
}
