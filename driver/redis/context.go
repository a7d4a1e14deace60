package redis

import (
	"context"
	"time"
)

// undated is a context that keeps its deadline to itself.
type undated struct{ context.Context }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }
