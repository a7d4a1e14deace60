package rpw_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// sentinels is the closed table of wire codes. Lines may be added at its end; none may change.
var sentinels = []struct {
	err  error
	code string
}{
	{rpw.ErrUncertain, "uncertain"},
	{rpw.ErrNotFound, "not_found"},
	{rpw.ErrConflict, "conflict"},
	{rpw.ErrInvalid, "invalid"},
	{rpw.ErrTooLarge, "too_large"},
	{rpw.ErrFull, "full"},
	{rpw.ErrLeaseLost, "lease_lost"},
	{rpw.ErrCancelled, "cancelled"},
	{rpw.ErrFinished, "finished"},
	{rpw.ErrClosed, "closed"},
	{rpw.ErrPermission, "permission"},
	{rpw.ErrUnavailable, "unavailable"},
	{errors.ErrUnsupported, "unsupported"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{context.Canceled, "canceled"},
}

func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sentinels {
		assert.Equal(t, s.code, rpw.Code(s.err))
		assert.Equal(t, s.code, rpw.Code(fmt.Errorf("wrapped: %w", rpw.Errorf(s.err, "why"))))
		assert.Equal(t, s.err, rpw.Sentinel(s.code))
		assert.False(t, seen[s.code])
		seen[s.code] = true
		for _, other := range sentinels {
			assert.Equal(t, s == other, errors.Is(s.err, other.err))
		}
	}
	assert.Equal(t, "", rpw.Code(nil))
	assert.Equal(t, "internal", rpw.Code(errors.New("odd")))
	assert.Equal(t, "gap", rpw.Code(fmt.Errorf("wrapped: %w", &rpw.GapError{})))
	assert.Nil(t, rpw.Sentinel("odd"))
	assert.Nil(t, rpw.Sentinel(""))
	cut := errors.Join(context.Canceled, rpw.ErrUncertain)
	assert.Equal(t, "uncertain", rpw.Code(cut), "that the outcome is unknown matters more than why")
}

func TestErrorText(t *testing.T) {
	cause := errors.New("the reason")
	for want, err := range map[string]error{
		`rpw: publish "orders" (memory): conflict: the reason`: &rpw.Error{Op: "publish", Driver: "memory", Target: "orders", Kind: rpw.ErrConflict, Err: cause},
		`rpw: publish (memory): conflict`:                      &rpw.Error{Op: "publish", Driver: "memory", Kind: rpw.ErrConflict},
		`rpw: get "a\nb": the reason`:                          &rpw.Error{Op: "get", Target: "a\nb", Err: cause},
		`rpw: invalid: too much: 7`:                            rpw.Errorf(rpw.ErrInvalid, "too much: %d", 7),
		`rpw: failed`:                                          &rpw.Error{},
	} {
		assert.EqualError(t, err, want)
	}
	err := rpw.Errorf(rpw.ErrInvalid, "because: %w", cause)
	assert.ErrorIs(t, err, cause)
	assert.ErrorIs(t, err, rpw.ErrInvalid)

	gap := &rpw.GapError{Stream: "orders", Group: "g", Kind: rpw.GapTrimmed, Missed: 3, After: rpw.Position{Epoch: 1, ID: rpw.ID{MS: 5}}}
	assert.EqualError(t, gap, `rpw: gap (trimmed) in stream "orders", group "g": 3 events are missing after 5-0; choose a gap policy to go on`)
}

// TestAnErrorSaysItsKindOnce: also where the mistake is found before the guard is asked.
func TestAnErrorSaysItsKindOnce(t *testing.T) {
	hub := memoryHub(t)
	ctx, stream := t.Context(), rpw.StreamOf[any]("s")
	sub, err := stream.Subscribe(ctx, hub, rpw.Newest())
	require.NoError(t, err)
	_, errNext := sub.Next(noContext)
	_, errPublish := stream.Publish(ctx, hub, "t", make(chan int))
	_, errItem := stream.Item("t", make(chan int))
	_, errUpdate := rpw.Update[int](ctx, hub, "k", nil)
	for what, err := range map[string]error{
		"set": rpw.Set(ctx, hub, "k", make(chan int)), "next": errNext, "publish": errPublish, "item": errItem, "update": errUpdate,
		"save": rpw.RepoOf[any]("r:s").Save(ctx, hub, "id", 1), "shutdown": hub.Shutdown(noContext),
	} {
		assert.ErrorIs(t, err, rpw.ErrInvalid, what)
		assert.Equal(t, 1, strings.Count(err.Error(), "invalid"), "%s: %v", what, err)
	}
}
