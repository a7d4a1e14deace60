package socket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

const urlForm = "wss://[:token@]host[:port][/path], or ws://..."

// urlOptions is what the parameters of a URL say.
type urlOptions struct {
	Options
	tokenFile  string
	ca         string // file
	serverName string
}

// parameters read the value of a parameter; they return what it must be, if it is not.
var parameters = map[string]func(o *urlOptions, value string) (want string){
	"token_file":      func(o *urlOptions, v string) string { return text(&o.tokenFile, v, "the path of a file") },
	"tls_ca":          func(o *urlOptions, v string) string { return text(&o.ca, v, "the path of a file") },
	"tls_server_name": func(o *urlOptions, v string) string { return text(&o.serverName, v, "a name") },
	"insecure": func(o *urlOptions, v string) string {
		o.Insecure = v == "true"
		if v != "true" && v != "false" {
			return "true or false"
		}
		return ""
	},
	"dial_timeout": func(o *urlOptions, v string) string { return duration(&o.DialTimeout, v) },
	"timeout":      func(o *urlOptions, v string) string { return duration(&o.Timeout, v) },
}

func text(to *string, v, want string) string {
	*to = v
	if v == "" {
		return want
	}
	return ""
}

func duration(to *time.Duration, v string) string {
	d, err := time.ParseDuration(v)
	if err != nil || d < 100*time.Millisecond || d > time.Minute {
		return "a duration from 100ms to 1m"
	}
	*to = d
	return ""
}

// parseURL reads a URL. place is where to connect to, without token and parameters. Errors name the part or the parameter that is wrong, and hold
// nothing else of the URL.
func parseURL(u *url.URL) (place *url.URL, opts Options, err error) {
	bad := func(what string) (*url.URL, Options, error) {
		return nil, Options{}, rpw.Errorf(rpw.ErrInvalid, "%s; the form of the URL is %s", what, urlForm)
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return bad("the URL is none of this driver")
	case u.Opaque != "":
		return bad("the URL lacks its slashes")
	case u.Hostname() == "":
		return bad("the URL has no host")
	case u.Fragment != "":
		return bad("the URL has a fragment")
	case u.User.Username() != "":
		return bad("the URL has a user; a token has a colon before it")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the query does not parse")
	}
	var o urlOptions
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, known := parameters[name]
		switch {
		case !known:
			return nil, opts, rpw.Errorf(rpw.ErrInvalid, "unknown URL parameter %s; there are %s", rpw.QuoteName(name), strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		case len(query[name]) != 1:
			return nil, opts, rpw.Errorf(rpw.ErrInvalid, "the URL parameter %s is given %d times", name, len(query[name]))
		}
		if want := set(&o, query[name][0]); want != "" {
			return nil, opts, rpw.Errorf(rpw.ErrInvalid, "the URL parameter %s must be %s", name, want)
		}
	}
	if err := o.readToken(u); err != nil {
		return nil, opts, err
	}
	if err := o.readTLS(u); err != nil {
		return nil, opts, err
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}, o.Options, nil
}

// readToken takes the token from the URL, or from a file, which may change.
func (o *urlOptions) readToken(u *url.URL) error {
	token, has := u.User.Password()
	switch {
	case has && o.tokenFile != "":
		return rpw.Errorf(rpw.ErrInvalid, "the URL has a token and a token_file; say one")
	case has && token == "":
		return rpw.Errorf(rpw.ErrInvalid, "the token of the URL is empty")
	case has:
		o.Token = func(context.Context) (string, error) { return token, nil }
	case o.tokenFile != "":
		path := o.tokenFile
		o.Token = func(context.Context) (string, error) { return tokenFrom(path) }
		_, err := tokenFrom(path)
		return err
	}
	return nil
}

func tokenFrom(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", rpw.Errorf(rpw.ErrInvalid, "the token_file cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", rpw.Errorf(rpw.ErrInvalid, "the token_file is empty")
	}
	return token, nil
}

func (o *urlOptions) readTLS(u *url.URL) error {
	if o.ca == "" && o.serverName == "" {
		return nil
	}
	if u.Scheme != "wss" {
		return rpw.Errorf(rpw.ErrInvalid, "the parameters tls_ca and tls_server_name go with wss only")
	}
	o.TLS = &tls.Config{ServerName: o.serverName}
	if o.ca == "" {
		return nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return rpw.Errorf(rpw.ErrInvalid, "the file of tls_ca cannot be read: %w", err)
	}
	o.TLS.RootCAs = x509.NewCertPool()
	if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return rpw.Errorf(rpw.ErrInvalid, "the file of tls_ca holds no certificate in PEM")
	}
	return nil
}
