package redis

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// TestKeysAreApart is B11: no two things get one key, in either layout.
func TestKeysAreApart(t *testing.T) {
	name := rapid.StringMatching(`(a|b|:|s|c|w|d|dead|of-dead|1){1,5}`)
	for _, flat := range []bool{false, true} {
		rapid.Check(t, func(t *rapid.T) {
			k := keyspace{prefix: "p", flat: flat}
			seen := make(map[string]string)
			add := func(key, what string) {
				if other, ok := seen[key]; ok && other != what {
					t.Fatalf("%s and %s share %s", other, what, key)
				}
				seen[key] = what
			}
			for range 8 {
				n, g := name.Draw(t, "name"), name.Draw(t, "group")
				add(k.stream(n).main, "main "+n)
				for _, suffix := range []string{"m", "k:" + g, "g:" + g} {
					add(k.stream(n).side(suffix), suffix+" of stream "+n)
					add(k.stream(rpw.DeadLetter(n, g)).side(suffix), suffix+" of dead "+n+"/"+g)
					add(k.queue(n).side(suffix), suffix+" of queue "+n)
				}
				add(k.stream(rpw.DeadLetter(n, g)).main, "dead "+n+"/"+g)
				if !flat { // where a name is of one kind
					add(k.cache(n), "value "+n)
				}
				add(k.workers("x:"+g), "workers "+g)
			}
		})
	}
}

func TestKeysOfTheOriginal(t *testing.T) {
	for prefix, want := range map[string]string{"p": "p:x", "p:": "p:x", "": "x", "a:b": "a:b:x"} {
		k := keyspace{prefix: prefix, flat: true}
		assert.Equal(t, want, k.stream("x").main)
		assert.Equal(t, want, k.cache("x"))
		assert.Equal(t, "{"+want+"}:m", k.stream("x").side("m"))
	}
}

func TestChannelsKnowTheDatabase(t *testing.T) {
	assert.Equal(t, "p:n:s:x", keyspace{prefix: "p"}.channel(streamChannel, "x"))
	assert.Equal(t, "p:n@5:s:x", keyspace{prefix: "p", db: "5"}.channel(streamChannel, "x"))
}

// TestScriptsListTheirKeys holds every script to its header; those of actions share theirs.
func TestScriptsListTheirKeys(t *testing.T) {
	entries, err := luaFiles.ReadDir("lua")
	require.NoError(t, err)
	for _, entry := range entries {
		text, err := luaFiles.ReadFile("lua/" + entry.Name())
		require.NoError(t, err)
		for _, never := range []string{"'KEYS'", "math.random", "loadstring"} {
			assert.NotContains(t, string(text), never, entry.Name())
		}
		if !strings.HasPrefix(string(text), "#!lua") || strings.HasPrefix(entry.Name(), "actions_") {
			continue
		}
		assert.True(t, strings.Contains(string(text), "\n-- KEYS"), "%s says nothing of its KEYS", entry.Name())
	}
	text, err := luaFiles.ReadFile("lua/prelude_actions.lua")
	require.NoError(t, err)
	assert.Contains(t, string(text), "-- KEYS")
}
