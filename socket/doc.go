// Package socket lets processes without access to the backend share a Hub: a server over any Hub, an [http.Handler], and a driver for
// ws:// and wss:// URLs, so that a remote Hub is opened like any other. Import it for its side effect and open a URL, or use [New].
//
// # URLs
//
//	wss://[:token@]host[:port][/path]    a server behind TLS
//	ws://...                             the same without; a token goes over the loopback only
//
// The token is sent as Authorization: Bearer. Escape special characters in it as %XX. The parameters of the query:
//
//	token_file       file that holds the token; it is read again for each connection, and before the token expires
//	insecure         true: a token may go over ws:// to another machine
//	tls_ca           file with the CA's certificates, in PEM; without it those of the system
//	tls_server_name  the name in the server's certificate, if it is not the host
//	timeout          of a call that does not wait, 100ms to 1m: 5s
//	dial_timeout     of a connection, up to the server's greeting: 10s
//
// Anything else is an error, which names it. No error holds a token. Redirects are not followed.
//
// # The link
//
// A Hub has one connection, for all its calls, and makes it again when it is lost: with full jitter, from 2 s at first up to 10 s, and at once when a
// new call needs it. When the server restarts, or has no room, its clients come back spread over 2 to 10 s, and within 2 s when a call needs it. The Observer hears of it (rpw.NoticeConnected, rpw.NoticeReconnecting), and of a server that
// refuses the token or the client (rpw.NoticeRefused): until it takes them again, calls are ErrPermission at once.
//
// Calls wait for the connection: up to their timeout, those with a Wait as long as they wait. What was under way when a connection was
// lost is rpw.ErrUnavailable if it only reads or has not left, and rpw.ErrUncertain if it writes; the Hub repeats both where that is safe. What waits is sent
// again over the next connection; nothing is lost or doubled by it, since its position, or its lane, is part of it. Events and actions that a
// server has taken for a client that is gone are handed back at once.
//
// The client keeps within the limits that the server tells it: more calls than it allows wait for their turn.
//
// # The server
//
// [NewServer] serves any Hub, also one that is a client itself. It wants to know whom to let in: Config.Authenticate ([Tokens], or a function of your own;
// package jwtauth, a module beside this one, takes JSON Web Tokens) or Config.AllowAnonymous. What a client may do is asked for each operation and each name in it, by
// default of the Grants of its Identity; what nobody gave is refused. Retention that comes with a publish or with records (rpw.Keep, logs.WithKeep) takes away what
// others wrote: it needs the right to administer the stream or the log. Leave it out of clients that only write, and say it in a process behind the server. A client cannot leave the Hub's namespace. Web pages connect if Config.Origins lists them. Limits bound
// all that a client can send or leave unread; a client that breaks them is closed alone. Shutdown tells the clients to come back elsewhere, spread over time.
//
// # Clients of the original
//
// With Config.Original, connections without a subprotocol speak the JSON protocol of the original redis-process-worker, so that its
// browser clients work as they are: listen, unlisten, publish, getStreamValues, getVal, getRawVal, setVal, delKey and delKeys, over any Hub. Over
// "redis://...?layout=original" they share streams and cache with processes of the original. Their pages must be listed in Config.Origins, and
// names follow the grammar of rpw. Each message needs the rights of what it does: read for listen and getStreamValues, write for publish, setVal,
// delKey and delKeys, of which the last passes over keys that the client may not delete.
//
// An acknowledgement means that it was done. A client's requests are carried out in the order in which it sent them, also without
// waiting for answers. What it sent before it left is still carried out, for a few seconds. Listens survive outages of the backend, go
// on with what is there where a stream was trimmed, and end with their connection. An event whose data is no JSON arrives with data null
// and an error field. ignorePrefix is refused: there is no way out of the Hub's namespace.
//
// # The protocol
//
// The subprotocol is rpw.v1: binary messages of packets, one operation for each method of the contracts. A peer that sets a field or asks for an operation which the other does
// not know yet gets errors.ErrUnsupported; see testdata/schema.txt for all of them.
package socket
