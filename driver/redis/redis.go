// Package redis is the driver of rpw for Redis 7.0 and later and for Valkey, over rueidis. Import it for its side effect and open a URL, or make a
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
// # Permissions
//
// With the prefix "rpw" a user needs these rules, which Open checks; CLIENT TRACKING is for the near cache alone, CONFIG GET
// (which is not among them) for the check that the server evicts no keys:
//
//	~rpw:* ~{rpw:* &rpw:* +@read +@write +@scripting +@pubsub +@connection -@dangerous +role
package redis
