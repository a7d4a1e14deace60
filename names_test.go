package rpw_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"a", "orders", "a b", "a:b:c", "a/b", "a.b", ".hidden", "a..b", "-x", "é", "日本語", "🎉", "a=b&c", `"quoted"`, "'", "<>", "%41", "#1", "~", "$",
		"dead!x!dead", strings.Repeat("x", 255), strings.Repeat("é", 127),
	} {
		assert.NoError(t, rpw.CheckName("stream", name), "%q", name)
	}
	for name, why := range map[string]string{
		"":                       "is empty",
		strings.Repeat("x", 256): "is too long: 256 bytes (max 255)",
		strings.Repeat("é", 128): "is too long: 256 bytes",
		" a":                     "begins or ends with a space",
		"a ":                     "begins or ends with a space",
		" ":                      "begins or ends with a space",
		"a*":                     "'*' at byte 1",
		"a?":                     "'?'",
		"[a]":                    "'['",
		"a]":                     "']'",
		"{a}":                    "'{'",
		"a}":                     "'}'",
		"a^":                     "'^'",
		`a\b`:                    `'\\'`,
		"a\x00b":                 `'\x00'`,
		"a\nb":                   `'\n'`,
		"a\x1b[31m":              `'\x1b'`,
		"a\x7f":                  `'\x7f'`,
		"a\u0085":                "U+0085",
		"a\u2028":                "U+2028",
		"a\u202eb":               "U+202E",
		"a\u2066b":               "U+2066",
		"a\u200fb":               "U+200F",
		"\ufeffa":                "U+FEFF",
		"a\xff":                  "not valid UTF-8 at byte 1",
		"\xed\xa0\x80":           "not valid UTF-8 at byte 0",
		"..":                     `".." segment`,
		"a/..":                   `".." segment`,
		"../a":                   `".." segment`,
		"a:..:b":                 `".." segment`,
		"a!dead!b":               "reserved",
	} {
		err := rpw.CheckName("stream", name)
		if assert.ErrorIs(t, err, rpw.ErrInvalid, "%q", name) {
			assert.ErrorContains(t, err, why, "%q", name)
			assert.ErrorContains(t, err, "stream name", "it names the place")
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"orders", "", "a\x00", "\xff", "a/../b", "x!dead!y", "\u202e", "{a}", " "} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := rpw.CheckName("key", name)
		if err != nil {
			require.ErrorIs(t, err, rpw.ErrInvalid)
			text := err.Error()
			require.True(t, utf8.ValidString(text), "%q", text)
			require.NotContains(t, text, "\n")
			require.NotContains(t, text, "\x1b")
			require.Less(t, len(text), 1000)
			return
		}
		require.True(t, utf8.ValidString(name))
		require.True(t, 1 <= len(name) && len(name) <= rpw.MaxName)
		require.False(t, strings.ContainsAny(name, "{}*?[]\\^\x00\r\n\t\x1b\x7f"), "%q", name)
		require.Equal(t, strings.Trim(name, " "), name)
		_, _, dead := rpw.ParseDeadLetter(name)
		require.False(t, dead)
		stream, group, dead := rpw.ParseDeadLetter(rpw.DeadLetter(name, name))
		require.True(t, dead)
		require.Equal(t, [2]string{name, name}, [2]string{stream, group})
	})
}

func TestQuoteName(t *testing.T) {
	assert.Equal(t, `"orders"`, rpw.QuoteName("orders"))
	assert.Equal(t, `"a\x1b\n\xff\u202e"`, rpw.QuoteName("a\x1b\n\xff\u202e"))
	assert.Equal(t, `"`+strings.Repeat("é", 64)+`…"`, rpw.QuoteName(strings.Repeat("é", 65)))
	assert.Equal(t, `"`+strings.Repeat("é", 64)+`"`, rpw.QuoteName(strings.Repeat("é", 64)))
}
