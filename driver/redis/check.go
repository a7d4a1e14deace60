package redis

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

var checkScript = newScript("check.lua")

// serverInfo is what a server says of itself.
type serverInfo struct {
	name, version string
	mode          string // standalone, cluster, sentinel
	role          string // master, replica
	resp          int64
	db            int
}

// inspect asks the server.
func (s *store) inspect(ctx context.Context) (info serverInfo, err error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	results := s.send(bounded, s.client,
		s.client.B().Arbitrary("HELLO").Build(),
		s.client.B().Arbitrary("CLIENT", "INFO").Build())
	for _, result := range results {
		if err := result.Error(); err != nil {
			return info, classify(ctx, err, false)
		}
	}
	hello, err := results[0].AsMap()
	if err != nil {
		return info, rpw.Errorf(errors.ErrUnsupported, "the server answers HELLO in another form than Redis")
	}
	word := func(name string) string { m := hello[name]; text, _ := m.ToString(); return text }
	info.name, info.version, info.mode, info.role = word("server"), word("version"), word("mode"), word("role")
	proto := hello["proto"]
	info.resp, _ = proto.AsInt64()
	client, err := results[1].ToString()
	if err != nil {
		return info, classify(ctx, err, false)
	}
	for _, field := range strings.Fields(client) {
		if db, ok := strings.CutPrefix(field, "db="); ok {
			info.db, _ = strconv.Atoi(db)
		}
	}
	return info, nil
}

// suits says what is wrong with the server.
func (s *store) suits(ctx context.Context, info serverInfo, clustered bool) error {
	major, _, _ := strings.Cut(info.version, ".")
	switch n, err := strconv.Atoi(major); {
	case info.mode == "sentinel":
		return rpw.Errorf(rpw.ErrInvalid, "the server is a Sentinel; use %s", forms["redis+sentinel"].form)
	case err != nil || n < 7:
		return rpw.Errorf(errors.ErrUnsupported, "the server is %s %s; rpw needs Redis 7.0 or later", info.name, info.version)
	case info.resp < 3:
		return rpw.Errorf(rpw.ErrInvalid, "the client speaks RESP2; make it without AlwaysRESP2")
	case clustered && info.mode != "cluster":
		return rpw.Errorf(rpw.ErrInvalid, "the server is not part of a cluster; use %s", forms["redis"].form)
	case !clustered && info.mode == "cluster":
		return rpw.Errorf(rpw.ErrInvalid, "the server is part of a cluster; use %s", forms["redis+cluster"].form)
	case !clustered && info.role != "master":
		return rpw.Errorf(rpw.ErrUnavailable, "the server is a replica, which takes no writes; give the master, or use %s", forms["redis+sentinel"].form)
	}
	if clustered {
		if err := s.slotsCovered(ctx); err != nil {
			return err
		}
	}
	if err := s.permitted(ctx); err != nil {
		return err
	}
	return s.keepsKeys(ctx)
}

// slotsCovered checks that every slot of the cluster has a node.
func (s *store) slotsCovered(ctx context.Context) error {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	text, err := s.send(bounded, s.client, s.client.B().ClusterInfo().Build())[0].ToString()
	if err != nil {
		return classify(ctx, err, false)
	}
	if !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_slots_ok:16384") {
		return rpw.Errorf(rpw.ErrUnavailable, "the cluster does not cover all slots; redis-cli --cluster check says which are missing")
	}
	return nil
}

// permitted checks that the user may run what the scripts run, on our keys, and listen to our channels.
func (s *store) permitted(ctx context.Context) error {
	commands := scriptCommands()
	var calls []scriptCall
	for _, key := range []string{s.keys.stream("check").main, s.keys.cache("check"), s.keys.queue("check").side("check")} {
		calls = append(calls, scriptCall{keys: []string{key}, args: commands})
	}
	for i, answer := range s.execAll(ctx, checkScript, calls) {
		if answer.err != nil {
			return explainPermission(answer.err, calls[i].keys[0])
		}
		refused, err := answer.message.AsStrSlice()
		if err != nil {
			return malformed(checkScript, err)
		}
		if len(refused) < 2 {
			continue
		}
		if strings.Contains(refused[1], "Unknown") {
			return rpw.Errorf(errors.ErrUnsupported, "the server does not know the command %s, which rpw needs", refused[0])
		}
		return rpw.Errorf(rpw.ErrPermission, "the user may not run %s on %s; see Permissions in the documentation of driver/redis", refused[0], calls[i].keys[0])
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	for _, command := range []rueidis.Completed{s.client.B().Scan().Cursor(0).Count(1).Build(), s.client.B().Ping().Build()} {
		if err := s.client.Do(bounded, command).Error(); err != nil {
			return classify(ctx, err, false)
		}
	}
	if s.opt.Replicas > 0 {
		if err := s.client.Do(bounded, s.client.B().Wait().Numreplicas(0).Timeout(1).Build()).Error(); err != nil {
			return classify(ctx, err, false)
		}
	}
	w, err := s.waker.watch(bounded, s.keys.channel(workerChannel, "check"))
	if err != nil {
		return err
	}
	w.close()
	return nil
}

func explainPermission(err error, key string) error {
	if errors.Is(err, rpw.ErrPermission) {
		return rpw.Errorf(rpw.ErrPermission, "the user may not run scripts on %s; see Permissions in the documentation of driver/redis: %w", key, err)
	}
	return err
}

// commandPattern finds the commands of a script, with the next word where that is in capitals as well: that of a container ("XGROUP CREATE").
var commandPattern = regexp.MustCompile(`call\(\s*'([A-Z]+)'(?:\s*,\s*'([A-Z]+)')?`)

// containers are the commands that need their second word.
var containers = map[string]bool{"XGROUP": true, "XINFO": true, "OBJECT": true}

// scriptCommands are the commands that the scripts run, each once. PUBLISH is left out: it takes a channel, not a key.
func scriptCommands() []string {
	found := make(map[string]bool)
	names, err := fs.Glob(luaFiles, "lua/*.lua")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for _, name := range names {
		text, err := luaFiles.ReadFile(name)
		if err != nil {
			panic(err) // the file is part of the program
		}
		for _, match := range commandPattern.FindAllSubmatch(text, -1) {
			command := string(match[1])
			if containers[command] {
				command += " " + string(match[2])
			}
			found[command] = true
		}
	}
	delete(found, "PUBLISH")
	return slices.Sorted(maps.Keys(found))
}

// keepsKeys checks that a full server refuses writes rather than to drop keys at will. Where that cannot be asked, the Observer is told.
func (s *store) keepsKeys(ctx context.Context) error {
	if s.opt.AllowEviction {
		return nil
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	for addr, node := range s.client.Nodes() {
		settings, err := node.Do(bounded, node.B().ConfigGet().Parameter("maxmemory*").Build()).AsStrMap()
		if err != nil {
			if err = classify(ctx, err, false); errors.Is(err, rpw.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
				s.opt.notify(rpw.Notice{Kind: rpw.NoticeDegraded, Err: rpw.Errorf(rpw.ErrPermission, "CONFIG GET is not allowed, so it is not known whether the server evicts keys; it must have the policy noeviction")})
				return nil
			}
			return err
		}
		if policy := settings["maxmemory-policy"]; policy != "noeviction" && settings["maxmemory"] != "0" {
			return rpw.Errorf(rpw.ErrInvalid, "the server %s has maxmemory-policy %s, so it drops keys when it is full; set noeviction, or accept the loss with eviction=allow", addr, policy)
		}
	}
	return nil
}
