package socket

import (
	"net"
	"net/url"
	"strings"

	"github.com/redis-process-worker/rpw"
)

// hostPattern is a host name, with its port if it has one. "*.example.com" stands for all names below example.com, but not for itself.
type hostPattern string

// parseHost reads a pattern of Config.Hosts.
func parseHost(s string) (hostPattern, error) {
	host := strings.ToLower(s)
	name := strings.TrimPrefix(host, "*.")
	if name == "" || strings.ContainsAny(name, "*/@?# \\") || strings.HasPrefix(name, ".") {
		return "", rpw.Errorf(rpw.ErrInvalid, "%s is no host: write example.com, example.com:8443, or *.example.com for the names below it", rpw.QuoteName(s))
	}
	return hostPattern(host), nil
}

func (p hostPattern) matches(host string) bool {
	if below, ok := strings.CutPrefix(string(p), "*"); ok {
		return len(host) > len(below) && strings.HasSuffix(host, below)
	}
	return host == string(p)
}

// originPattern is a web page's origin.
type originPattern struct {
	scheme string
	host   hostPattern
}

// parseOrigin reads a pattern of Config.Origins.
func parseOrigin(s string) (originPattern, error) {
	scheme, host, ok := strings.Cut(strings.ToLower(s), "://")
	pattern, err := parseHost(withoutPort(scheme, host))
	if !ok || scheme == "" || strings.Contains(scheme, "*") || err != nil {
		return originPattern{}, rpw.Errorf(rpw.ErrInvalid, "%s is no origin: write https://app.example.com, https://example.com:8443, or https://*.example.com for the names below it", rpw.QuoteName(s))
	}
	return originPattern{scheme, pattern}, nil
}

func (p originPattern) matches(origin string) bool {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	return u.Scheme == p.scheme && p.host.matches(withoutPort(u.Scheme, u.Host))
}

// withoutPort takes a port off that is the scheme's own.
func withoutPort(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// isLoopback reports whether host, with or without a port, names this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
