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
	if text := certificateFault(err); text != "" {
		return rpw.Errorf(rpw.ErrInvalid, "TLS: %s: %w", text, err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && !op.Timeout() && !isTLS(err) {
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

// isTLS says whether the TLS layer failed.
func isTLS(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.AlertError](err)
	return ok
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
		_, alert := errors.AsType[tls.AlertError](err)
		return alert
	}
	conn.Close()
	return true
}
