package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is an embedded Lua file: one atomic verb.
type script struct {
	file   string
	source string
	sha    string
	writes bool
}

// newScript prepares lua/file, with the text of libs (files of functions, without a first line of their own) between its first line and the rest.
// The first line of file is its shebang, and says by its flags what the script may do: "no-writes", or "allow-oom" for what must go on in a
// full server; a script without flags is refused there whole. It panics if a file is missing, as all are part of the program.
func newScript(file string, libs ...string) *script {
	read := func(name string) string {
		text, err := luaFiles.ReadFile("lua/" + name)
		if err != nil {
			panic("rpw: " + err.Error())
		}
		return string(text)
	}
	shebang, body, _ := strings.Cut(read(file), "\n")
	if !strings.HasPrefix(shebang, "#!lua") {
		panic("rpw: lua/" + file + " has no #!lua line")
	}
	var b strings.Builder
	for _, lib := range libs {
		b.WriteString(read(lib))
	}
	b.WriteString(body)
	source := shebang + "\n" + inlineConstants(b.String())
	sum := sha1.Sum([]byte(source))
	return &script{file: file, source: source, sha: hex.EncodeToString(sum[:]), writes: !strings.Contains(shebang, "no-writes")}
}

var (
	luaConstant = regexp.MustCompile(`(?m)^local ([A-Z][A-Z0-9_]*) <const> = (.*?)(?: +--.*)?\n`)
	luaToken    = regexp.MustCompile(`'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|--[^\n]*|\b[A-Z][A-Z0-9_]*\b`)
)

// inlineConstants puts the values of constants (local NAME <const> = value, as in Lua 5.4) in place of their names. Redis' Lua
// 5.1 has none, and a local of the file that many functions use makes each of these slower to create, at every run.
func inlineConstants(source string) string {
	values := make(map[string]string)
	for _, match := range luaConstant.FindAllStringSubmatch(source, -1) {
		values[match[1]] = match[2]
	}
	source = luaConstant.ReplaceAllString(source, "\n")
	return luaToken.ReplaceAllStringFunc(source, func(token string) string {
		if strings.HasPrefix(token, "--") {
			return ""
		}
		if value, ok := values[token]; ok {
			return value
		}
		return token
	})
}

// scriptCall is one execution of a script: its keys, at least one and all of one slot, and its arguments.
type scriptCall struct {
	keys, args []string
}

// scriptAnswer is what it came back with.
type scriptAnswer struct {
	message rueidis.RedisMessage
	err     error
}

// exec runs a script once, bounded by ctx and by the timeout of a round trip. An error is one of rpw's kinds. If ctx is done before,
// nothing is sent and its error returned.
func (s *store) exec(ctx context.Context, sc *script, keys, args []string) (rueidis.RedisMessage, error) {
	answer := s.execAll(ctx, sc, []scriptCall{{keys, args}})[0]
	return answer.message, answer.err
}

// execAll runs a script for several calls in one pipeline: calls of one slot in their order, each atomic for itself.
func (s *store) execAll(ctx context.Context, sc *script, calls []scriptCall) []scriptAnswer {
	return s.execVia(ctx, s.client, sc, calls)
}

// execVia is execAll by a client, or a connection, of the caller's choice.
func (s *store) execVia(ctx context.Context, via rueidis.CommandClient, sc *script, calls []scriptCall) []scriptAnswer {
	if err := ctx.Err(); err != nil {
		return repeat(scriptAnswer{err: err}, len(calls))
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	answers := s.pipeline(bounded, via, sc, calls, func(call scriptCall) rueidis.Completed {
		return via.B().Evalsha().Sha1(sc.sha).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
	})
	var unknown []int // calls of a server that does not have the script yet
	var again []scriptCall
	for i, answer := range answers {
		if e, ok := rueidis.IsRedisErr(answer.err); ok && e.IsNoScript() {
			unknown = append(unknown, i)
			again = append(again, calls[i])
		}
	}
	if len(unknown) > 0 {
		retried := s.pipeline(bounded, via, sc, again, func(call scriptCall) rueidis.Completed {
			return via.B().Eval().Script(sc.source).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
		})
		for j, i := range unknown {
			answers[i] = retried[j]
		}
	}
	for i := range answers {
		answers[i].err = s.fault(ctx, answers[i].err, sc.writes)
	}
	return answers
}

func repeat(answer scriptAnswer, n int) []scriptAnswer {
	answers := make([]scriptAnswer, n)
	for i := range answers {
		answers[i] = answer
	}
	return answers
}

// pipeline sends the calls together. Its errors are those of rueidis.
func (s *store) pipeline(ctx context.Context, via rueidis.CommandClient, sc *script, calls []scriptCall, command func(scriptCall) rueidis.Completed) []scriptAnswer {
	answers := make([]scriptAnswer, len(calls))
	commands := make([]rueidis.Completed, len(calls), len(calls)+1)
	for i, call := range calls {
		commands[i] = command(call)
	}
	var waits []int // which answer says how many replicas have a call
	if s.replicates(sc) {
		commands, waits = s.appendWaits(commands, calls)
	}
	results := s.send(ctx, via, commands...)
	for i := range answers {
		if answers[i] = readAnswer(results[i]); waits != nil && answers[i].err == nil {
			answers[i].err = s.replicated(results[waits[i]])
		}
	}
	return answers
}

// readAnswer takes nil for an answer, as scripts mean it.
func readAnswer(result rueidis.RedisResult) scriptAnswer {
	message, err := result.ToMessage()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	return scriptAnswer{message, err}
}

// bounded is ctx with the timeout of a round trip. It does not tell its deadline: rueidis would set it on the connection and wait
// there, deaf to a cancel.
func (s *store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Timeout, rpw.ErrUnavailable)
	return undated{ctx}, cancel
}
