package socket

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func asking(token string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}}
}

// TestTokens is B51: tokens are found by their sums, all of which are compared.
func TestTokens(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("the-token-of-backup"))
	list, err := NewTokens(strings.NewReader(fmt.Sprintf(`{"tokens": [
		{"name": "edge-1", "token": "the-token-of-edge-1", "grants": [{"rights": ["read"], "streams": ["orders", "orders-*"]}]},
		{"name": "backup", "sha256": %q, "expires": "2999-01-01T00:00:00Z"},
		{"name": "former", "token": "the-token-of-former", "expires": "2001-01-01T00:00:00Z"}
	]}`, hex.EncodeToString(sum[:]))))
	require.NoError(t, err)

	id, err := list.Authenticate(asking("the-token-of-edge-1"))
	require.NoError(t, err)
	assert.Equal(t, Identity{Name: "edge-1", Grants: []Grant{{Rights: []Right{Read}, Streams: []string{"orders", "orders-*"}}}}, id)
	id, err = list.Authenticate(asking("the-token-of-backup"))
	require.NoError(t, err)
	assert.Equal(t, Identity{Name: "backup", Expires: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)}, id)

	for _, token := range []string{"", "the-token-of-edge-", "the-token-of-edge-12", "The-token-of-edge-1", hex.EncodeToString(sum[:]), string(sum[:]), "the-token-of-former"} {
		_, err := list.Authenticate(asking(token))
		assert.Error(t, err, token)
	}
	_, err = list.Authenticate(&http.Request{Header: http.Header{}})
	assert.Error(t, err)
	none, err := NewTokens(strings.NewReader(`{}`))
	require.NoError(t, err)
	_, err = none.Authenticate(asking("the-token-of-edge-1"))
	assert.Error(t, err)
}

// TestTokenFilesThatCannotBeMeant: each mistake is told by its place, and no token is.
func TestTokenFilesThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	one := func(s string) string {
		return `{"tokens": [{"name": "edge", "token": "CANARY-0123456789", ` + s + `}]}`
	}
	for _, c := range []struct{ file, told string }{
		{``, "EOF"},
		{`[]`, "wrong type"},
		{`{"tokens": [`, "EOF"},
		{`{"tokens": CANARY}`, "no JSON from byte"},
		{`{"tokens": []} {}`, "after the JSON"},
		{`{"tokens": [], "tokens": []}`, `"tokens" is there twice`},
		{`{"Tokens": []}`, "not in lower case"},
		{`{"tokens": [{"name": "edge", "TOKEN": "CANARY-0123456789"}]}`, "not in lower case"},
		{one(`"token": "CANARY-9876543210"`), `"token" is there twice`},
		{one(`"right": []`), `unknown field "right"`},
		{one(`"sha256": "00"`), "exactly one"},
		{one(`"expires": "CANARY"`), `"expires" is no time`},
		{one(`"expires": 5`), "expires"},
		{one(`"grants": [{"streams": ["x"]}]`), "no rights"},
		{one(`"grants": [{"rights": ["read"]}]`), "no names"},
		{one(`"grants": [{"rights": ["root"], "streams": ["x"]}]`), `unknown right "root"`},
		{one(`"grants": [{"rights": ["read"], "streams": ["a?"]}]`), "fits no name"},
		{one(`"grants": [{"rights": ["read"], "streams": [""]}]`), "fits no name"},
		{one(`"grants": [{"rights": ["read"], "rights": ["admin"], "streams": ["x"]}]`), `"rights" is there twice`},
		{`{"tokens": [{"token": "CANARY-0123456789"}]}`, "name is empty"},
		{`{"tokens": [{"name": "edge"}]}`, "exactly one"},
		{`{"tokens": [{"name": "edge", "token": "CANARY"}]}`, "too short"},
		{`{"tokens": [{"name": "edge", "token": "CANARY 0123456789"}]}`, "no header may hold"},
		{`{"tokens": [{"name": "edge", "token": 12345678901234567890}]}`, "token"},
		{`{"tokens": [{"name": "edge", "sha256": "CANARY-0123456789"}]}`, "hexadecimal"},
		{`{"tokens": [{"name": "a", "token": "CANARY-0123456789"}, {"name": "a", "token": "CANARY-9876543210"}]}`, "twice"},
		{`{"tokens": [{"name": "a", "token": "CANARY-0123456789"}, {"name": "b", "token": "CANARY-0123456789"}]}`, `"a" has the same token`},
		{strings.Repeat(" ", maxTokenFile+1), "more than"},
	} {
		_, err := NewTokens(strings.NewReader(c.file))
		require.ErrorIs(t, err, rpw.ErrInvalid, c.file)
		assert.ErrorContains(t, err, c.told)
		assert.NotContains(t, err.Error(), "CANARY")
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		fits          bool
	}{
		{"orders", "orders", true}, {"orders", "orders2", false}, {"orders", "order", false},
		{"*", "", true}, {"*", "anything", true}, {"**", "x", true},
		{"orders-*", "orders-", true}, {"orders-*", "orders-1", true}, {"orders-*", "orders", false}, {"orders-*", "my-orders-1", false},
		{"*-log", "a-log", true}, {"*-log", "a-log2", false}, {"*-log", "a-log-log", true},
		{"a*b*c", "abc", true}, {"a*b*c", "a1b2b3c", true}, {"a*b*c", "acb", false}, {"a*b*c", "abcd", false},
		{"ab*ba", "aba", false}, {"ab*ba", "abba", true}, {"a*a", "a", false}, {"*x*", "y", false}, {"*x*", "axb", true},
		{"orders!dead!*", "orders!dead!billing", true}, {"é*", "éa", true}, {"", "", true}, {"", "x", false},
	} {
		assert.Equal(t, c.fits, matches(c.pattern, c.name), "%q %q", c.pattern, c.name)
	}
	hostile := strings.Repeat("a*", 127) + "b"
	start := time.Now()
	for range 1000 {
		assert.False(t, matches(hostile, strings.Repeat("a", 255)))
	}
	assert.Less(t, time.Since(start), soon)
}

func TestGrants(t *testing.T) {
	t.Parallel()
	id := Identity{Name: "edge", Grants: []Grant{
		{Rights: []Right{Read, Write}, Streams: []string{"orders*"}},
		{Rights: []Right{Consume}, Queues: []string{"mail"}},
	}}
	for _, c := range []struct {
		right   Right
		kind    Kind
		name    string
		allowed bool
	}{
		{Read, KindStream, "orders", true}, {Write, KindStream, "orders-1", true}, {Admin, KindStream, "orders", false}, {Consume, KindStream, "orders", false},
		{Read, KindStream, "bills", false}, {Read, KindStream, "", true}, {Read, KindKey, "orders", false}, {Read, KindKey, "", false},
		{Consume, KindQueue, "mail", true}, {Consume, KindQueue, "mail2", false}, {Consume, KindQueue, "", true}, {Read, KindQueue, "", false},
		{Read, KindLog, "orders", false}, {Read, KindWorker, "mail", false}, {Read, "other", "orders", false}, {"", KindStream, "orders", false},
	} {
		err := authorize(t.Context(), id, Access{Verb: "x", Right: c.right, Kind: c.kind, Name: c.name})
		assert.Equal(t, c.allowed, err == nil, "%v", c)
	}
	assert.Error(t, authorize(t.Context(), Identity{Name: "new"}, Access{Right: Read, Kind: KindStream, Name: "x"}), "deny by default")
	assert.NoError(t, authorize(t.Context(), Identity{}, Access{Right: Consume, Kind: KindQueue, Name: "x"}))
	assert.Error(t, authorize(t.Context(), Identity{}, Access{Right: Admin, Kind: KindQueue, Name: "x"}))
}

func FuzzPatterns(f *testing.F) {
	f.Add("a*b", "axxb")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if matches(pattern, name) {
			assert.True(t, strings.Contains(pattern, "*") || pattern == name)
		}
		assert.True(t, matches("*"+pattern+"*", "x"+strings.ReplaceAll(pattern, "*", "")+"x"))
	})
}

// FuzzTokens: whatever the file holds, it is an answer and no panic.
func FuzzTokens(f *testing.F) {
	f.Add(`{"tokens": [{"name": "a", "token": "0123456789abcdef", "grants": [{"rights": ["read"], "streams": ["*"]}]}]}`)
	f.Fuzz(func(t *testing.T, file string) {
		_, err := NewTokens(strings.NewReader(file))
		if err != nil {
			assert.ErrorIs(t, err, rpw.ErrInvalid)
		}
	})
}
