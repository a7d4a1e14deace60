package redis

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documentedRoles are the rules of the package documentation, by role.
func documentedRoles(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("redis.go")
	require.NoError(t, err)
	_, text2, found := strings.Cut(string(text), "// # Permissions")
	require.True(t, found)
	roles := make(map[string][]string)
	role := ""
	for _, line := range regexp.MustCompile(`(?m)^//\t(\w*) +(.*)$`).FindAllStringSubmatch(text2, -1) {
		if line[1] != "" {
			role = line[1]
		}
		roles[role] = append(roles[role], strings.Fields(line[2])...)
	}
	require.Len(t, roles, 4)
	return roles
}

// TestDocumentedParameters: the documentation of the URLs and the parser know the same parameters.
func TestDocumentedParameters(t *testing.T) {
	text, err := os.ReadFile("redis.go")
	require.NoError(t, err)
	for name := range parameters {
		require.Regexp(t, `(?m)^//\t(\w+, )?`+name+`\b`, string(text))
	}
}
