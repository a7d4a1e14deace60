package socket

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/coder/websocket"

	"github.com/redis-process-worker/rpw"
)

// dialer makes connections to a place.
type dialer struct {
	url    string
	host   string // for errors
	opts   Options
	client *http.Client
}

func newDialer(place *url.URL, opts Options) *dialer {
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   opts.TLS,
		DisableKeepAlives: true, // what is not upgraded is of no use
	}
	return &dialer{url: place.String(), host: place.Host, opts: opts, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token is for one host
	}}
}

func (d *dialer) dial(ctx context.Context) (conn, error) {
	header := d.opts.Header.Clone()
	if d.opts.Token != nil {
		token, err := d.opts.Token(ctx)
		if err != nil {
			return nil, err
		}
		if header == nil {
			header = make(http.Header)
		}
		header.Set("Authorization", "Bearer "+token)
	}
	var below net.Conn
	tracing := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { below = info.Conn }})
	ws, resp, err := websocket.Dial(tracing, d.url, &websocket.DialOptions{
		HTTPClient: d.client, HTTPHeader: header, Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		return nil, d.explain(ctx, resp, err)
	}
	if ws.Subprotocol() != Subprotocol {
		ws.CloseNow()
		return nil, rpw.Errorf(rpw.ErrUnavailable, "the WebSocket server at %s does not speak %s", d.host, Subprotocol)
	}
	ws.SetReadLimit(maxAnswer + coalesce)
	return &dialled{Conn: ws, below: below}, nil
}

// dialled is a connection to a server. Contexts do not end its reads and writes, which is costly; CloseNow does, also while Close waits for the
// server.
type dialled struct {
	*websocket.Conn
	below net.Conn
	inbox inbox
}

func (d *dialled) Read(context.Context) (websocket.MessageType, []byte, error) {
	typ, r, err := d.Reader(context.Background())
	if err != nil {
		return 0, nil, err
	}
	data, err := d.inbox.read(r)
	return typ, data, err
}

func (d *dialled) Write(_ context.Context, typ websocket.MessageType, data []byte) error {
	return writeMessage(d.Conn, typ, data)
}

func (d *dialled) CloseNow() error {
	d.below.Close() // whoever is at work with d lets go
	return d.Conn.CloseNow()
}

// explain makes of a failed handshake an error that says what to do.
func (d *dialer) explain(ctx context.Context, resp *http.Response, err error) error {
	if resp != nil {
		return d.explainStatus(resp)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if hint := tlsHint(err); hint != "" {
		return rpw.Errorf(rpw.ErrInvalid, "no secure connection to %s: %w; %s", d.host, err, hint)
	}
	if ctx.Err() != nil {
		return rpw.Errorf(rpw.ErrUnavailable, "%s did not answer in time: %w", d.host, ctx.Err())
	}
	return rpw.Errorf(rpw.ErrUnavailable, "cannot reach %s: %w", d.host, err)
}

func (d *dialer) explainStatus(resp *http.Response) error {
	page, _ := io.ReadAll(resp.Body) // at most 1 KiB of it are there
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return rpw.Errorf(rpw.ErrPermission, "the server at %s asks for a valid token (401)", d.host)
	case status == http.StatusForbidden:
		return rpw.Errorf(rpw.ErrPermission, "the server at %s lets nobody in under this name, origin or token (403)", d.host)
	case status >= 300 && status < 400:
		return rpw.Errorf(rpw.ErrUnavailable, "%s redirects elsewhere (%d), which is not followed; give the final URL", d.host, status)
	case status == http.StatusNotFound:
		return rpw.Errorf(rpw.ErrUnavailable, "%s has no such path (404); check the path of the URL", d.host)
	case status == http.StatusBadRequest && bytes.Contains(page, []byte("HTTPS server")):
		return rpw.Errorf(rpw.ErrInvalid, "%s speaks TLS; use wss", d.host)
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		return rpw.Errorf(rpw.ErrUnavailable, "the server at %s takes no connection at the moment (%d): %w", d.host, status, errComeLater)
	case status == http.StatusSwitchingProtocols:
		return rpw.Errorf(rpw.ErrUnavailable, "the WebSocket server at %s does not answer the handshake as it should", d.host)
	default:
		return rpw.Errorf(rpw.ErrUnavailable, "%s answers the handshake with %d %s: no server of rpw, or something before it", d.host, status, http.StatusText(status))
	}
}

// tlsHint says what to do about an error of TLS; "": it is another.
func tlsHint(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "name the file with its CA's certificate in tls_ca"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "give the name that is in the certificate in tls_server_name"
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "the server needs another certificate"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "the server may speak no TLS, then use ws"
	}
	return ""
}
