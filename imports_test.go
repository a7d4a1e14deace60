package rpw_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/redis-process-worker/rpw"

// TestImports: the root imports the standard library only, and internal packages that do the same.
func TestImports(t *testing.T) {
	checked := map[string]bool{}
	var check func(dir string)
	check = func(dir string) {
		if checked[dir] {
			return
		}
		checked[dir] = true
		files, err := fs.Glob(os.DirFS(dir), "*.go")
		require.NoError(t, err)
		require.NotEmpty(t, files, dir)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path.Join(dir, file), nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range parsed.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				first, _, _ := strings.Cut(name, "/")
				inner, own := strings.CutPrefix(name, module+"/internal/")
				if own {
					check(path.Join("internal", inner))
				} else {
					assert.NotContains(t, first, ".", "%s/%s imports %s", dir, file, name)
				}
			}
		}
	}
	check(".")
}
