package redis

import (
	"context"
	"errors"
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

// permitted finds out what the user may do, and checks that reading is a part of it: to run scripts, to scan, and to listen to our channels.
func (s *store) permitted(ctx context.Context) (err error) {
	if s.rights, err = s.findRights(ctx); err != nil {
		return err
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	for _, command := range []rueidis.Completed{s.client.B().Scan().Cursor(0).Count(1).Build(), s.client.B().Ping().Build()} {
		err := s.client.Do(bounded, command).Error()
		if e, ok := rueidis.IsRedisErr(err); err != nil && !(ok && refusesWrites(e)) { // a server with a full disk answers no PING, and can be read
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
