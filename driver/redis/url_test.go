package redis

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func parse(t testing.TB, text string) (*config, error) {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return parseURL(u)
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]config{
		"redis://h":                  {addrs: []string{"h:6379"}},
		"redis://h:1/":               {addrs: []string{"h:1"}},
		"redis://h:65535/15":         {addrs: []string{"h:65535"}, db: 15},
		"redis://[::1]":              {addrs: []string{"[::1]:6379"}},
		"redis://:p%40ss@h":          {addrs: []string{"h:6379"}, pass: "p@ss"},
		"redis://u@h?db=3":           {addrs: []string{"h:6379"}, user: "u", db: 3},
		"rediss://u:p@h":             {addrs: []string{"h:6379"}, user: "u", pass: "p", tls: true},
		"redis+unix:///run/r.sock":   {mode: socket, addrs: []string{"/run/r.sock"}},
		"redis+unix://u:p@/r?db=2":   {mode: socket, addrs: []string{"/r"}, user: "u", pass: "p", db: 2},
		"redis+sentinel://a,b:1/m":   {mode: sentinel, addrs: []string{"a:26379", "b:1"}, master: "m"},
		"redis+sentinel://a/m?db=2":  {mode: sentinel, addrs: []string{"a:26379"}, master: "m", db: 2},
		"redis+cluster://a:1,b:2":    {mode: cluster, addrs: []string{"a:1", "b:2"}},
		"redis+cluster://a?tls=true": {mode: cluster, addrs: []string{"a:6379"}, tls: true},
	} {
		got, err := parse(t, text)
		if assert.NoError(t, err, text) {
			want.dialTimeout, want.pool, got.Options = got.dialTimeout, got.pool, Options{}
			assert.Equal(t, want, *got, text)
		}
	}
}

func TestParseURLParameters(t *testing.T) {
	c, err := parse(t, "rediss://h?prefix=p&layout=original&foreign=off&eviction=allow&durability=replicated&replicas=2&near=1000&timeout=2s"+
		"&dial_timeout=300ms&connections=4&pool=8&tls_ca=a&tls_cert=b&tls_key=c&tls_server_name=d")
	require.NoError(t, err)
	assert.Equal(t, "p", c.Prefix)
	assert.True(t, c.Original && c.IgnoreForeign && c.AllowEviction && c.tls)
	assert.Equal(t, []int{2, 1000, 4, 8}, []int{c.Replicas, c.NearCache, c.connections, c.pool})
	assert.Equal(t, []time.Duration{2 * time.Second, 300 * time.Millisecond}, []time.Duration{c.Timeout, c.dialTimeout})
	assert.Equal(t, []string{"a", "b", "c", "d"}, []string{c.ca, c.cert, c.key, c.serverName})

	c, err = parse(t, "redis://h")
	require.NoError(t, err)
	assert.Equal(t, DefaultPrefix, c.Prefix)
	assert.Equal(t, DefaultTimeout, c.Timeout)
	assert.Equal(t, DefaultNearCache, c.NearCache)
	assert.Zero(t, c.Replicas)

	c, err = parse(t, "redis://h?layout=original&near=off")
	require.NoError(t, err)
	assert.Empty(t, c.Prefix, "the original may have none")
	assert.Negative(t, c.NearCache)
}

// TestParseURLRefuses is B29, B30 and B32: whatever has no meaning is refused, by its name, and no secret is printed.
func TestParseURLRefuses(t *testing.T) {
	const secret = "CANARY"
	for text, says := range map[string]string{
		"redis://u:CANARY@":                                   "no host",
		"redis://u:CANARY@h:6379:1":                           "several ports",
		"redis://u:CANARY@h:99999999":                         "port",
		"redis://u:CANARY@h:0":                                "port",
		"redis://u:CANARY@h:":                                 "port",
		"redis://u:CANARY@h,g":                                "several hosts",
		"redis://u:CANARY@h/x":                                "database",
		"redis://u:CANARY@h/-1":                               "database",
		"redis://u:CANARY@h/01":                               "database",
		"redis://u:CANARY@h/1/2":                              "database",
		"redis://u:CANARY@h/1?db=2":                           "twice",
		"redis://u:CANARY@h#x":                                "fragment",
		"redis:u:CANARY":                                      "slashes",
		"redis://u:CANARY@h?nope=CANARY":                      "nope",
		"redis://u:CANARY@h?write_timeout=1s":                 "write_timeout",
		"redis://u:CANARY@h?timeout=1s&timeout=2s":            "timeout is given 2 times",
		"redis://u:CANARY@h?timeout=0s":                       "timeout",
		"redis://u:CANARY@h?timeout=5":                        "timeout",
		"redis://u:CANARY@h?db=abc":                           "db",
		"redis://u:CANARY@h?prefix=a:b":                       "prefix",
		"redis://u:CANARY@h?prefix=a*":                        "prefix",
		"redis://u:CANARY@h?prefix={a}":                       "prefix",
		"redis://u:CANARY@h?layout=flat":                      "layout must be original or rpw",
		"redis://u:CANARY@h?foreign=maybe":                    "foreign",
		"redis://u:CANARY@h?replicas=1":                       "durability",
		"redis://u:CANARY@h?durability=async&replicas=1":      "durability",
		"redis://u:CANARY@h?durability=replicated&replicas=0": "replicas",
		"redis://u:CANARY@h?near=much":                        "near",
		"redis://u:CANARY@h?connections=3":                    "connections",
		"redis://u:CANARY@h?pool=1":                           "pool",
		"redis://u:CANARY@h?tls_ca=x":                         "TLS",
		"redis://u:CANARY@h?tls=true":                         "rediss",
		"rediss://u:CANARY@h?tls_cert=x":                      "tls_key",
		"rediss://u:CANARY@h?tls_insecure=true&tls_ca=x":      "tls_insecure",
		"rediss://u:CANARY@h?tls_insecure=1":                  "tls_insecure",
		"redis://u:CANARY@h?sentinel_password=CANARY":         "sentinel",
		"redis+unix://u:CANARY@h/x":                           "host",
		"redis+unix://u:CANARY@":                              "path",
		"redis+unix://u:CANARY@/x?tls=true":                   "TLS",
		"redis+sentinel://u:CANARY@h":                         "master",
		"redis+sentinel://u:CANARY@h/a/b":                     "master",
		"redis+cluster://u:CANARY@h/1":                        "database 0",
		"redis+cluster://u:CANARY@h?db=1":                     "database 0",
		"redis+cluster://u:CANARY@h,":                         "no host",
	} {
		_, err := parse(t, text)
		if assert.ErrorIs(t, err, rpw.ErrInvalid, text) {
			assert.Contains(t, err.Error(), says, text)
			assert.NotContains(t, err.Error(), secret, text)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://u:p@h:1/2?timeout=1s")
	f.Add("redis+sentinel://a,b:1/m?tls=true&tls_ca=x")
	f.Add("redis+cluster://[::1]:7000")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		c, err := parseURL(u)
		if err != nil {
			assert.Equal(t, "invalid", rpw.Code(err))
			if pass, ok := u.User.Password(); ok && len(pass) > 8 && !strings.Contains(u.Redacted(), pass) {
				assert.NotContains(t, err.Error(), pass)
			}
			return
		}
		assert.NotEmpty(t, c.addrs)
		_, err = c.clientOption(new(links))
		if err != nil {
			assert.Equal(t, "invalid", rpw.Code(err))
		}
	})
}
