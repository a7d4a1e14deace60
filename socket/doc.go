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
// A Hub has one connection, for all its calls, and makes it again when it is lost: with full jitter from 0.2 s up to 10 s, at once when a
// call needs it, and spread over some seconds when the server restarts. The Observer hears of it (rpw.NoticeConnected, rpw.NoticeReconnecting), and of a server that
// refuses the token or the client (rpw.NoticeRefused): until it takes them again, calls are ErrPermission at once.
//
// Calls wait for the connection: up to their timeout, those with a Wait as long as they wait. What was under way when a connection was
// lost is rpw.ErrUnavailable if it only reads or has not left, and rpw.ErrUncertain if it writes; the Hub repeats both where that is safe. What waits is sent
// again over the next connection; nothing is lost or doubled by it, since its position, or its lane, is part of it. Events and actions that a
// server has taken for a client that is gone are handed back at once.
//
// The client keeps within the limits that the server tells it: more calls than it allows wait for their turn.
//
// # The protocol
//
// The subprotocol is rpw.v1: binary messages of packets, one operation for each method of the contracts. A peer that sets a field or asks for an operation which the other does
// not know yet gets errors.ErrUnsupported; see testdata/schema.txt for all of them.
package socket
