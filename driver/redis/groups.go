package redis

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// The scripts about groups.
var (
	groupLibs        = []string{"stream_core.lua", "group_core.lua", "stream_lib.lua", "group_lib.lua"}
	ensureScript     = newScript("group_ensure.lua", append(groupLibs, "locate_lib.lua", "groupinfo_lib.lua")...)
	groupsScript     = newReader("group_list.lua", append(groupLibs, "groupinfo_lib.lua")...)
	pendingScript    = newScript("group_pending.lua", groupLibs...)
	fetchScript      = newScript("group_fetch.lua", "stream_core.lua", "group_core.lua", "fetch_quick.lua", "stream_lib.lua", "group_lib.lua")
	settleScript     = newScript("group_settle.lua", "stream_core.lua", "group_core.lua", "settle_quick.lua", "stream_lib.lua", "group_lib.lua")
	administerScript = newScript("group_administer.lua", append(groupLibs, "locate_lib.lua")...)
)

// keysWithDead are the KEYS of scripts that may move events to the group's dead-letter stream, and that stream's channel. A
// dead-letter stream has none of its own.
func (b *streamBus) keysWithDead(stream, group string) (keys []string, channel string) {
	keys = b.keysOf(stream)
	if _, _, dead := rpw.ParseDeadLetter(stream); dead {
		return keys, ""
	}
	letters := rpw.DeadLetter(stream, group)
	return append(keys, b.keysOf(letters)...), b.keys.channel(streamChannel, letters)
}

// groupChannelOf is where it is told that something a group has delivered can be delivered again.
func (b *streamBus) groupChannelOf(stream, group string) string {
	return b.keys.channel(groupChannel, rpw.DeadLetter(stream, group))
}

// EnsureGroup implements rpw.StreamBus.
func (b *streamBus) EnsureGroup(ctx context.Context, cfg rpw.GroupConfig) (rpw.GroupInfo, error) {
	lease := cmp.Or(cfg.Lease, rpw.DefaultGroupLease)
	deliveries := cmp.Or(cfg.MaxDeliveries, rpw.DefaultMaxDeliveries)
	letters := cmp.Or(cfg.DeadLetter.Events, rpw.DefaultKeepEvents)
	update := ""
	if cfg.Update {
		update = "1"
	}
	place, value := locating(cfg.From)
	m, err := b.exec(ctx, ensureScript, b.keysOf(cfg.Stream), []string{
		b.begin(), cfg.Group, millis(lease), strconv.Itoa(deliveries), strconv.FormatInt(letters, 10), millis(cfg.DeadLetter.Age),
		update, writeStart(cfg.From), place, value,
	})
	if err != nil {
		return rpw.GroupInfo{}, err
	}
	return readGroup(cfg.Stream, m)
}

// writeStart is a start as it is stored with its group: kind, number, time and position.
func writeStart(s rpw.Start) string {
	at := int64(0)
	if s.Kind == rpw.StartSince {
		at = s.Time.UnixNano()
	}
	return strings.Join([]string{strconv.Itoa(int(s.Kind)), strconv.Itoa(s.N), strconv.FormatInt(at, 10), wire(s.Position)}, " ")
}

func readStart(text string) (s rpw.Start) {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) < 4 {
		return s
	}
	kind, _ := strconv.Atoi(parts[0])
	s.Kind = rpw.StartKind(kind)
	s.N, _ = strconv.Atoi(parts[1])
	if at, _ := strconv.ParseInt(parts[2], 10, 64); s.Kind == rpw.StartSince {
		s.Time = time.Unix(0, at)
	}
	s.Position, _ = unwire(parts[3])
	return s
}

// readGroup reads what lua/groupinfo_lib.lua says of a group.
func readGroup(stream string, m rueidis.RedisMessage) (rpw.GroupInfo, error) {
	fields, err := m.ToArray()
	if err != nil {
		return rpw.GroupInfo{}, badReply("a strange group")
	}
	r := reader{fields: fields}
	info := rpw.GroupInfo{GroupConfig: rpw.GroupConfig{
		Stream: stream, Group: r.text(), Lease: r.duration(), MaxDeliveries: int(r.int()), DeadLetter: rpw.Retention{Events: r.int(), Age: r.duration()}, From: readStart(r.text()),
	}}
	info.Incarnation = uint64(r.int())
	info.Position = r.position()
	info.Lag, info.Pending = r.int(), r.int()
	info.OldestPending = r.duration()
	info.DeadLetters = r.int()
	members := reader{fields: r.list(), err: r.err}
	for len(members.fields) > 0 && members.err == nil {
		info.Consumers = append(info.Consumers, rpw.ConsumerInfo{Name: members.text(), Pending: members.int(), LastSeen: time.UnixMilli(members.int())})
	}
	slices.SortFunc(info.Consumers, func(a, b rpw.ConsumerInfo) int { return strings.Compare(a.Name, b.Name) })
	return info, members.err
}

// Groups implements rpw.StreamBus.
func (b *streamBus) Groups(ctx context.Context, stream string) ([]rpw.GroupInfo, error) {
	m, err := b.exec(ctx, groupsScript, b.keysOf(stream), []string{b.begin()})
	if err != nil {
		return nil, err
	}
	list, err := m.ToArray()
	if err != nil {
		return nil, badReply(err.Error())
	}
	infos := make([]rpw.GroupInfo, len(list))
	for i := range list {
		if infos[i], err = readGroup(stream, list[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(infos, func(a, b rpw.GroupInfo) int { return strings.Compare(a.Group, b.Group) })
	return infos, nil
}

// Pending implements rpw.StreamBus.
func (b *streamBus) Pending(ctx context.Context, req rpw.PendingRequest) (page rpw.PendingPage, err error) {
	m, err := b.exec(ctx, pendingScript, b.keysOf(req.Stream), []string{
		req.Group, req.Consumer, req.After.String(), strconv.Itoa(pageMax(req.Max, rpw.MaxPage)),
	})
	if err != nil {
		return page, err
	}
	fields, err := m.ToArray()
	if err != nil {
		return page, badReply(err.Error())
	}
	r := reader{fields: fields}
	more := r.text() != ""
	for len(r.fields) > 0 && r.err == nil {
		page.Entries = append(page.Entries, rpw.PendingEntry{
			ID: r.id(), Consumer: r.text(), Attempt: int(r.int()), Leased: r.text() != "", Until: time.UnixMilli(r.int()), Reason: r.text(),
		})
	}
	if more {
		page.Next = page.Entries[len(page.Entries)-1].ID
	}
	return page, r.err
}

// Administer implements rpw.StreamBus: one script for each command, or for the consumers of a group that are removed one after the other.
func (b *streamBus) Administer(ctx context.Context, req rpw.GroupCommands) ([]rpw.GroupAnswer, error) {
	lane, seq := laneArgs(req.Lane)
	var calls []scriptCall
	var runs [][]rpw.GroupCommand // the commands of each call
	for i := 0; i < len(req.Commands); {
		run := req.Commands[i : i+alike(req.Commands[i:])]
		cmd := &run[0]
		keys, _ := b.keysWithDead(cmd.Stream, cmd.Group)
		args := append([]string{b.begin(), cmd.Group, lane, seq, strconv.Itoa(i), b.groupChannelOf(cmd.Stream, cmd.Group)}, commandArgs(cmd)...)
		for _, more := range run[1:] {
			args = append(args, more.Consumer)
		}
		calls, runs = append(calls, scriptCall{keys, args}), append(runs, run)
		i += len(run)
	}
	answers := make([]rpw.GroupAnswer, 0, len(req.Commands))
	for i, answer := range b.execAll(ctx, administerScript, calls) {
		if answer.err != nil && len(calls) == 1 && rpw.Code(answer.err) != "not_found" {
			return nil, answer.err
		}
		answers = append(answers, readCounts(answer, len(runs[i]))...)
	}
	return answers, nil
}

// alike is how many commands, from the first on, one script carries out.
func alike(commands []rpw.GroupCommand) int {
	first, n := &commands[0], 1
	if first.Verb != rpw.RemoveConsumer {
		return n
	}
	for n < len(commands) && commands[n].Verb == first.Verb && commands[n].Stream == first.Stream && commands[n].Group == first.Group {
		n++
	}
	return n
}

// readCounts reads what a script answered to so many commands.
func readCounts(answer scriptAnswer, n int) []rpw.GroupAnswer {
	answers := make([]rpw.GroupAnswer, n)
	err := answer.err
	var counts []string
	if err == nil {
		text, _ := answer.message.ToString()
		if counts = strings.Fields(text); len(counts) != n {
			err = badReply("strange counts: " + text)
		}
	}
	for i := range answers {
		if answers[i].Err = err; err == nil {
			answers[i].Events, _ = strconv.ParseInt(counts[i], 10, 64)
		}
	}
	return answers
}

// commandArgs are the ARGV that say a command.
func commandArgs(cmd *rpw.GroupCommand) []string {
	switch cmd.Verb {
	case rpw.Redrive:
		args := []string{"redrive", strconv.Itoa(cmp.Or(cmd.Max, rpw.MaxBatch))}
		for _, id := range cmd.IDs {
			args = append(args, id.String())
		}
		return args
	case rpw.ResetGroup:
		place, value := locating(cmd.From)
		return []string{"reset", place, value}
	case rpw.RemoveConsumer:
		return []string{"remove", cmd.Consumer}
	}
	return []string{"delete"}
}

// laneArgs are a lane as scripts take it.
func laneArgs(lane rpw.Lane) (id, seq string) {
	if lane == (rpw.Lane{}) {
		return "", "0"
	}
	return string(lane.ID[:]), strconv.FormatUint(lane.Seq, 10)
}
