package socket

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestGlobIsThatOfRedis compares with KEYS.
func TestGlobIsThatOfRedis(t *testing.T) {
	server := redistest.Start(t)
	names := []string{"a", "b", "ab", "abc", "a-c", "a]c", "a*c", "a?c", "a[c", `a\c`, "a^c", "aéc", "-", "]", "^", "aaaa:bbbb", "aaab", "user:1:x", "user:2:y", "user:22:y", "z"}
	args := []string{"MSET"}
	for _, name := range names {
		args = append(args, name, "1")
	}
	server.CLI(t, args...)
	for _, pattern := range []string{
		"*", "**", "a*", "*c", "a*c", "a?c", "a??c", "?", "a[bé]c", "a[a-z]c", "a[z-a]c", "a[^a-z]c", `a\*c`, `a\?c`, `a[\]]c`, `a[]]c`, "a[^]]c", "[]", "[a", "[^", "a[", "[a-", `[\`,
		`\a`, `a\`, `a\\c`, "a[?*]c", "a[-z]c", "[+--]", "user:*:y", "user:?:*", "*:*:*", "a*b*b*", "none", "ab", "[ab]", "[ab]?", "*]*", `[\^]`, "[^a-y]", "a*a*a*a*",
	} {
		var want []string
		if out := server.CLI(t, "KEYS", pattern); out != "" {
			want = strings.Split(out, "\n")
		}
		g, begin, whole := parseGlob(pattern)
		var got []string
		for _, name := range names {
			if g.match(name) {
				got = append(got, name)
				assert.True(t, strings.HasPrefix(name, begin), pattern)
				assert.True(t, !whole || name == begin, pattern)
			}
		}
		assert.ElementsMatch(t, want, got, pattern)
	}
}

// TestGlobIsQuick: no pattern makes matching long.
func TestGlobIsQuick(t *testing.T) {
	g, _, _ := parseGlob(strings.Repeat("a*", originalPattern/2) + "b")
	name := strings.Repeat("a", 255)
	for range 1000 {
		require.False(t, g.match(name))
	}
}

// TestGlobAgainstRegexp compares runs and single bytes with the standard library's.
func TestGlobAgainstRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?")), 0, 12, -1).Draw(t, "pattern")
		expression := regexp.MustCompile("^" + strings.NewReplacer("*", ".*", "?", ".").Replace(pattern) + "$")
		g, _, _ := parseGlob(pattern)
		for _, name := range rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 12, -1), 1, 20).Draw(t, "names") {
			if g.match(name) != expression.MatchString(name) {
				t.Fatalf("%q, %q", pattern, name)
			}
		}
	})
}
