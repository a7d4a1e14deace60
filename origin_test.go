package rpw_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

func TestOrigin(t *testing.T) {
	for _, ctx := range []context.Context{t.Context(), noContext} {
		_, ok := rpw.OriginOf(ctx)
		assert.False(t, ok)
		_, ok = rpw.DeliveryOf(ctx)
		assert.False(t, ok)
	}

	want := rpw.Origin{Worker: "w1", Action: rpw.ActionRef{Queue: "resize", ID: "7"}, Attempt: 2}
	got, ok := rpw.OriginOf(rpw.WithOrigin(t.Context(), want))
	assert.True(t, ok)
	assert.Equal(t, want, got)
}
