package socket

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// contracts are the interfaces that the operations carry.
var contracts = map[string]reflect.Type{
	"Streams": reflect.TypeFor[rpw.StreamBus](),
	"Cache":   reflect.TypeFor[rpw.Cache](),
	"Logs":    reflect.TypeFor[rpw.LogSink](),
	"Actions": reflect.TypeFor[rpw.ActionStore](),
}

// TestEachMethodHasOneOperation walks the contracts: each of their methods has exactly one operation, which carries its types.
func TestEachMethodHasOneOperation(t *testing.T) {
	byMethod := map[string]*opInfo{}
	for i, op := range operations {
		info := op.info()
		assert.Equal(t, uint64(i+1), info.number, "the number of %s is its place", info.method)
		assert.Nil(t, byMethod[info.method], "%s has two operations", info.method)
		byMethod[info.method] = info
	}
	methods := 0
	for name, contract := range contracts {
		for i := range contract.NumMethod() {
			m := contract.Method(i)
			info := byMethod[name+"."+m.Name]
			if !assert.NotNil(t, info, "%s.%s has no operation", name, m.Name) {
				continue
			}
			methods++
			assert.Equal(t, arguments(m.Type), carried(info.requestType, m.Type.NumIn()), "the request of %s", info.method)
			assert.Equal(t, results(m.Type), carried(info.answerType, m.Type.NumOut()), "the answer of %s", info.method)
		}
	}
	assert.Len(t, operations, methods+1, "there is one more than the methods: Health")
}

// arguments are those after the context, results those before the error.
func arguments(f reflect.Type) (types []reflect.Type) {
	for i := 1; i < f.NumIn(); i++ {
		types = append(types, f.In(i))
	}
	return types
}

func results(f reflect.Type) (types []reflect.Type) {
	for i := range f.NumOut() - 1 {
		types = append(types, f.Out(i))
	}
	return types
}

// carried are the values that a type of an operation carries, for a method with n arguments or results.
func carried(t reflect.Type, n int) (types []reflect.Type) {
	if n == 2 {
		return []reflect.Type{t}
	}
	for i := range t.NumField() {
		types = append(types, t.Field(i).Type)
	}
	return types
}

// TestSchema compares the protocol with testdata/schema.txt, which holds what peers of other versions speak.
func TestSchema(t *testing.T) {
	const path = "testdata/schema.txt"
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	if now := schema(); !bytes.Equal(golden, now) {
		require.NoError(t, os.WriteFile(path+".new", now, 0o644))
		t.Fatalf(`the types that cross the wire are not those of %[1]s; what they are now is in %[1]s.new.

A peer of another version reads fields by their place. A field may be appended at the end of a struct, and an operation at the end of the
list; then move the new file over the old one. A field that was renamed keeps its place and type; then, too. Anything else (a field removed, inserted, moved,
or of another type) breaks every peer there is: change it back, or give the protocol a new name beside the old one.`, path)
	}
}

// schema describes all that crosses the wire: the operations, then the structs with their fields in order.
func schema() []byte {
	var b bytes.Buffer
	structs := map[string]reflect.Type{}
	fmt.Fprintf(&b, "%s\n\n", Subprotocol)
	for _, t := range []reflect.Type{reflect.TypeFor[hello](), reflect.TypeFor[failure](), reflect.TypeFor[refresh](), reflect.TypeFor[refreshed](), reflect.TypeFor[leave]()} {
		collect(structs, t)
	}
	for _, op := range operations {
		info := op.info()
		collect(structs, info.requestType)
		collect(structs, info.answerType)
		fmt.Fprintf(&b, "%d %s (%v) %v\n", info.number, info.method, info.requestType, info.answerType)
	}
	names := make([]string, 0, len(structs))
	for name := range structs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "\n%s\n", name)
		for i := range structs[name].NumField() {
			f := structs[name].Field(i)
			if f.Tag.Get("wire") == "-" {
				continue
			}
			fmt.Fprintf(&b, "\t%d %s %s\n", i+1, f.Name, described(f.Type))
		}
	}
	return b.Bytes()
}

// described is a type with the kind of number or text that it is on the wire.
func described(t reflect.Type) string {
	name := t.String()
	if kind := t.Kind().String(); t.Name() != "" && t.Kind() != reflect.Struct && t.Kind() != reflect.Interface && name != kind {
		name += " " + kind
	}
	return name
}

func collect(structs map[string]reflect.Type, t reflect.Type) {
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer, reflect.Array:
		collect(structs, t.Elem())
	case reflect.Map:
		collect(structs, t.Key())
		collect(structs, t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() || structs[t.String()] != nil || strings.HasPrefix(t.String(), "struct") {
			return
		}
		structs[t.String()] = t
		for i := range t.NumField() {
			collect(structs, t.Field(i).Type)
		}
	}
}
