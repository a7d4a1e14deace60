package rpw_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/redis-process-worker/rpw"
)

func TestOrigin(t *testing.T) {
	_, ok := rpw.OriginOf(t.Context())
	assert.False(t, ok)

	want := rpw.Origin{Worker: "w1", Action: rpw.ActionRef{Queue: "resize", ID: "7"}, Attempt: 2}
	got, ok := rpw.OriginOf(rpw.WithOrigin(t.Context(), want))
	assert.True(t, ok)
	assert.Equal(t, want, got)
}
