package mutate

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// embed lets the variables of the package in dir that hold embedded files (embed.FS) answer with those that mutants change. If there are none,
// the mutants cannot be switched on.
func embed(dir string, sources map[string]*source, files map[string]string, changes []*change) error {
	if len(changes) == 0 {
		return nil
	}
	name, err := wrap(dir, sources)
	if err != nil {
		return err
	}
	var texts strings.Builder
	for _, c := range changes {
		c.alone = name == ""
		fmt.Fprintf(&texts, "\tmutantFile{%d, %q}: %s,\n", c.number, filepath.ToSlash(c.File), strconv.Quote(c.apply()))
	}
	if name != "" {
		files[filepath.Join(dir, "mutant_files.go")] = fmt.Sprintf(filesSource, name, texts.String())
	}
	return nil
}

// wrap puts a mutantFS around each embed.FS of the package in dir, and returns the name of the package if there is one.
func wrap(dir string, sources map[string]*source) (name string, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(path, "_test.go") || !strings.Contains(string(text), " embed.FS\n") {
			continue
		}
		s, err := open(sources, path, string(text))
		if err != nil {
			return "", err
		}
		for _, decl := range s.tree.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Doc == nil || !strings.HasPrefix(vars.Doc.List[len(vars.Doc.List)-1].Text, "//go:embed ") {
				continue
			}
			if spec := vars.Specs[0].(*ast.ValueSpec); s.of(spec.Type) == "embed.FS" {
				id := spec.Names[0].Name
				s.insert[s.file.Offset(spec.Names[0].End())] += "Original"
				s.insert[len(s.text)] += fmt.Sprintf("\nvar %s = mutantFS{%sOriginal}\n", id, id)
				name = s.tree.Name.Name
			}
		}
	}
	return name, nil
}

// filesSource is a file of the package with the embedded files.
const filesSource = `package %s

import "embed"

// mutantFS are embedded files, as the mutant at work has them.
type mutantFS struct{ embed.FS }

func (f mutantFS) ReadFile(name string) ([]byte, error) {
	if text, changed := mutantFiles[mutantFile{mutantNumber, name}]; changed {
		return []byte(text), nil
	}
	return f.FS.ReadFile(name)
}

type mutantFile struct {
	number int
	name   string
}

var mutantFiles = map[mutantFile]string{
%s}
`
