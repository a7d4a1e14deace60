package faults

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw/conformance"
)

// rows is how many faults there are.
const rows = 47

// TestEveryFaultHasATest holds RELIABILITY.md against the sources: each fault is there, with promises that are given, and each test named
// beside it exists, carries the id of the fault, and runs where the table says.
func TestEveryFaultHasATest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../RELIABILITY.md")
	require.NoError(t, err)
	var promises, listed []string
	for _, p := range conformance.Promises() {
		promises = append(promises, p.ID)
	}
	id, test := regexp.MustCompile(`^F\d+$`), regexp.MustCompile("`([a-z/]+)\\.([A-Za-z/]+)`(\\\\\\*)?")
	pattern, err := exec.Command("../tools/rows", "-run").Output() // what make faults runs beside this package
	require.NoError(t, err)
	run := strings.Split(strings.TrimSpace(string(pattern)), "|")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !id.MatchString(strings.TrimSpace(cells[1])) {
			continue
		}
		row := strings.TrimSpace(cells[1])
		listed = append(listed, row)
		for promise := range strings.SplitSeq(cells[3], ",") {
			assert.Contains(t, promises, strings.TrimSpace(promise), "%s: no such promise", row)
		}
		tests := test.FindAllStringSubmatch(cells[4], -1)
		assert.NotEmpty(t, tests, "%s has no test", row)
		assert.Len(t, tests, strings.Count(cells[4], "`")/2, "%s: what is not the name of a test", row)
		for _, name := range tests {
			doc, long, found := docOf(t, name[1], name[2])
			assert.True(t, found, "%s: there is no %s.%s", row, name[1], name[2])
			assert.Regexp(t, `\b`+row+`\b`, doc, "%s.%s does not say that it is about %s", name[1], name[2], row)
			assert.Equal(t, name[3] != "", long, "%s: a star is for the long tests: %s", row, name[2])
			if one := name[2]; name[1] != "faults" {
				if name[1] == "conformance" {
					one = "TestConformance/" + one
				}
				assert.Contains(t, run, "^"+strings.ReplaceAll(one, "/", "$/^")+"$", "make faults does not run it")
			}
		}
	}
	var want []string
	for n := range rows {
		want = append(want, "F"+strconv.Itoa(n+1))
	}
	assert.Equal(t, want, listed)
}

// docOf finds the comment of a test of a package, or of a case of the suite. A long test is one behind the tag.
func docOf(t *testing.T, pkg, name string) (doc string, long, found bool) {
	t.Helper()
	dir := filepath.Join("..", pkg)
	if pkg == "rpw" {
		dir = ".."
	}
	pattern := "*_test.go"
	if pkg == "conformance" {
		pattern = "*.go"
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		if pkg == "conformance" {
			lines := strings.Split(string(source), "\n")
			if i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, `{"`+name+`", `) }); i > 0 {
				return lines[i-1], false, true
			}
			continue
		}
		if !strings.Contains(string(source), "func "+name+"(") { // to parse all files for each name takes seconds
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == name {
				return f.Doc.Text(), strings.HasPrefix(string(source), "//go:build faults\n"), true
			}
		}
	}
	return "", false, false
}
