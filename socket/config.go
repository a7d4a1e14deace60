package socket

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Config says what a Server allows. Its zero value is refused by NewServer: say who may come in, by Authenticate or AllowAnonymous.
type Config struct {
	// Authenticate says who sends the handshake request, before it is upgraded. An error is answered with 401 and a fixed text; its own text is
	// only logged. A bearer token is in the Authorization header (see Bearer), whether it came there, as the subprotocol "auth." + its
	// base64url form (browsers can send no header), or in TokenParameter. When a client brings another token for its connection, Authenticate is called
	// again with the handshake request and that token; the name must stay. nil: nobody but anonymous clients. See Tokens, and package jwtauth.
	Authenticate func(r *http.Request) (Identity, error)
	// AllowAnonymous lets clients without a credential in, as the zero Identity: those that send no bearer token, and that Authenticate
	// does not know by anything else. They may do all but administer, unless Authorize says otherwise.
	AllowAnonymous bool
	// Authorize says whether an identity may do something; an error refuses it, and the client sees ErrPermission. It is called for each
	// operation and each name in it, after validation, and must be quick. What it no longer allows ends with the next operation: of a subscription,
	// that is its next page. nil: identities may do what their Grants say, anonymous ones as above.
	Authorize func(ctx context.Context, id Identity, a Access) error

	// Origins are the web pages that may connect, as "https://app.example.com", "https://*.example.com" or "https://example.com:8443". A
	// request with another Origin header is refused with 403. "*." stands for names of any depth. none: no web page, only programs. "null" and "*"
	// are refused by NewServer.
	Origins []string
	// Hosts are the names under which the server is reached, as in a Host header, the port included unless it is the scheme's own. It keeps pages
	// that had their name resolved to this server out. none: any host if Authenticate is set, else the loopback names only.
	Hosts []string
	// TokenParameter is the query parameter that may carry a bearer token, for clients that have no other way; "": none. URLs end up in logs.
	TokenParameter string

	// Original lets clients of the original redis-process-worker in: connections without a subprotocol speak its JSON protocol.
	Original bool
	// Limits bound what clients can ask for; zero fields are the defaults.
	Limits Limits
	// Logger hears of refusals and closed connections; nil: slog.Default. Never of tokens or payloads.
	Logger *slog.Logger
}

// Identity is who a connection belongs to.
type Identity struct {
	// Name is stable for a client and unique among them: the producers of its publishes are bound to it. "": anonymous.
	Name string
	// Grants are what it may do, where Config.Authorize is nil.
	Grants []Grant
	// Expires is when its credential ends; zero: never. A connection has RefreshGrace more to bring another, then it is closed.
	Expires time.Time
}

// Right is a kind of access.
type Right string

// The rights.
const (
	Read    Right = "read"    // look: read, list, watch
	Write   Right = "write"   // add and change: publish, set, enqueue, cancel; with retention (Batch.Keep, WriteLogs.Keep) it takes Admin, too
	Consume Right = "consume" // take: fetch and settle, claim and advance, heartbeat
	Admin   Right = "admin"   // remove and operate: trim, retention, delete streams and actions, groups, pause
)

// Kind is a kind of name.
type Kind string

// The kinds.
const (
	KindStream Kind = "stream"
	KindKey    Kind = "key"
	KindLog    Kind = "log"
	KindQueue  Kind = "queue"
	KindWorker Kind = "worker"
)

// Access is something that a client wants to do with a name. Listing is asked twice: first with the name "", whether the client may list
// at all, and then for each name found, which is left out if it is refused. A publish or a log's records with retention (Keep), which takes away what others
// wrote, are asked twice as well: to publish or write log, with Write, and to trim, with Admin.
type Access struct {
	Verb  string // of the contract: "publish", "read", "claim", ...
	Right Right
	Kind  Kind
	Name  string
}

// Grant gives rights to names. Patterns are names in which * stands for any run of characters. A log is kept in a stream of its name, so
// grant logs apart from streams by names of their own.
type Grant struct {
	Rights  []Right  `json:"rights"`
	Streams []string `json:"streams,omitempty"`
	Keys    []string `json:"keys,omitempty"`
	Logs    []string `json:"logs,omitempty"`
	Queues  []string `json:"queues,omitempty"`
	Workers []string `json:"workers,omitempty"`
}

// Limits bound what a client can ask for. A zero field is its default.
type Limits struct {
	Connections   int           // at the same time; 10,000. One more is answered with 503
	Handshakes    int           // connections that are not yet authenticated, at the same time; 1,000
	HandshakeTime time.Duration // from the request to the upgrade; 15 s
	ConnectsPerIP float64       // a second, with a burst of ten times as many; 50
	Message       int           // bytes of a message; MaxBatchBytes + 1 MiB
	MessageTime   time.Duration // from the first byte of a message to its last; 10 s
	Messages      float64       // a second, with a burst of as many; 20,000. Who sends more is read more slowly
	Requests      int           // in flight, for each connection; 256
	Waits         int           // requests that wait, for each connection, apart from the others; 1,024
	Bytes         int           // of requests in flight, and of what their answers may hold until they are sent, each, for each connection; 64 MiB. See NewServer
	Bad           int           // messages a minute that are no requests; 100. Then the connection is closed with 1008
	Queue         int           // bytes of answers that wait to be sent to a connection; 1 MiB, but always one answer
	WriteTime     time.Duration // a client that takes nothing for so long is closed with 4008; 5 s
	PingEvery     time.Duration // 25 s; a client that does not answer within PongTime is dropped
	PongTime      time.Duration // 10 s
	RefreshGrace  time.Duration // between the end of a credential and the end of the connection; 25 s
	DrainTime     time.Duration // over which Shutdown spreads the clients' leaving; 5 s
}
