package redis

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// streamBus implements rpw.StreamBus. What has to be atomic is one script; see the heads of lua/stream_core.lua and lua/group_core.lua for
// what is stored.
type streamBus struct {
	*store
	sizes   sizes
	queues  queues
	cursors cursors
}

var _ rpw.StreamBus = (*streamBus)(nil)

func (s *store) streams() rpw.StreamBus {
	return &streamBus{
		store:   s,
		sizes:   sizes{seed: maphash.MakeSeed()},
		queues:  queues{byGroup: make(map[string]*queue)},
		cursors: cursors{byGroup: make(map[string]cursor)},
	}
}

// The scripts about streams. Trimming rescues what groups hold, so those that trim have the groups' functions, too.
var (
	streamLibs         = []string{"stream_core.lua", "stream_lib.lua", "lazy_begin.lua", "group_core.lua", "group_lib.lua", "lazy_end.lua"}
	publishScript      = newScript("stream_publish.lua", append([]string{"publish_quick.lua"}, streamLibs...)...)
	resumeScript       = newReader("stream_resume.lua", streamLibs...)
	locateScript       = newReader("stream_locate.lua", append(streamLibs, "locate_lib.lua")...)
	infoScript         = newReader("stream_info.lua", streamLibs...)
	trimScript         = newScript("stream_trim.lua", streamLibs...)
	deleteEventsScript = newScript("stream_delete_events.lua", streamLibs...)
	deleteStreamScript = newScript("stream_delete.lua", "stream_core.lua")
)

// streamKeys are the KEYS of all scripts about a stream: itself and its meta hash.
func (b *streamBus) keysOf(stream string) []string {
	k := b.keys.stream(stream)
	return []string{k.main, k.side("m")}
}

// begin is how a history begins that a script may find missing: its epoch, and how many events it keeps if nobody says
// otherwise. With the original's layout that is all.
func (b *streamBus) begin() string {
	keep := " 0"
	if b.keys.flat {
		keep = " -1"
	}
	for {
		if epoch := rand.Uint64(); epoch != 0 {
			return strconv.FormatUint(epoch, 10) + keep
		}
	}
}

// wire is the form of a position in scripts: "epoch id count".
func wire(p rpw.Position) string {
	b := make([]byte, 0, 64)
	b = strconv.AppendUint(b, p.Epoch, 10)
	b = append(b, ' ')
	b = append(appendID(b, p.ID), ' ')
	return string(strconv.AppendUint(b, p.Count, 10))
}

func appendID(b []byte, id rpw.ID) []byte {
	b = strconv.AppendUint(b, id.MS, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, id.Seq, 10)
}

// unwire reads what wire writes.
func unwire(text string) (rpw.Position, error) {
	epoch, rest, _ := strings.Cut(text, " ")
	id, count, _ := strings.Cut(rest, " ")
	var p rpw.Position
	var err error
	if p.Epoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
		return p, badReply(text)
	}
	if p.ID, err = rpw.ParseID(id); err != nil {
		return p, badReply(text)
	}
	if p.Count, err = strconv.ParseUint(count, 10, 64); err != nil {
		return p, badReply(text)
	}
	return p, nil
}

// badReply is an answer that no script of ours gives: something else changed our keys.
func badReply(text string) error {
	return rpw.Errorf(rpw.ErrConflict, "the stream's keys hold %s, which rpw does not write", rpw.QuoteName(text))
}

func millis(d time.Duration) string { return strconv.FormatInt(roundUp(d), 10) }

// roundUp is a duration in ms; what is shorter than one counts as one.
func roundUp(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// Locate implements rpw.StreamBus.
func (b *streamBus) Locate(ctx context.Context, stream string, at rpw.Start) (rpw.Position, error) {
	if at.Kind == rpw.StartAfter && at.Position.Epoch != 0 {
		return at.Position, ctx.Err()
	}
	kind, value := locating(at)
	m, err := b.exec(ctx, locateScript, b.keysOf(stream), []string{b.begin(), kind, value})
	if err != nil {
		return rpw.Position{}, err
	}
	text, err := m.ToString()
	if err != nil {
		return rpw.Position{}, badReply(err.Error())
	}
	return unwire(text)
}

// locating says a start as scripts take it: the kind and its value, or a place in the form of wire and no value.
func locating(at rpw.Start) (kind, value string) {
	switch at.Kind {
	case rpw.StartOldest:
		return "oldest", "-"
	case rpw.StartSince:
		return "since", strconv.FormatInt(max(0, ceilMilli(at.Time)), 10)
	case rpw.StartLast:
		return "last", strconv.Itoa(at.N)
	case rpw.StartAfter:
		if at.Position.Epoch != 0 {
			return wire(at.Position), ""
		}
		return "after", at.Position.ID.String()
	}
	return "newest", "-"
}

// ceilMilli is the first millisecond that is not before t.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// StreamInfo implements rpw.StreamBus.
func (b *streamBus) StreamInfo(ctx context.Context, stream string) (rpw.StreamInfo, error) {
	m, err := b.exec(ctx, infoScript, b.keysOf(stream), []string{b.begin()})
	if err != nil {
		return rpw.StreamInfo{}, err
	}
	if m.IsNil() {
		return rpw.StreamInfo{}, rpw.Errorf(rpw.ErrNotFound, "the stream does not exist; it begins with the first publish or subscription")
	}
	f, err := m.ToArray()
	if err != nil || len(f) != 7 {
		return rpw.StreamInfo{}, badReply("a strange description")
	}
	r := reader{fields: f}
	info := rpw.StreamInfo{
		Name:   stream,
		Events: r.int(),
		Added:  uint64(r.int()),
		First:  r.position(),
		Last:   r.position(),
		Groups: int(r.int()),
		Keep:   rpw.Retention{Events: r.int(), Age: r.duration()},
	}
	return info, r.err
}

// Trim implements rpw.StreamBus.
func (b *streamBus) Trim(ctx context.Context, stream string, keep rpw.Retention) (int64, error) {
	most, age := "", ""
	switch {
	case keep.Events == 0:
		most = strconv.Itoa(rpw.DefaultKeepEvents)
	case keep.Events > 0:
		most = strconv.FormatInt(keep.Events, 10)
	}
	if keep.Age > 0 {
		age = millis(keep.Age)
	}
	return b.count(ctx, trimScript, stream, b.begin(), most, age, b.channelOf(stream))
}

// DeleteEvents implements rpw.StreamBus. What a group has already delivered stays with that group.
func (b *streamBus) DeleteEvents(ctx context.Context, stream string, ids []rpw.ID) (int64, error) {
	args := append(make([]string, 0, 2+len(ids)), b.begin(), b.channelOf(stream))
	for _, id := range ids {
		args = append(args, id.String())
	}
	return b.count(ctx, deleteEventsScript, stream, args...)
}

// count runs a script that answers with a number.
func (b *streamBus) count(ctx context.Context, sc *script, stream string, args ...string) (int64, error) {
	m, err := b.exec(ctx, sc, b.keysOf(stream), args)
	if err != nil {
		return 0, err
	}
	n, err := m.AsInt64()
	if err != nil {
		return 0, badReply(err.Error())
	}
	return n, nil
}

// DeleteStream implements rpw.StreamBus.
func (b *streamBus) DeleteStream(ctx context.Context, stream string) error {
	_, err := b.exec(ctx, deleteStreamScript, b.keysOf(stream), []string{b.keys.channel(streamChannel, stream)})
	return err
}

// reader reads the fields of an answer one by one. The first thing it cannot read is its error.
type reader struct {
	fields []rueidis.RedisMessage
	err    error
}

func (r *reader) next() (m rueidis.RedisMessage) {
	if len(r.fields) == 0 {
		r.fail("an answer that ends early")
		return m
	}
	m = r.fields[0]
	r.fields = r.fields[1:]
	return m
}

func (r *reader) fail(text string) {
	if r.err == nil {
		r.err = badReply(text)
	}
}

func (r *reader) text() string {
	m := r.next()
	text, err := m.ToString()
	if err != nil && r.err == nil {
		r.fail("no text")
	}
	return text
}

func (r *reader) int() int64 {
	text := r.text()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.fail(text)
	}
	return n
}

func (r *reader) duration() time.Duration { return time.Duration(r.int()) * time.Millisecond }

func (r *reader) position() rpw.Position {
	p, err := unwire(r.text())
	if err != nil && r.err == nil {
		r.err = err
	}
	return p
}

func (r *reader) id() rpw.ID {
	text := r.text()
	id, err := rpw.ParseID(text)
	if err != nil {
		r.fail(text)
	}
	return id
}

func (r *reader) list() []rueidis.RedisMessage {
	m := r.next()
	list, err := m.ToArray()
	if err != nil {
		r.fail("no list")
	}
	return list
}
