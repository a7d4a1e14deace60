package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// explain says why no connection could be made, and what to change.
func (c *config) explain(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if _, ok := rueidis.IsRedisErr(err); ok {
		return classify(ctx, err, false)
	}
	if refused, ok := errors.AsType[*rpw.Error](err); ok {
		return refused
	}
	if text := certificateFault(err); text != "" {
		return rpw.Errorf(rpw.ErrInvalid, "TLS: %s: %w", text, err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && !op.Timeout() && !isTLS(err) && !errors.Is(err, errNotGreeted) {
		return rpw.Errorf(rpw.ErrUnavailable, "%w", err)
	}
	if c.mode == single { // a server that accepts and does not answer as it should
		ctx, cancel := context.WithTimeout(ctx, c.dialTimeout)
		defer cancel()
		switch {
		case c.tls && answersPlain(ctx, c.addrs[0]):
			return rpw.Errorf(rpw.ErrInvalid, "TLS: the server speaks no TLS on this port; use redis://, or its TLS port")
		case !c.tls && answersTLS(ctx, c.addrs[0]):
			return rpw.Errorf(rpw.ErrInvalid, "TLS: the server speaks TLS on this port; use rediss://")
		}
	}
	if c.tls && c.cert == "" && c.mode == single && wantsCertificate(ctx, c.addrs[0]) {
		return rpw.Errorf(rpw.ErrInvalid, "TLS: the server wants a certificate; give it by tls_cert and tls_key")
	}
	if isTLS(err) {
		return rpw.Errorf(rpw.ErrInvalid, "TLS: %w", err)
	}
	return rpw.Errorf(rpw.ErrUnavailable, "the server does not answer as a Redis server does: %w", err)
}

// certificateFault says what is wrong with a certificate, "" if it is not that.
func certificateFault(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate of the server is signed by nobody this machine trusts; give the CA's file by tls_ca"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate of the server is for another name; give it by tls_server_name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return "the certificate of the server has expired, or is not valid yet"
		}
		return "the certificate of the server is not valid"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of the server is not valid"
	}
	return ""
}

// isTLS says whether the TLS layer failed, here or there.
func isTLS(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	for ok && op.Op == "dial" { // which our dialler says of TLS, too
		op, ok = errors.AsType[*net.OpError](op.Err)
	}
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

// answersPlain says whether a server answers a PING without TLS.
func answersPlain(ctx context.Context, addr string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	answer := make([]byte, 1)
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	_, err = conn.Read(answer)
	return err == nil && (answer[0] == '+' || answer[0] == '-')
}

// answersTLS says whether a server answers a TLS handshake, with whatever certificate.
func answersTLS(ctx context.Context, addr string) bool {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Second}, Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return isTLS(err) && !errors.As(err, new(tls.RecordHeaderError))
	}
	conn.Close()
	return true
}

// wantsCertificate says whether a server ends a handshake because it wants a certificate; with TLS 1.3 it says so afterwards.
func wantsCertificate(ctx context.Context, addr string) bool {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Second}, Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return isTLS(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	_, err = conn.Read(make([]byte, 1))
	return isTLS(err)
}
