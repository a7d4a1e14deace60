package socket

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostile is what peers and networks do to a server and its clients. Each has a test that does it, and names it by its id.
var hostile = map[string]string{
	"B10": "a client asks for names outside of the namespace",
	"B12": "a payload, or a message, over its limit",
	"B38": "text where binary messages are expected",
	"B39": "text that is no UTF-8",
	"B40": "frames that are unmasked, reserved, fragmented where they may not be, or of a wrong length or close code",
	"B41": "a header that promises 2^62 bytes, and then silence",
	"B42": "a small message that would grow when it is decompressed",
	"B43": "floods of pings, of empty fragments, of messages, of connections",
	"B44": "a message over the read limit",
	"B45": "messages that are no requests",
	"B46": "ids of requests that are missing, or used twice",
	"B47": "more requests and waits at a time than allowed",
	"B48": "verbs and names that a client has no right to",
	"B49": "listings as a way around rights",
	"B50": "tokens that are forged, expired, or somebody else's",
	"B51": "tokens that are guessed by the time a comparison takes",
	"B52": "tokens in a query, in a subprotocol, in several places",
	"B53": "web pages of other origins",
	"B54": "web pages whose name was resolved to the server",
	"B55": "patterns of names that would let others in",
	"B56": "redirects to another host",
	"B57": "handshakes that are slow, large or many",
	"B60": "secrets on their way into logs and errors",
	"B64": "close reasons that are too long",
	"B66": "a server that nobody told whom to let in",
	"F37": "a client that does not read",
	"F38": "a credential that ends, or is revoked, while it is used",
	"F39": "a backend that is away",
	"F40": "a client that is gone without a word",
	"F41": "a proxy that redirects, or answers with a page of its own",
	"F42": "two servers over one backend",
}

// TestEveryHostilityHasATest finds the ids in the comments of tests.
func TestEveryHostilityHasATest(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(os.DirFS("."), "*_test.go")
	require.NoError(t, err)
	id := regexp.MustCompile(`\b[BF]\d+\b`)
	tested := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
				for _, found := range id.FindAllString(f.Doc.Text(), -1) {
					tested[found] = true
				}
			}
		}
	}
	for row, what := range hostile {
		assert.True(t, tested[row], "no test names %s: %s", row, what)
	}
}
