package socket

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestRedirects is B56 and F41: what stands before a server may answer with anything; no token goes to another host, and the error says what
// came. It protects K2.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		told   string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirects"},
		"sign-in page": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<html>CANARY: please sign in</html>")
		}, "200 OK"},
		"bad gateway": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "502"},
	} {
		proxy := httptest.NewServer(c.answer)
		_, err := rpw.Open(within(t), "ws://:CANARY-token@"+proxy.Listener.Addr().String())
		require.ErrorIs(t, err, rpw.ErrUnavailable, what)
		assert.ErrorContains(t, err, c.told, what)
		assert.NotContains(t, err.Error(), "CANARY", what)
		proxy.Close()
	}
	assert.Zero(t, visits.Load())
}
