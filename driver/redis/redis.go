// Package redis is the driver of rpw for Redis 7.0 and later, over rueidis; its tests ran on Redis 7.0.15. Import it for its side effect and open a URL, or make a
// client of your own and use [New].
//
// # URLs
//
//	redis://[user:password@]host[:port][/db]                           a server
//	rediss://...                                                       the same by TLS
//	redis+unix://[user:password@]/path/of/the/socket                   the same by a socket
//	redis+sentinel://[user:password@]host[:port],host[:port]/master    the master that Sentinels name
//	redis+cluster://[user:password@]host:port,host:port                a cluster; some of its nodes are enough
//
// In a list give either all hosts a port or none; IPv6 addresses cannot be in one. The parameters of the query:
//
//	prefix             begins all keys and channels: "rpw"
//	layout             rpw, or original: see Keys
//	durability         async, or replicated: a write is acknowledged when replicas have it
//	replicas           how many, 1 to 100: 1
//	foreign            on, or off: whether events that others add with XADD wake those who wait
//	near               bytes of the near cache, 16 MiB; off for none
//	eviction           refuse, or allow: whether the server may drop keys when it is full
//	timeout            of a round trip, 100ms to 1m: 5s
//	dial_timeout       of a connection, TLS included: 2s
//	connections        for calls, to each server, a power of 2 to 256: as many as processors, at most 4; 1 in a cluster
//	pool               at most, to each server, for calls that wait for replicas: 64
//	db                 number of the database, where the path does not name it
//	sentinel_user, sentinel_password   for the Sentinels
//	tls                true: by TLS, for redis+sentinel and redis+cluster
//	tls_ca             file with the CA's certificates, in PEM; without it those of the system
//	tls_cert, tls_key  files with a certificate for the server to check, in PEM
//	tls_server_name    the name in the server's certificate, if it is not the host
//	tls_insecure       true: check no certificate
//
// Anything else is an error, which names it. No error holds a password.
//
// # Delivery semantics
//
// An acknowledged write is as durable as the server makes it: appendfsync says what a crash of the machine may take. A failover may take
// what the new master had not received yet; with durability=replicated a write is acknowledged when that many replicas have it, and is
// rpw.ErrUncertain when they do not in time, for about a round trip more for each call. While slots of a cluster move, that holds for the node that had them.
// Most verbs whose slot moves are rpw.ErrUnavailable, with nothing done, until its last key has moved; reading streams goes on.
// What a failover, a restore or a FLUSHALL took, readers of a stream are told as a gap before they go on.
//
// The driver repeats nothing; the Hub does, where that is safe. A full server (maxmemory) refuses what adds, with rpw.ErrFull and nothing done, and lets everything
// go on that finishes or frees. One whose disk is full is rpw.ErrUnavailable to writes, and is read all the same. Open refuses a server that would evict keys instead, unless told to accept it. Calls wait without blocking
// the server: one connection of each Hub listens to the channels of all that waits, and since a message can be lost, each call looks again
// in a while. Events that others than rpw add wake at once where the server tells them (notify-keyspace-events with K and t; not in a cluster), otherwise
// within 2 s; that look is one command for some hundred streams.
//
// The near cache serves reads with MaxStale from this process. It is invalidated by the server (CLIENT TRACKING); a value is served only while the
// last proof that the link works is younger than MaxStale, and than 3 s in any case. What a Hub wrote itself it reads back at once. That a key is not
// there is kept, too, but not in a cluster.
//
// # Keys and scripts
//
// Whatever must be atomic is one script, in lua/*.lua; each begins with its keys, which lie in one slot of a cluster. The keys of a
// stream are prefix:s:name and, beside it, {prefix:s:name}:..., a cache value is prefix:c:key, the keys of a queue are {prefix:a:queue}:..., those of
// workers {prefix:w}:..., and channels are prefix:n:... in all databases. Entries of streams have the type and the payload as their first field and
// value, then, under the field rpw, what rpw adds, then the headers. See docs/redis-layout.md for all of them.
//
// With layout=original streams and cache values have the keys of the original redis-process-worker, prefix:name, so that its programs and those of rpw share them. There
// payloads are JSON, or empty; the event type "complete" is refused; a name is a stream or a cache key, not both (rpw.ErrConflict); streams keep everything unless a
// publisher says otherwise.
//
// # Permissions
//
// With the prefix "rpw" in database 0, these rules of ACL SETUSER are what a user needs, by what a program is for. An observer reads everything and
// writes nothing; a producer also publishes, enqueues, and writes cache and log; a worker also consumes, claims, advances and beats; a gateway, as a
// socket server is one, can do everything: it also cancels, retries and deletes actions, deletes streams and events, and administers groups.
//
//	observer  %R~rpw:* %R~{rpw:* &rpw:* +@read +@connection -@dangerous +time +eval_ro +evalsha_ro +subscribe +unsubscribe
//	          (+publish &rpw:n:e:*)
//	producer  %R~{rpw:* &rpw:* +@read +@connection -@dangerous +time +eval_ro +evalsha_ro +subscribe +unsubscribe
//	          ~rpw:s:* ~{rpw:s:*}:[mpk]* ~{rpw:s:*}:g:* ~{rpw:s:*}:gk:* ~rpw:c:* ~{rpw:a:*}:[^l]* ~{rpw:a}:*
//	          +eval +evalsha +publish +del +hdel +hset +incrby +persist +pexpire +sadd +set +srem +xadd +xtrim +zadd +zrem
//	          (+unlink ~rpw:c:*)
//	worker    %R~{rpw:* &rpw:* +@read +@connection -@dangerous +time +eval_ro +evalsha_ro +subscribe +unsubscribe
//	          ~rpw:s:* ~{rpw:s:*}:* ~rpw:c:* ~{rpw:a:*}:[^l]* ~{rpw:a:*}:l[ac]:* ~{rpw:a}:* ~{rpw:w}:*
//	          +eval +evalsha +publish +del +hdel +hset +incrby +persist +pexpire +sadd +set +srem +xadd +xtrim +zadd +zrem
//	          +hincrby +lrem +ltrim +rpush
//	          (+unlink ~rpw:c:*)
//	gateway   ~rpw:* ~{rpw:* &rpw:* +@read +@connection -@dangerous +time +eval_ro +evalsha_ro +subscribe +unsubscribe
//	          +eval +evalsha +publish +del +hdel +hset +incrby +persist +pexpire +sadd +set +srem +xadd +xtrim +zadd +zrem
//	          +hincrby +lrem +ltrim +rpush +unlink +xdel
//
// Open asks what the user may do. It refuses one who cannot even read; a verb that needs what is missing later answers rpw.ErrPermission, which names
// the commands and a key, with nothing done. What the operator grants later is seen by what is opened then. A server that lets the user in no more, as
// its password was changed, is tried again every 5 s, and calls are rpw.ErrPermission meanwhile.
//
// Each role reads, since what it writes hangs on what is there. Retention is applied by publishing, so who publishes can trim (a gateway
// keeps its clients from that: package socket asks for a right of its own). The rules keep programs
// to what they are for; against somebody who sends commands of his own, they protect what they give no keys to. A program that is several of these in
// one needs the rules of the widest.
//
// An observer reads by scripts that write nothing. So retention by age, and what time does to actions, is done by others: until then an observer sees
// events that are too old, and in Queues and Count what is past its time as it stood (of more than some hundred actions). A watch of an action looks
// each second. A stream that others made and nobody who may write has looked at with rpw has no epoch yet, so no positions: that is rpw.ErrPermission,
// as giving it one takes HSET on its hash {rpw:s:name}:m.
//
// CLIENT TRACKING, in +@connection, is needed for the near cache alone. CONFIG GET, which is in no line, lets Open check that the server evicts no keys,
// and with the channels &__keyspace@* lets events of others wake at once. What is missing of these two the Observer is told (rpw.NoticeDegraded). For a
// cluster add +role +cluster|slots +cluster|shards +cluster|info, for Sentinel +role, for durability=replicated +wait. In another database the channels
// of an observer's last rule are &rpw:n@<db>:e:*. With layout=original and the prefix p, rpw:*, rpw:s:* and rpw:c:* are p:*, {rpw:s:* is {p:*, {rpw:a
// and {rpw:w are {p^a and {p^w, {rpw:* is both of {p:* and {p^*, and channels begin with p^.
//
// # Native access
//
// rpw.Native[rueidis.Client] gives the client behind a Hub. It is shared: do not close it, and keep off the keys of the prefix.
package redis
