package redis

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/redis-process-worker/rpw"
)

// keyspace builds every key and every channel. Names come checked: no braces, no glob characters, so nothing but this file
// chooses a cluster slot. Whatever has a side key has one slot: that of its main key.
//
// In the text that a caller appends (suffix), what a user chose comes last, so that no two things get one key.
type keyspace struct {
	prefix string
	flat   bool   // the original's layout: streams and cache keys are prefix:name, of one kind each
	db     string // "" for database 0; part of channels, which know no databases
}

// mark sets what is rpw's own apart from streams and cache keys. In the flat layout it is a character that names cannot hold.
func (k keyspace) mark() string {
	if k.flat {
		return k.prefix + "^"
	}
	return k.prefix + ":"
}

// plain is the key of the original: one colon between prefix and name, none if there is no prefix or it ends with one.
func (k keyspace) plain(name string) string {
	if n := len(k.prefix); n == 0 || k.prefix[n-1] == ':' {
		return k.prefix + name
	}
	return k.prefix + ":" + name
}

// streamKeys are the keys of one stream.
type streamKeys struct {
	main string // the stream itself
	tag  string // before the suffix of a side key
}

// stream gives the keys of a stream. A dead-letter stream lives in the slot of the stream it belongs to.
func (k keyspace) stream(name string) streamKeys {
	owner, group, dead := rpw.ParseDeadLetter(name)
	main := k.prefix + ":s:" + owner
	if k.flat {
		main = k.plain(owner)
	}
	own := streamKeys{main: main, tag: "{" + main + "}:"}
	if !dead {
		return own
	}
	return streamKeys{
		main: own.side("dead:" + group),
		tag:  own.side("of-dead:" + strconv.Itoa(len(group)) + ":" + group + ":"),
	}
}

// side is a key beside the stream, in its slot.
func (s streamKeys) side(suffix string) string { return s.tag + suffix }

// cache is the key of a cache value.
func (k keyspace) cache(key string) string {
	if k.flat {
		return k.plain(key)
	}
	return k.prefix + ":c:" + key
}

// queueKeys are the keys of one queue.
type queueKeys struct{ tag string }

func (k keyspace) queue(name string) queueKeys { return queueKeys{"{" + k.mark() + "a:" + name + "}:"} }

// side is a key of the queue; all of them share its slot.
func (q queueKeys) side(suffix string) string { return q.tag + suffix }

// queues is a key of the registry of queues.
func (k keyspace) queues(suffix string) string { return "{" + k.mark() + "a}:" + suffix }

// workers is a key of the registry of workers.
func (k keyspace) workers(suffix string) string { return "{" + k.mark() + "w}:" + suffix }

// The kinds of channels.
const (
	streamChannel = "s" // something was added to the stream
	groupChannel  = "g" // name is that of the stream; a delivery came free
	queueChannel  = "q" // an action became ready, or due earlier
	actionChannel = "a" // name is "queue/id"; it changed
	workerChannel = "w" // name is the session; there is a signal
	echoChannel   = "e" // name is random; one waker tries its link
)

// channel is where a change is told, as a hint: the store is the truth.
func (k keyspace) channel(kind, name string) string {
	if k.db != "" {
		return k.mark() + "n@" + k.db + ":" + kind + ":" + name
	}
	return k.mark() + "n:" + kind + ":" + name
}

// streamOf is the stream that a channel tells of, if it is of one.
func (k keyspace) streamOf(channel string) (name string, ok bool) {
	return strings.CutPrefix(channel, k.channel(streamChannel, ""))
}

// events is the channel on which a server tells what happens to a key, if it does (notify-keyspace-events).
func (k keyspace) events(key string) string { return "__keyspace@" + cmp.Or(k.db, "0") + "__:" + key }
