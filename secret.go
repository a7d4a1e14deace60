package rpw

import (
	"fmt"
	"log/slog"
)

// Secret is text that no log, error or payload shows: printing and encoding give "***", also inside of other
// values. Convert it to a string to use it: string(s). It can be read from JSON like any string.
//
// Three places do not ask a value for its methods: fmt in unexported fields, fmt with the verb %p, and encoding/json in the
// keys of a map. Keep secrets out of them.
type Secret string

const redacted = "***"

// String returns "***".
func (Secret) String() string { return redacted }

// GoString returns "***".
func (Secret) GoString() string { return redacted }

// Format writes "***" for the verbs that do not fit a string, too.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText writes "***".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON writes "***".
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns "***".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
