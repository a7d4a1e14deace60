// Package socket lets processes without access to the backend share a Hub: a server over any Hub, an [http.Handler], and a driver for
// ws:// and wss:// URLs, so that a remote Hub is opened like any other.
package socket
