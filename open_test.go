package rpw_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

type driverFunc func(ctx context.Context, req rpw.OpenRequest) (rpw.Parts, error)

var noContext context.Context // the mistake of passing nil

func (f driverFunc) Open(ctx context.Context, req rpw.OpenRequest) (rpw.Parts, error) {
	return f(ctx, req)
}

// The registry is of the process, so the test registers its schemes once.
var openTest struct {
	open func(req rpw.OpenRequest) (rpw.Parts, error)
}

func init() {
	rpw.Register("opentest", driverFunc(func(_ context.Context, req rpw.OpenRequest) (rpw.Parts, error) { return openTest.open(req) }))
}

func TestOpen(t *testing.T) {
	bus := &fakeBus{}
	var got *url.URL
	openTest.open = func(req rpw.OpenRequest) (rpw.Parts, error) {
		got = req.URL
		require.NotNil(t, req.Notify)
		req.Notify(rpw.Notice{Kind: rpw.NoticeConnected})
		return rpw.Parts{Name: "opentest", Streams: bus}, nil
	}
	hub, err := rpw.Open(t.Context(), "opentest://user:pw@host:1/2?namespace=tenant&dial=1s")
	require.NoError(t, err)
	defer hub.Close()
	assert.Equal(t, "dial=1s", got.RawQuery, "the Hub's parameter is taken out")
	assert.Equal(t, "opentest", hub.Driver())
	_, err = publish(t.Context(), hub, "t")
	require.NoError(t, err)
	assert.Equal(t, "tenant:s", bus.batches[0].Stream)

	other, err := rpw.Open(t.Context(), "opentest://host?namespace=url", rpw.WithNamespace("option"))
	require.NoError(t, err)
	defer other.Close()
	_, err = publish(t.Context(), other, "t")
	require.NoError(t, err)
	assert.Equal(t, "option:s", bus.batches[1].Stream, "an option of the program wins over the URL")
}

func TestOpenErrors(t *testing.T) {
	const canary = "canary-pw-1234"
	openTest.open = func(rpw.OpenRequest) (rpw.Parts, error) {
		return rpw.Parts{}, rpw.Errorf(rpw.ErrPermission, "the user or the password is wrong")
	}
	for rawURL, want := range map[string]string{
		"redis://u:" + canary + "@h/0":                          `import _ "github.com/redis-process-worker/rpw/driver/redis"`,
		"wss://u:" + canary + "@h/ws":                           `import _ "github.com/redis-process-worker/rpw/socket"`,
		"nosuch://u:" + canary + "@h":                           `unknown scheme "nosuch"; registered: `,
		"//u:" + canary + "@h":                                  "has no scheme",
		"":                                                      "has no scheme",
		"redis://u:" + canary + "%zz@h":                         "does not parse",
		"opentest://u:" + canary + "\x7f@h":                     "does not parse",
		"opentest://u:" + canary + "@h:port":                    "does not parse",
		"opentest://u:" + canary + "@h?a=%zz" + canary:          "the query of the backend URL does not parse",
		"opentest://u:" + canary + "@h?namespace=a&namespace=b": "namespace is given 2 times",
		"opentest://u:" + canary + "@h?namespace=a*b":           "namespace name",
		"opentest://u:" + canary + "@h":                         "permission denied: the user or the password is wrong",
		"opentest://h?namespace=" + strings.Repeat("n", 65):     "too long: 65 bytes (max 64)",
	} {
		hub, err := rpw.Open(t.Context(), rawURL)
		require.Nil(t, hub)
		assert.ErrorContains(t, err, want, rawURL)
		assert.ErrorContains(t, err, "rpw: open: ")
		assert.NotContains(t, err.Error(), canary)
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			assert.NotContains(t, cause.Error(), canary)
		}
	}
	_, err := rpw.Open(noContext, "opentest://")
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = rpw.Open(t.Context(), "opentest://", nil)
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	assert.Panics(t, func() { rpw.Register("opentest", driverFunc(nil)) })
	assert.Panics(t, func() { rpw.Register("other", nil) })
	assert.Contains(t, rpw.Schemes(), "opentest")
}

// TestOpenClosesWhatItCannotUse: parts with a bad name are given back.
func TestOpenClosesWhatItCannotUse(t *testing.T) {
	closed := false
	openTest.open = func(rpw.OpenRequest) (rpw.Parts, error) {
		return rpw.Parts{Name: "Bad Name", Close: func(context.Context) error { closed = true; return nil }}, nil
	}
	_, err := rpw.Open(t.Context(), "opentest://")
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	assert.True(t, closed)
}
