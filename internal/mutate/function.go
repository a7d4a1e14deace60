package mutate

import "go/ast"

// function is one that is declared, or a literal.
type function struct {
	*ast.FuncType
	receiver *ast.FieldList // of a method
	body     *ast.BlockStmt
}

// function finds the outermost function whose body holds a range of the text; if there is none, that has no body.
func (s *source) function(from, to int) (found function) {
	ast.Inspect(s.tree, func(n ast.Node) bool {
		var f function
		switch n := n.(type) {
		case *ast.FuncDecl:
			f = function{n.Type, n.Recv, n.Body}
		case *ast.FuncLit:
			f = function{n.Type, nil, n.Body}
		}
		if found.body == nil && f.body != nil && s.file.Offset(f.body.Lbrace) < from && to <= s.file.Offset(f.body.Rbrace) {
			found = f
		}
		return found.body == nil
	})
	return found
}

// shadows says whether a name is also something else in the signature, as in func(seat *seat): within the function, it cannot be written again.
func (f function) shadows() bool {
	names, words := make(map[string]int), make(map[string]int)
	for _, list := range []*ast.FieldList{f.receiver, f.Params, f.Results} {
		if list == nil {
			continue
		}
		ast.Inspect(list, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				for _, name := range n.Names {
					names[name.Name]++
				}
			case *ast.Ident:
				words[n.Name]++
			}
			return true
		})
	}
	for name, n := range names {
		if words[name] > n {
			return true
		}
	}
	return false
}

// recovers says whether the function itself recovers from a panic, which one that it calls cannot do in its place.
func (f function) recovers() (found bool) {
	ast.Inspect(f.body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			id, ok := call.Fun.(*ast.Ident)
			found = found || ok && id.Name == "recover"
		}
		_, another := n.(*ast.FuncLit)
		return !found && !another
	})
	return found
}
