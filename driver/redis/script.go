package redis

import (
	"cmp"
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is an embedded Lua file: one atomic verb. What a program does not run is never put together.
type script struct {
	file     string
	text     func() scriptText
	commands func() []string // which it may run, each once, sorted; a container's with its second word
	readOnly bool            // it writes nothing at all
	writes   bool            // something that a caller could miss
	peek     *script         // of one that writes in passing only: what reads as much, and does not
}

// scriptText is what a server runs, and the name that it knows it by.
type scriptText struct{ source, sha string }

// newScript prepares lua/file, with the text of libs (files of functions, without a first line of their own) between its first line and the rest.
// The first line of file is its shebang, and says by its flags what the script may do: "no-writes", or "allow-oom" for what must go on in a
// full server; a script without flags is refused there whole. It panics if a file is missing, as all are part of the program.
func newScript(file string, libs ...string) *script {
	return compose(file, "", libs)
}

// newReader prepares a script that writes in passing only, nothing that a caller could miss: it may begin a stream's history, apply its retention
// by age, or store what time has done to a queue. So a lost answer leaves nothing uncertain, and who may not write reads by its peek, whose
// constant PEEKS is true.
func newReader(file string, libs ...string) *script {
	sc := newScript(file, libs...)
	sc.writes = false
	sc.peek = compose(file, "#!lua flags=no-writes", append([]string{"peek.lua"}, libs...))
	return sc
}

// compose is newScript with another first line, if one is given.
func compose(file, first string, libs []string) *script {
	own, body, _ := strings.Cut(readLua(file), "\n")
	if !strings.HasPrefix(own, "#!lua") {
		panic("rpw: lua/" + file + " has no #!lua line")
	}
	shebang := cmp.Or(first, own)
	readOnly := strings.Contains(shebang, "no-writes")
	return &script{
		file: file, readOnly: readOnly, writes: !readOnly,
		text: sync.OnceValue(func() scriptText {
			var b strings.Builder
			b.WriteString("local PEEKS <const> = " + strconv.FormatBool(first != "") + "\n")
			for _, lib := range libs {
				b.WriteString(readLua(lib))
			}
			b.WriteString(body)
			source := shebang + "\n" + inlineConstants(b.String())
			sum := sha1.Sum([]byte(source))
			return scriptText{source, hex.EncodeToString(sum[:])}
		}),
		commands: sync.OnceValue(func() []string {
			var found []string
			lazy := false
			for _, part := range append(slices.Clip(libs), file) {
				lazy = part == "lazy_begin.lua" || lazy && part != "lazy_end.lua"
				if !lazy { // rescues are made of commands that the scripts have anyway
					found = append(found, commandsOf()[part]...)
				}
			}
			slices.Sort(found)
			return slices.Compact(found)
		}),
	}
}

func readLua(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name)
	if err != nil {
		panic("rpw: " + err.Error())
	}
	return string(text)
}

// luaCommand finds the commands of a script, with the next word where that is in capitals as well: that of a container ("XINFO STREAM").
var luaCommand = regexp.MustCompile(`(?:call|each)\(\s*'([A-Z]+)'(?:\s*,\s*'([A-Z]+)')?`)

// containers are the commands that need their second word.
var containers = map[string]bool{"XGROUP": true, "XINFO": true, "OBJECT": true}

// commandsOf are the commands in the text of each file.
var commandsOf = sync.OnceValue(func() map[string][]string {
	files, err := luaFiles.ReadDir("lua")
	if err != nil {
		panic("rpw: " + err.Error())
	}
	found := make(map[string][]string)
	for _, file := range files {
		for _, match := range luaCommand.FindAllStringSubmatch(readLua(file.Name()), -1) {
			command := match[1]
			if containers[command] {
				command += " " + match[2]
			}
			found[file.Name()] = append(found[file.Name()], command)
		}
	}
	return found
})

var (
	luaConstant = regexp.MustCompile(`^local ([A-Z][A-Z0-9_]*) <const> = (.*?)(?: +--.*)?$`)
	luaToken    = regexp.MustCompile(`'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|--[^\n]*|\b[A-Z][A-Z0-9_]*\b`)
)

// inlineConstants puts the values of constants (local NAME <const> = value, as in Lua 5.4) in place of their names, and leaves out comments. Redis' Lua
// 5.1 has none, and a local of the file that many functions use makes each of these slower to create, at every run. It looks closer at few lines, and at
// each for itself, since regexp is slow on a long text.
func inlineConstants(source string) string {
	values := make(map[string]string)
	lines := strings.SplitAfter(source, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "local ") {
			continue
		}
		if match := luaConstant.FindStringSubmatch(strings.TrimSuffix(line, "\n")); match != nil {
			values[match[1]] = match[2]
			lines[i] = "\n"
		}
	}
	for i, line := range lines {
		plain := !strings.Contains(line, "--")
		for name := range values {
			plain = plain && !strings.Contains(line, name)
		}
		if plain {
			continue
		}
		lines[i] = luaToken.ReplaceAllStringFunc(line, func(token string) string {
			if strings.HasPrefix(token, "--") {
				return ""
			}
			return cmp.Or(values[token], token)
		})
	}
	return strings.Join(lines, "")
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
	sc, err := s.rights.of(sc)
	if err = cmp.Or(ctx.Err(), err); err != nil {
		return repeat(scriptAnswer{err: err}, len(calls))
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	answers := s.run(bounded, via, sc, calls)
	if sc.peek != nil {
		again, refused := chosen(calls, answers, refusesWrites)
		for j, answer := range s.run(bounded, via, sc.peek, again) {
			if !errors.Is(s.fault(ctx, answer.err, false), rpw.ErrPermission) { // what has to be written first
				answers[refused[j]] = answer
			}
		}
	}
	for i := range answers {
		answers[i].err = s.fault(ctx, answers[i].err, sc.writes)
	}
	return answers
}

// run is execVia with the errors of rueidis.
func (s *store) run(ctx context.Context, via rueidis.CommandClient, sc *script, calls []scriptCall) []scriptAnswer {
	if len(calls) == 0 {
		return nil
	}
	answers := s.pipeline(ctx, via, sc, calls, func(call scriptCall) rueidis.Completed {
		if sc.readOnly {
			return via.B().EvalshaRo().Sha1(sc.text().sha).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
		}
		return via.B().Evalsha().Sha1(sc.text().sha).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
	})
	again, unknown := chosen(calls, answers, (*rueidis.RedisError).IsNoScript) // of a server that does not have the script yet
	if len(unknown) == 0 {
		return answers
	}
	retried := s.pipeline(ctx, via, sc, again, func(call scriptCall) rueidis.Completed {
		if sc.readOnly {
			return via.B().EvalRo().Script(sc.text().source).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
		}
		return via.B().Eval().Script(sc.text().source).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build()
	})
	for j, i := range unknown {
		answers[i] = retried[j]
	}
	return answers
}

// refusesWrites says whether a server takes no script that might write, while it still reads: it cannot store what is written, or has too few replicas.
func refusesWrites(e *rueidis.RedisError) bool {
	return strings.HasPrefix(e.Error(), "MISCONF ") || strings.HasPrefix(e.Error(), "NOREPLICAS ")
}

// chosen are the calls that the server answered with an error of a kind, and their places.
func chosen(calls []scriptCall, answers []scriptAnswer, kind func(*rueidis.RedisError) bool) (some []scriptCall, places []int) {
	for i, answer := range answers {
		if e, ok := rueidis.IsRedisErr(answer.err); ok && kind(e) {
			some, places = append(some, calls[i]), append(places, i)
		}
	}
	return some, places
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
