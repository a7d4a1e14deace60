package redis

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// rights are what the user may not do, as Open found it: what is refused for a part of its commands is not begun. The zero rights
// refuse nothing.
type rights struct {
	missing map[*script]string // commands, and an example of the keys
}

// of is the script to run for a verb: itself, or what reads as much and writes nothing in passing, or why neither can.
func (r rights) of(sc *script) (*script, error) {
	what := r.missing[sc]
	switch {
	case what == "":
		return sc, nil
	case sc.peek != nil:
		return sc.peek, nil
	}
	return nil, rpw.Errorf(rpw.ErrPermission, "the user may not run %s; %s", what, seePermissions)
}

// refuse says whether the user may not run a script as it is.
func (r rights) refuse(sc *script) bool { return r.missing[sc] != "" }

const seePermissions = "see Permissions in the documentation of driver/redis"

// verb are scripts with the keys they are for.
type verb struct {
	keys    []string
	scripts []*script
}

// verbs are all scripts, with examples of all kinds of keys that they write; those that only read, of what they read.
func (k keyspace) verbs() []verb {
	const name = "check"
	st := k.stream(name)
	dead := k.stream(rpw.DeadLetter(name, name))
	q := k.queue(name)
	group := func(more ...string) []string {
		keys := []string{st.main, st.side("m"), st.side("groups")}
		for _, kind := range []string{"g:", "gl:", "gd:", "gr:", "gw:", "gk:", "gc:", "gs:"} {
			keys = append(keys, st.side(kind+name))
		}
		return append(keys, more...)
	}
	rescued := []string{st.main, st.side("m"), st.side("g:" + name), st.side("gk:" + name)}
	consuming := group(st.side("l:"+name), dead.main, dead.side("m"))
	cached, queue, registry, workers := k.cache(name), q.side("q"), k.queues("i"), k.workers("i")
	return []verb{
		{rescued, []*script{resumeScript, locateScript, infoScript, groupsScript, trimScript, deleteEventsScript}},
		{append(rescued, st.side("p:"+name), st.side("k:"+name)), []*script{publishScript}},
		{group(), []*script{pendingScript, ensureScript}},
		{group(dead.main, dead.side("m")), []*script{deleteStreamScript}},
		{consuming, []*script{fetchScript, settleScript, administerScript}},
		{[]string{cached}, []*script{cacheGet, cacheSet, cacheDelete, cacheIncrement}},
		{[]string{queue}, []*script{getScript, changesScript, listScript, queueScript, enqueueScript}},
		{[]string{queue, q.side(claimLane + name)}, []*script{claimScript}},
		{[]string{queue, q.side(advanceLane + name)}, []*script{advanceScript}},
		{[]string{queue, q.side(controlLane + name)}, []*script{controlScript}},
		{[]string{registry}, []*script{queueNamesScript, registerScript, forgetScript}},
		{[]string{workers}, []*script{workersScript, beatScript, signalScript}},
	}
}

// refusals are the commands that the user may not run on a key.
type refusals map[string]bool

// findRights asks what the user may run on which keys. The error is that reading is impossible, or that the server does not know a command.
func (s *store) findRights(ctx context.Context) (rights, error) {
	verbs := s.keys.verbs()
	var keys, commands []string
	for _, v := range verbs {
		keys = append(keys, v.keys...)
		for _, sc := range v.scripts {
			commands = append(commands, sc.commands()...)
		}
	}
	slices.Sort(keys)
	slices.Sort(commands)
	refused, err := s.refusedOn(ctx, slices.Compact(keys), slices.Compact(commands))
	if err != nil {
		return rights{}, err
	}
	general, err := s.missingForWrites(ctx)
	if err != nil {
		return rights{}, err
	}
	found := rights{missing: make(map[*script]string)}
	for _, v := range verbs {
		for _, sc := range v.scripts {
			reader := sc
			if sc.peek != nil {
				reader = sc.peek
			}
			if what := v.missing(refused, reader.reads()); reader.readOnly && what != "" {
				return rights{}, rpw.Errorf(rpw.ErrPermission, "the user may not run %s, without which nothing can be read; %s", what, seePermissions)
			}
			if what := cmp.Or(v.missing(refused, sc.commands()), general); !sc.readOnly && what != "" {
				found.missing[sc] = what
			}
		}
	}
	return found, nil
}

// missing names the commands that are refused on one of the keys, "" if none is.
func (v verb) missing(refused map[string]refusals, commands []string) string {
	for _, key := range v.keys {
		var names []string
		for _, command := range commands {
			if refused[key][command] {
				names = append(names, command)
			}
		}
		if names != nil {
			return strings.Join(names, ", ") + " on keys such as " + key
		}
	}
	return ""
}

// writing are the commands of scripts that write, or tell.
var writing = map[string]bool{
	"DEL": true, "HDEL": true, "HINCRBY": true, "HSET": true, "INCRBY": true, "LREM": true, "LTRIM": true, "PERSIST": true, "PEXPIRE": true, "PUBLISH": true,
	"RPUSH": true, "SADD": true, "SET": true, "SREM": true, "UNLINK": true, "XADD": true, "XDEL": true, "XTRIM": true, "ZADD": true, "ZREM": true,
}

// reads are the commands of a script that only read.
func (sc *script) reads() []string {
	return slices.DeleteFunc(slices.Clone(sc.commands()), func(command string) bool { return writing[command] })
}

// missingForWrites names what every writing script needs and the user may not run, "" if there is nothing.
func (s *store) missingForWrites(ctx context.Context) (string, error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	names := []string{"EVAL", "EVALSHA"}
	commands := []rueidis.Completed{
		s.client.B().Eval().Script("return 1").Numkeys(0).Build(),
		s.client.B().Evalsha().Sha1(checkScript.text().sha).Numkeys(0).Build(), // of which only NOPERM matters
	}
	if s.opt.Replicas > 0 {
		names = append(names, "WAIT")
		commands = append(commands, s.client.B().Wait().Numreplicas(0).Timeout(1).Build())
	}
	for i, result := range s.send(bounded, s.client, commands...) {
		err := result.Error()
		switch e, ok := rueidis.IsRedisErr(err); {
		case ok && strings.HasPrefix(e.Error(), "NOPERM"):
			return names[i], nil
		case !ok && err != nil:
			return "", classify(ctx, err, false)
		}
	}
	return "", nil
}

// refusedOn gives by key which of the commands are refused on it.
func (s *store) refusedOn(ctx context.Context, keys, commands []string) (map[string]refusals, error) {
	calls := make([]scriptCall, len(keys))
	args := append([]string{s.keys.channel(echoChannel, "check")}, commands...)
	for i, key := range keys {
		calls[i] = scriptCall{keys: []string{key}, args: args}
	}
	refused := make(map[string]refusals, len(keys))
	for i, answer := range s.execAll(ctx, checkScript, calls) {
		if answer.err != nil {
			return nil, explainPermission(answer.err, keys[i])
		}
		texts, err := answer.message.AsStrSlice()
		if err != nil {
			return nil, malformed(checkScript, err)
		}
		of := make(refusals)
		for ; len(texts) > 1; texts = texts[2:] {
			if strings.Contains(texts[1], "Unknown") {
				return nil, rpw.Errorf(errors.ErrUnsupported, "the server does not know the command %s, which rpw needs", texts[0])
			}
			of[texts[0]] = true
		}
		refused[keys[i]] = of
	}
	return refused, nil
}

func explainPermission(err error, key string) error {
	if errors.Is(err, rpw.ErrPermission) {
		return rpw.Errorf(rpw.ErrPermission, "the user may not read %s by EVAL_RO and EVALSHA_RO; %s: %w", key, seePermissions, err)
	}
	return err
}
