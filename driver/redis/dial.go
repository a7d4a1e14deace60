package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// links dials the connections of a client, and can break them.
type links struct {
	network string        // "" as rueidis says
	silence time.Duration // without an answer, after which a link is over
	sender  *sender       // is told of links that are made, and that end; nil: nobody asks
	mu      sync.Mutex
	open    map[*link]struct{}
	broken  time.Time          // when they were last broken
	ended   bool               // by end
	master  string             // the address that was last named as that of the master, by Sentinels
	refused map[string]refusal // by address
	away    map[string]refusal // by address; of servers that cannot be reached
}

// ends notes that a connection is over.
func (l *links) ends() {
	if l.sender != nil {
		l.sender.suspect()
	}
}

// patient marks the context of a call that waits beside the making of a link: that goes on when the context ends.
type patient struct{}

// dial is rueidis' DialCtxFn. rueidis does not listen to the context while it waits for the greeting, so the link does.
func (l *links) dial(ctx context.Context, addr string, dialer *net.Dialer, cfg *tls.Config) (net.Conn, error) {
	if err := l.remembered(addr); err != nil {
		return nil, err
	}
	if err := l.pace(ctx, addr); err != nil {
		return nil, err
	}
	settled := func() {}
	if l.sender != nil {
		settled = l.sender.makes()
	}
	network := cmp.Or(l.network, "tcp")
	bounded, cancel := context.WithTimeout(ctx, dialer.Timeout) // TLS included
	defer cancel()
	var conn net.Conn
	var err error
	if cfg != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: cfg}).DialContext(bounded, network, addr)
	} else {
		conn, err = dialer.DialContext(bounded, network, addr)
	}
	if err != nil {
		settled()
		if op, ok := err.(*net.OpError); !ok || op.Op != "dial" {
			err = &net.OpError{Op: "dial", Net: network, Err: err} // of whatever layer: nothing was sent
		}
		if bounded.Err() == nil { // it did not take the time of its caller
			l.unreachable(addr, err)
		}
		return nil, err
	}
	l.unreachable(addr, nil)
	made := &link{Conn: conn, of: l, addr: addr, settled: settled, listen: func() bool { return true }, made: time.Now()}
	made.timer = time.AfterFunc(l.silence, made.judge)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		settled()
		conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	if l.open == nil {
		l.open = make(map[*link]struct{})
	}
	l.open[made] = struct{}{}
	if ctx.Value(patient{}) == nil {
		made.listen = context.AfterFunc(ctx, made.abandon)
	}
	return made, nil
}

// leads breaks the connections to the server that was the master before. It may be silent, and rueidis leaves what waits for an answer there.
func (l *links) leads(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for one := range l.open {
		if l.master != addr && one.addr == l.master {
			one.giveUp()
			go one.Close() // which takes mu, and may wait for TLS
		}
	}
	l.master = addr
}

// redialEvery is how often connections are broken at most.
const redialEvery = time.Second

// redial breaks all connections, so that new ones are made, to where the address leads now.
func (l *links) redial() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.broken) < redialEvery {
		return
	}
	l.broken = time.Now()
	l.breakAll()
}

// end breaks all connections for good. A client that is closed while it makes one leaves that one behind.
func (l *links) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.breakAll()
}

// breakAll is called with mu held.
func (l *links) breakAll() {
	for one := range l.open {
		one.giveUp()
		go one.Close() // which takes mu, and may wait for TLS
	}
}

// tlsConfig reads the files of a TLS configuration.
func (c *config) tlsConfig() (*tls.Config, error) {
	if !c.tls {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.serverName, InsecureSkipVerify: c.insecure}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, rpw.Errorf(rpw.ErrInvalid, "the file of the URL parameter tls_ca cannot be read: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, rpw.Errorf(rpw.ErrInvalid, "the file of the URL parameter tls_ca holds no certificate in PEM")
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, rpw.Errorf(rpw.ErrInvalid, "the files of the URL parameters tls_cert and tls_key cannot be used: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// How long a connection is idle until rueidis pings it. A silent peer is found otherwise, without commands: one that is gone by the probes of TCP, one that does
// not answer by the link itself (see judge), one that tells nothing by the waker's echo. Pings keep a connection from those that close idle ones.
const (
	pingEvery         = 30 * time.Second
	pingSentinelEvery = 2 * time.Second // since they tell of a failover, and are seldom asked
)

// clientOption is the configuration of rueidis. Its retries are off, because it would repeat reads for ever and knows nothing of repeats that are safe;
// connections have no end of life, since it would repeat writes then.
func (c *config) clientOption(l *links) (rueidis.ClientOption, error) {
	cfg, err := c.tlsConfig()
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	l.silence = max(c.Timeout, DefaultTimeout) // no less, and not less than a WAIT takes
	opt := rueidis.ClientOption{
		InitAddress:         c.addrs,
		Username:            c.user,
		Password:            string(c.pass),
		SelectDB:            c.db,
		ClientName:          "rpw",
		TLSConfig:           cfg,
		Dialer:              c.dialer(pingEvery),
		DialCtxFn:           l.dial,
		ConnWriteTimeout:    2 * time.Second,
		BlockingPoolSize:    c.pool,
		BlockingPoolCleanup: time.Minute,
		ReadBufferEachConn:  64 << 10,
		WriteBufferEachConn: 64 << 10,
		AlwaysPipelining:    true, // the other way is deaf to a cancel
		DisableRetry:        true,
		DisableCache:        true, // the near cache has a connection of its own
		ForceSingleClient:   c.mode == single || c.mode == socket,
		ClusterOption:       rueidis.ClusterOption{MaxMovedRedirections: 8, ShardsRefreshInterval: 10 * time.Second},
	}
	if c.connections > 0 {
		for opt.PipelineMultiplex = -1; c.connections > 0; c.connections >>= 1 {
			opt.PipelineMultiplex++
		}
		if opt.PipelineMultiplex == 0 && c.mode != cluster {
			opt.PipelineMultiplex = -1 // 0 is rueidis' default
		}
	}
	if c.mode == sentinel {
		opt.Sentinel = rueidis.SentinelOption{
			MasterSet: c.master, Dialer: c.dialer(pingSentinelEvery), TLSConfig: cfg, ClientName: opt.ClientName,
			Username: c.sentinelUser, Password: string(c.sentinelPass), TopologyRefreshInterval: 5 * time.Second,
		}
	}
	if c.mode == socket {
		l.network = "unix"
	}
	return opt, nil
}

// dialer makes connections that rueidis pings after so long, and that end 4 s after their peer has gone.
func (c *config) dialer(pingAfter time.Duration) net.Dialer {
	probes := net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 2}
	return net.Dialer{Timeout: c.dialTimeout, KeepAlive: pingAfter, KeepAliveConfig: probes}
}
