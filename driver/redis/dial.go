package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// links dials the connections of a client, and can break them all.
type links struct {
	network string // "" as rueidis says
	onClose func() // a connection ended; nil: nobody asks
	mu      sync.Mutex
	open    map[net.Conn]struct{}
	broken  time.Time // when they were last broken
	ended   bool      // by end
}

// link is a connection that takes itself off the list. rueidis greets the server with one write, and waits for the answer before anything else: a
// link that fails until then has carried no command of ours, and its error is one of dialling. Servers with too many clients do that.
type link struct {
	net.Conn
	of      *links
	stage   atomic.Int32
	leaving atomic.Bool // an UNSUBSCRIBE was written, and its PONG did not come yet
}

var errNotGreeted = errors.New("the server did not greet")

// The stages of a link.
const (
	greeting int32 = iota // nothing has come yet
	greeted               // something has come, nothing was written since
	inUse
)

// Read tells that the connection is over before rueidis hears of it, which then makes another for the next call.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if err != nil {
		l.of.ends()
	}
	if n > 0 && l.stage.Load() == greeting {
		l.stage.Store(greeted)
	}
	if n > 0 && l.leaving.Load() {
		switch {
		case bytes.Contains(b[:n], busy):
			return 0, errBusyLeaving
		case bytes.Contains(b[:n], pong):
			l.leaving.Store(false)
		}
	}
	return n, l.explain(err)
}

// rueidis sends a PING behind each UNSUBSCRIBE. Of a server that a script of others keeps busy both get an error; rueidis takes the first for the answer to
// the PING, and panics over the second, in a goroutine of its own. So such a link ends before it hears of them.
var (
	unsubscribe    = []byte("\r\nUNSUBSCRIBE\r\n")
	busy, pong     = []byte("-BUSY "), []byte("+PONG\r\n")
	errBusyLeaving = errors.New("the server is busy with a script, so channels cannot be left")
)

func (l *link) Write(b []byte) (int, error) {
	if bytes.Contains(b[:min(len(b), 64)], unsubscribe) { // it is the first of what is written there at once
		l.leaving.Store(true)
	}
	if l.stage.Load() == greeted {
		l.stage.Store(inUse)
	}
	n, err := l.Conn.Write(b)
	return n, l.explain(err)
}

func (l *link) explain(err error) error {
	if err == nil || l.stage.Load() == inUse {
		return err
	}
	return &net.OpError{Op: "dial", Net: l.LocalAddr().Network(), Addr: l.RemoteAddr(), Err: fmt.Errorf("%w: %w", errNotGreeted, err)}
}

func (l *link) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	l.of.ends()
	return l.Conn.Close()
}

// ends notes that a connection is over.
func (l *links) ends() {
	if l.onClose != nil {
		l.onClose()
	}
}

// dial is rueidis' DialCtxFn.
func (l *links) dial(ctx context.Context, addr string, dialer *net.Dialer, cfg *tls.Config) (net.Conn, error) {
	network := "tcp"
	if l.network != "" {
		network = l.network
	}
	ctx, cancel := context.WithTimeout(ctx, dialer.Timeout) // TLS included
	defer cancel()
	var conn net.Conn
	var err error
	if cfg != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: cfg}).DialContext(ctx, network, addr)
	} else {
		conn, err = dialer.DialContext(ctx, network, addr)
	}
	if err != nil {
		if op, ok := err.(*net.OpError); !ok || op.Op != "dial" {
			err = &net.OpError{Op: "dial", Net: network, Err: err} // of whatever layer: nothing was sent
		}
		return nil, err
	}
	made := &link{Conn: conn, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	if l.open == nil {
		l.open = make(map[net.Conn]struct{})
	}
	l.open[made] = struct{}{}
	return made, nil
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
	for conn := range l.open {
		go conn.Close() // which takes mu, and may wait for TLS
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

// pingEvery is how long a connection is idle until it is pinged. Three connections of an idle worker make 1.5 commands a second of it.
const pingEvery = 2 * time.Second

// clientOption is the configuration of rueidis. Its retries are off, because it would repeat reads for ever and knows nothing of repeats that are safe;
// connections have no end of life, since it would repeat writes then; pings find a silent peer in KeepAlive + ConnWriteTimeout.
func (c *config) clientOption(l *links) (rueidis.ClientOption, error) {
	cfg, err := c.tlsConfig()
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	opt := rueidis.ClientOption{
		InitAddress:         c.addrs,
		Username:            c.user,
		Password:            string(c.pass),
		SelectDB:            c.db,
		ClientName:          "rpw",
		TLSConfig:           cfg,
		Dialer:              net.Dialer{Timeout: c.dialTimeout, KeepAlive: pingEvery},
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
			MasterSet: c.master, Dialer: opt.Dialer, TLSConfig: cfg, ClientName: opt.ClientName,
			Username: c.sentinelUser, Password: string(c.sentinelPass), TopologyRefreshInterval: 5 * time.Second,
		}
	}
	if c.mode == socket {
		l.network = "unix"
	}
	return opt, nil
}
