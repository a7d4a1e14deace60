package conformance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryPromiseHasACase(t *testing.T) {
	cases := make(map[string]int) // by promise
	for _, c := range allCases() {
		for _, id := range c.promises {
			cases[id]++
		}
	}
	for _, p := range Promises() {
		switch {
		case p.Later:
		case p.Elsewhere == "":
			assert.NotZero(t, cases[p.ID], "no case protects %s: %s", p.ID, p.Text)
		default:
			assertTestedIn(t, p)
		}
		delete(cases, p.ID)
	}
	assert.Empty(t, cases, "cases name promises that do not exist")
}

// assertTestedIn looks for the promise's id in the package's tests. A package that is not there yet promises nothing.
func assertTestedIn(t *testing.T, p Promise) {
	dir := filepath.Join("..", filepath.FromSlash(p.Elsewhere))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	id := regexp.MustCompile(`\b` + p.ID + `\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if id.Match(text) {
			return
		}
	}
	t.Errorf("no test of %s names %s: %s", p.Elsewhere, p.ID, p.Text)
}

func TestCasesAreWellFormed(t *testing.T) {
	name := regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(/[A-Z][A-Za-z0-9]*){2}$`)
	seen := make(map[string]bool)
	for _, c := range allCases() {
		assert.Regexp(t, name, c.name, "the form is Area/Verb/Rule")
		assert.False(t, seen[c.name], "two cases are named %s", c.name)
		seen[c.name] = true
		assert.NotEmpty(t, c.promises, c.name)
		assert.True(t, strings.HasSuffix(c.rule, "."), "the rule of %s is a sentence", c.name)
		assert.NotNil(t, c.run, c.name)
	}
}

func TestPromisesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range Promises() {
		assert.False(t, seen[p.ID], p.ID)
		seen[p.ID] = true
		assert.NotEmpty(t, p.Text, p.ID)
	}
}
