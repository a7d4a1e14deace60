package redis

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// documentedPermissions are the rules of the package documentation.
func documentedPermissions(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("redis.go")
	require.NoError(t, err)
	rules := regexp.MustCompile(`//\t(~rpw:.*)`).FindSubmatch(text)
	require.NotNil(t, rules)
	return string(rules[1])
}

// TestDocumentedParameters: the documentation of the URLs and the parser know the same parameters.
func TestDocumentedParameters(t *testing.T) {
	text, err := os.ReadFile("redis.go")
	require.NoError(t, err)
	for name := range parameters {
		require.Regexp(t, `(?m)^//\t(\w+, )?`+name+`\b`, string(text))
	}
}
