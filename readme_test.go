package rpw_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the README shows is compiled and run: each of its Go blocks stands, to the letter, in a file of the module, and
// its make targets and links exist.
func TestReadmeIsTrue(t *testing.T) {
	readme := read(t, "README.md")

	var sources strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			sources.WriteString(read(t, path))
		}
		return err
	}))
	blocks := regexp.MustCompile("(?s)```go\n(.*?)\n```").FindAllStringSubmatch(readme, -1)
	require.GreaterOrEqual(t, len(blocks), 3)
	for _, block := range blocks {
		assert.Truef(t, strings.Contains(sources.String(), block[1]), "this Go block of the README stands in no file:\n%s", block[1])
	}

	prose := readme
	for _, block := range blocks {
		prose = strings.ReplaceAll(prose, block[0], "")
	}
	for _, target := range regexp.MustCompile(`(?m)^make (\w+)`).FindAllStringSubmatch(prose, -1) {
		out, err := exec.Command("make", "-n", target[1]).CombinedOutput()
		assert.NoErrorf(t, err, "make %s: %s", target[1], out)
	}
	for _, link := range regexp.MustCompile(`\]\(([\w./-]+)\)`).FindAllStringSubmatch(prose, -1) {
		_, err := os.Stat(link[1])
		assert.NoErrorf(t, err, "a link of the README")
	}
}

func read(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}
