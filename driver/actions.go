// Package driver is a toolbox for authors of drivers.
package driver

import (
	"errors"

	"github.com/redis-process-worker/rpw"
)

// ActionFeature is a set of the fields of an ActionSpec that not every driver implements.
type ActionFeature uint8

// The features. Their sum is what a driver supports.
const (
	Priorities      ActionFeature = 1 << iota // ActionSpec.Priority
	ConcurrencyKeys                           // ActionSpec.Concurrency
	Repeats                                   // ActionSpec.Repeat
	Dependencies                              // ActionSpec.After
)

// Unsupported answers errors.ErrUnsupported if spec sets a field whose feature is not in supported; the
// text names the field. A driver answers with it instead of ignoring the field.
func Unsupported(spec *rpw.ActionSpec, supported ActionFeature) error {
	for _, field := range [...]struct {
		feature ActionFeature
		set     bool
		name    string
	}{
		{Priorities, spec.Priority != 0, "Priority"},
		{ConcurrencyKeys, spec.Concurrency != rpw.Concurrency{}, "Concurrency"},
		{Repeats, spec.Repeat != rpw.Repeat{}, "Repeat"},
		{Dependencies, len(spec.After) > 0, "After"},
	} {
		if field.set && supported&field.feature == 0 {
			return rpw.Errorf(errors.ErrUnsupported, "this driver does not support %s of an action", field.name)
		}
	}
	return nil
}
