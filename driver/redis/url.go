package redis

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// config is what a URL says.
type config struct {
	mode  mode
	addrs []string // host:port each; the path of a socket
	user  string
	pass  rpw.Secret
	db    int

	master       string // the name that the Sentinels know it by
	sentinelUser string
	sentinelPass rpw.Secret

	tls         bool
	ca          string // file
	cert, key   string // files
	serverName  string
	insecure    bool
	dialTimeout time.Duration
	connections int // for pipelined calls, to each node; a power of 2
	pool        int // for calls that block, to each node

	Options
}

// mode is how the servers belong together.
type mode int

const (
	single mode = iota
	socket
	sentinel
	cluster
)

// forms are the schemes with their forms, for errors.
var forms = map[string]struct {
	mode mode
	form string
}{
	"redis":          {single, "redis://[user:password@]host[:port][/db]"},
	"rediss":         {single, "rediss://[user:password@]host[:port][/db]"},
	"redis+unix":     {socket, "redis+unix://[user:password@]/path/of/the/socket"},
	"redis+sentinel": {sentinel, "redis+sentinel://[user:password@]host[:port],host[:port]/master"},
	"redis+cluster":  {cluster, "redis+cluster://[user:password@]host[:port],host[:port]"},
}

// parseURL reads a URL. Its errors name the part or the parameter that is wrong, and hold nothing else of the URL.
func parseURL(u *url.URL) (*config, error) {
	form, ok := forms[u.Scheme]
	if !ok {
		return nil, rpw.Errorf(rpw.ErrInvalid, "the driver does not know the scheme %s", rpw.QuoteName(u.Scheme))
	}
	bad := func(what string) (*config, error) {
		return nil, rpw.Errorf(rpw.ErrInvalid, "%s; the form of the URL is %s", what, form.form)
	}
	c := &config{mode: form.mode, tls: u.Scheme == "rediss", dialTimeout: 2 * time.Second, pool: 64}
	switch {
	case u.Opaque != "":
		return bad("the URL lacks its slashes")
	case u.Fragment != "":
		return bad("the URL has a fragment")
	}
	c.user = u.User.Username()
	if pass, ok := u.User.Password(); ok {
		c.pass = rpw.Secret(pass)
	}
	if err := c.setPlace(u); err != nil {
		return bad(err.Error())
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the query does not parse")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, known := parameters[name]
		switch {
		case !known:
			return nil, rpw.Errorf(rpw.ErrInvalid, "unknown URL parameter %s; there are %s", rpw.QuoteName(name), strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		case len(query[name]) != 1:
			return nil, rpw.Errorf(rpw.ErrInvalid, "the URL parameter %s is given %d times", name, len(query[name]))
		}
		if want := set(c, query[name][0]); want != "" {
			return nil, rpw.Errorf(rpw.ErrInvalid, "the URL parameter %s must be %s", name, want)
		}
	}
	if err := c.together(u, query); err != nil {
		return nil, err
	}
	return c, c.Options.check()
}

// complaint is what is wrong with a part of a URL.
type complaint string

func (c complaint) Error() string { return string(c) }

// setPlace reads host and path.
func (c *config) setPlace(u *url.URL) error {
	path := strings.TrimPrefix(u.Path, "/")
	switch c.mode {
	case socket:
		if u.Host != "" {
			return complaint("the URL of a socket has no host")
		}
		if path == "" {
			return complaint("the URL has no path")
		}
		c.addrs = []string{u.Path}
		return nil
	case sentinel:
		c.master = path
		if path == "" || strings.Contains(path, "/") {
			return complaint("the path of the URL is not the name of a master")
		}
	case cluster:
		if path != "" {
			return complaint("the URL of a cluster has no path, since a cluster has database 0 only")
		}
	default:
		if path != "" && !setDB(c, path) {
			return complaint("the path of the URL is no number of a database")
		}
	}
	port := "6379"
	if c.mode == sentinel {
		port = "26379"
	}
	for _, host := range strings.Split(u.Host, ",") {
		addr, err := address(host, port)
		if err != nil {
			return err
		}
		c.addrs = append(c.addrs, addr)
	}
	if c.mode == single && len(c.addrs) > 1 {
		return complaint("the URL has several hosts")
	}
	return nil
}

// address reads host or host:port.
func address(text, port string) (string, error) {
	host := text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	if bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"); bracketed {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return "", complaint("a host of the URL has several ports")
	}
	if host == "" {
		return "", complaint("the URL has no host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '+' {
		return "", complaint("a port of the URL is not from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// parameters set what the query says. They return "" or what the value must be.
var parameters = map[string]func(c *config, value string) string{
	"db":     func(c *config, v string) string { return want(setDB(c, v), "the number of a database") },
	"prefix": func(c *config, v string) string { c.Prefix = v; return "" },
	"layout": func(c *config, v string) string {
		return choose(v, map[string]func(){"rpw": func() {}, "original": func() { c.Original = true }})
	},
	"foreign": func(c *config, v string) string {
		return choose(v, map[string]func(){"on": func() {}, "off": func() { c.IgnoreForeign = true }})
	},
	"eviction": func(c *config, v string) string {
		return choose(v, map[string]func(){"refuse": func() {}, "allow": func() { c.AllowEviction = true }})
	},
	"durability": func(c *config, v string) string {
		return choose(v, map[string]func(){"async": func() {}, "replicated": func() { c.Replicas = max(c.Replicas, 1) }})
	},
	"replicas": func(c *config, v string) string { return setInt(&c.Replicas, v, 1, 100) },
	"near": func(c *config, v string) string {
		if v == "off" {
			c.NearCache = -1
			return ""
		}
		if setInt(&c.NearCache, v, 1, 1<<40) != "" {
			return "off, or a number of bytes"
		}
		return ""
	},
	"timeout": func(c *config, v string) string { return setDuration(&c.Timeout, v, 100*time.Millisecond, time.Minute) },
	"dial_timeout": func(c *config, v string) string {
		return setDuration(&c.dialTimeout, v, 100*time.Millisecond, time.Minute)
	},
	"connections":       func(c *config, v string) string { return setConnections(c, v) },
	"pool":              func(c *config, v string) string { return setInt(&c.pool, v, 4, 10_000) },
	"sentinel_user":     func(c *config, v string) string { c.sentinelUser = v; return "" },
	"sentinel_password": func(c *config, v string) string { c.sentinelPass = rpw.Secret(v); return "" },
	"tls":               func(c *config, v string) string { return setBool(&c.tls, v) },
	"tls_ca":            func(c *config, v string) string { return setText(&c.ca, v, "the name of a file") },
	"tls_cert":          func(c *config, v string) string { return setText(&c.cert, v, "the name of a file") },
	"tls_key":           func(c *config, v string) string { return setText(&c.key, v, "the name of a file") },
	"tls_server_name":   func(c *config, v string) string { return setText(&c.serverName, v, "a name") },
	"tls_insecure":      func(c *config, v string) string { return setBool(&c.insecure, v) },
}

// together checks what parameters mean for each other.
func (c *config) together(u *url.URL, query url.Values) error {
	bad := func(text string) error { return rpw.Errorf(rpw.ErrInvalid, "%s", text) }
	switch {
	case query.Get("durability") == "async" && query.Has("replicas"), c.Replicas > 0 && !query.Has("durability"):
		return bad("the URL parameter replicas needs durability=replicated")
	case c.mode == single && query.Has("db") && len(u.Path) > 1:
		return bad("the URL names a database twice, in its path and by the parameter db")
	case c.mode == cluster && c.db != 0:
		return bad("a cluster has database 0 only; leave out the URL parameter db")
	case c.mode != sentinel && (query.Has("sentinel_user") || query.Has("sentinel_password")):
		return bad("the URL parameters sentinel_user and sentinel_password are for redis+sentinel only")
	case query.Has("tls") && c.mode == single:
		return bad("the URL parameter tls is for redis+sentinel and redis+cluster; use the scheme rediss")
	case c.mode == socket && c.tls:
		return bad("a socket has no TLS; leave out the URL parameter tls")
	case !c.tls && (c.ca != "" || c.cert != "" || c.key != "" || c.serverName != "" || query.Has("tls_insecure")):
		return bad("the URL parameters tls_... need TLS: the scheme rediss, or tls=true with redis+sentinel and redis+cluster")
	case (c.cert == "") != (c.key == ""):
		return bad("the URL parameters tls_cert and tls_key need each other")
	case c.insecure && (c.ca != "" || c.serverName != ""):
		return bad("the URL parameter tls_insecure checks nothing, so tls_ca and tls_server_name cannot be meant")
	}
	return nil
}

func want(ok bool, what string) string {
	if ok {
		return ""
	}
	return what
}

// setDB takes a number as Redis writes them.
func setDB(c *config, v string) bool {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != v {
		return false
	}
	c.db = int(n)
	return true
}

func setInt(to *int, v string, least, most int) string {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return "a number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most)
	}
	*to = n
	return ""
}

func setConnections(c *config, v string) string {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 256 || n&(n-1) != 0 {
		return "a power of 2 from 1 to 256"
	}
	c.connections = n
	return ""
}

func setDuration(to *time.Duration, v string, least, most time.Duration) string {
	d, err := time.ParseDuration(v)
	if err != nil || d < least || d > most {
		return "a duration from " + least.String() + " to " + most.String()
	}
	*to = d
	return ""
}

func setBool(to *bool, v string) string {
	return choose(v, map[string]func(){"true": func() { *to = true }, "false": func() { *to = false }})
}

func setText(to *string, v, what string) string {
	*to = v
	return want(v != "", what)
}

// choose does what a word says.
func choose(v string, words map[string]func()) string {
	if do, ok := words[v]; ok {
		do()
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(words)), " or ")
}
