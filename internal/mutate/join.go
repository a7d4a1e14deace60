package mutate

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// join puts all mutants that are usable into their sources, each behind its number, and returns the files that differ. It notes which
// mutants cannot be switched on, and which are no Go.
func join(dir string, changes []*change) (map[string]string, error) {
	sources := make(map[string]*source)
	var embedded []*change
	for _, c := range changes {
		switch {
		case !c.usable():
		case filepath.Ext(c.path) == ".go":
			s, err := open(sources, c.path, c.source)
			if err != nil {
				return nil, err
			}
			c.alone, c.err = s.add(c)
		default:
			embedded = append(embedded, c)
		}
	}
	files := make(map[string]string)
	if err := embed(dir, sources, files, embedded); err != nil {
		return nil, err
	}
	for path, s := range sources {
		files[path] = s.String()
		files[filepath.Join(filepath.Dir(path), "mutant_number.go")] = fmt.Sprintf(numberSource, s.tree.Name, numberEnv)
	}
	return files, nil
}

// numberEnv is the variable of the environment that says which mutant is at work.
const numberEnv = "RPW_MUTANT"

// numberSource is a file of each package with mutants.
const numberSource = `package %s

import (
	"os"
	"strconv"
)

// mutantNumber is that of the mutant at work; 0: none.
var mutantNumber, _ = strconv.Atoi(os.Getenv(%q))
`

// source is a file of Go, and what is put into it.
type source struct {
	text   string
	tree   *ast.File
	file   *token.File
	insert map[int]string // by offset
}

// open returns the source of a path, once.
func open(sources map[string]*source, path, text string) (*source, error) {
	if s := sources[path]; s != nil {
		return s, nil
	}
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	s := &source{text, tree, files.File(tree.Pos()), make(map[int]string)}
	sources[path] = s
	return s, nil
}

func (s *source) String() string {
	var b strings.Builder
	done := 0
	for _, at := range slices.Sorted(maps.Keys(s.insert)) {
		b.WriteString(s.text[done:at] + s.insert[at])
		done = at
	}
	return b.String() + s.text[done:]
}

// add lets the function around a mutant begin with itself as the mutant has it, which returns in its place if the mutant is at work:
//
//	{ if mutantNumber == 7 { return func(a, b int) error {…}(a, b) }; …}
//
// So both have the same parameters, results, receiver and type parameters. The mutant is alone if it stands in no function, or in one that
// cannot be written down within itself.
func (s *source) add(c *change) (alone bool, err error) {
	f := s.function(c.from, c.to)
	if f.body == nil || f.shadows() || f.recovers() {
		return true, nil
	}
	if _, err := parser.ParseFile(token.NewFileSet(), c.File, c.apply(), parser.SkipObjectResolution); err != nil {
		return false, fmt.Errorf("the mutant does not compile: %w", err)
	}
	begin, end := s.file.Offset(f.body.Lbrace), s.file.Offset(f.body.Rbrace)+1
	declared, passed := s.parameters(f.Params)
	call := fmt.Sprintf("func(%s) %s %s%s(%s)", declared, s.of(f.Results), s.line(c.mark(), begin), s.text[begin:c.from]+c.text+s.text[c.to:end], passed)
	if f.Results == nil {
		call += "; return"
	} else {
		call = "return " + call
	}
	s.insert[begin+1] += fmt.Sprintf(" if mutantNumber == %d { %s }; %s", c.number, call, s.line("", begin+1))
	return false, nil
}

// parameters are those that have names, declared and passed on.
func (s *source) parameters(params *ast.FieldList) (declared, passed string) {
	for _, field := range params.List {
		dots := ""
		if _, variadic := field.Type.(*ast.Ellipsis); variadic {
			dots = "..."
		}
		for _, name := range field.Names {
			if name.Name != "_" {
				declared += name.Name + " " + s.of(field.Type) + ", "
				passed += name.Name + dots + ", "
			}
		}
	}
	return declared, passed
}

// of is the text of a node, which may be missing.
func (s *source) of(n ast.Node) string {
	if list, ok := n.(*ast.FieldList); ok && list == nil {
		return ""
	}
	return s.text[s.file.Offset(n.Pos()):s.file.Offset(n.End())]
}

// line tells the compiler where the text that follows comes from.
func (s *source) line(mark string, offset int) string {
	at := s.file.Position(s.file.Pos(offset))
	return fmt.Sprintf("/*line %s%s:%d:%d*/", mark, filepath.Base(at.Filename), at.Line, at.Column)
}
