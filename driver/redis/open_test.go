package redis

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// works opens a URL and uses what it opened.
func works(t *testing.T, url string, opts ...rpw.Option) {
	t.Helper()
	h, err := rpw.Open(t.Context(), url, opts...)
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, h.Health(t.Context()))
	require.NoError(t, rpw.Set(t.Context(), h, "k", 1, rpw.TTL(time.Minute)))
	_, ok, err := rpw.Get[int](t.Context(), h, "k")
	require.NoError(t, err)
	assert.True(t, ok)
	for key, err := range rpw.Keys(t.Context(), h, "") {
		require.NoError(t, err)
		assert.Equal(t, "k", key)
	}
	client, ok := rpw.Native[rueidis.Client](h)
	require.True(t, ok)
	assert.NoError(t, client.Do(t.Context(), client.B().Ping().Build()).Error())
}

// refused wants Open to fail at once, for a reason that it says, without a secret.
func refused(t *testing.T, url string, kind error, says ...string) {
	t.Helper()
	began := time.Now()
	h, err := rpw.Open(t.Context(), url)
	if err == nil {
		h.Close()
	}
	require.ErrorIs(t, err, kind)
	assert.Equal(t, rpw.Code(kind), rpw.Code(err))
	for _, text := range says {
		assert.Contains(t, err.Error(), text)
	}
	assert.NotContains(t, err.Error(), "CANARY")
	assert.Less(t, time.Since(began), 6*time.Second)
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.sock")
	server := redistest.Start(t, "--unixsocket", path)
	server.CLI(t, "ACL", "SETUSER", "u", "on", ">CANARY", "~*", "&*", "+@all")
	works(t, "redis://"+server.Addr)
	works(t, "redis://u:CANARY@"+server.Addr+"/15?prefix=x&connections=1&pool=4&near=off&timeout=1s&dial_timeout=1s")
	works(t, "redis+unix://"+path+"?db=3")
	works(t, "redis+cluster://"+strings.Join(shared.Cluster(t).Addrs(), ",")+"?connections=2")
}

// TestOpenSaysWhatIsWrong is B29, B31, B32, F24 and the checks of the server.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	cli := func(args ...string) string {
		return server.CLI(t, append([]string{"--no-auth-warning", "-a", "right"}, args...)...)
	}
	cli("ACL", "SETUSER", "off", "off", ">CANARY", "~*", "&*", "+@all")
	host := server.Addr
	refused(t, "redis://:CANARY@"+host, rpw.ErrPermission, "WRONGPASS")
	refused(t, "redis://off:CANARY@"+host, rpw.ErrPermission, "WRONGPASS")
	refused(t, "redis://"+host, rpw.ErrPermission, "NOAUTH")
	refused(t, "redis://:right@"+host+"/99", rpw.ErrInvalid, "DB index")
	refused(t, "redis+cluster://:right@"+host, rpw.ErrInvalid, "redis://")
	refused(t, "redis+sentinel://"+host+"/m", rpw.ErrPermission)

	cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	works(t, "redis://:right@"+host) // it has no bound
	cli("CONFIG", "SET", "maxmemory", "1gb")
	refused(t, "redis://:right@"+host, rpw.ErrInvalid, "allkeys-lru", "noeviction")
	works(t, "redis://:right@"+host+"?eviction=allow")
	cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
	works(t, "redis://:right@"+host)

	refused(t, "redis://"+shared.Cluster(t).Addrs()[0], rpw.ErrInvalid, "redis+cluster://")
	servers := redistest.StartReplicated(t, 1, 1)
	refused(t, "redis://"+servers.Replicas[0].Addr, rpw.ErrUnavailable, "replica")
	refused(t, "redis://"+servers.Sentinels[0].Addr, rpw.ErrInvalid, "redis+sentinel://")
	refused(t, "redis+sentinel://"+servers.Sentinels[0].Addr+"/other", rpw.ErrInvalid, "No such master")

	server.Kill()
	refused(t, "redis://:CANARY@"+host, rpw.ErrUnavailable, "refused")
}

// TestOpenNeedsPermissions is B35: who cannot read is refused.
func TestOpenNeedsPermissions(t *testing.T) {
	server := redistest.Start(t)
	for _, c := range []struct {
		rules string
		says  []string
	}{
		{"~* &* +@all -eval_ro", []string{"eval_ro"}},
		{"~* &* +@all -evalsha_ro", []string{"evalsha_ro"}},
		{"~* &* +@all -xrange", []string{"XRANGE", "Permissions"}},
		{"~* &* +@all -scan", []string{"scan"}},
		{"~* &* +@all -subscribe", []string{"subscribe"}},
		{"~other:* &* +@all", []string{"rpw:", "Permissions"}},
		{"~rpw:* &* +@all", []string{"{rpw:", "Permissions"}},
		{"~* &other +@all", []string{"channel"}},
	} {
		server.CLI(t, append([]string{"ACL", "SETUSER", "u", "reset", "on", ">CANARY"}, strings.Fields(c.rules)...)...)
		t.Run(c.rules, func(t *testing.T) { refused(t, "redis://u:CANARY@"+server.Addr, rpw.ErrPermission, c.says...) })
	}
}

// TestPermissionsAreAskedFirst: a verb that lacks one of its commands is not begun, and says which.
func TestPermissionsAreAskedFirst(t *testing.T) {
	server := redistest.Start(t)
	for rules, says := range map[string]string{
		"~* &* +@all -eval":           "EVAL",
		"~* &* +@all -evalsha":        "EVALSHA",
		"~* &* +@all -pexpire":        "PEXPIRE",
		"~* &* +@all -publish":        "PUBLISH",
		"~* &* +@all -xadd":           "XADD",
		"%R~* ~rpw:c:* &* +@all":      "rpw:s:",
		"%R~* ~rpw:s:* &* +@all":      "{rpw:s:",
		"~* &* +@all -@write":         "HSET",
		"~* &* +@all -xtrim -@string": "",
	} {
		server.CLI(t, append([]string{"ACL", "SETUSER", "u", "reset", "on", ">CANARY"}, strings.Fields(rules)...)...)
		t.Run(rules, func(t *testing.T) {
			h, err := rpw.Open(t.Context(), "redis://u:CANARY@"+server.Addr)
			if says == "" {
				require.ErrorIs(t, err, rpw.ErrPermission)
				return
			}
			require.NoError(t, err)
			defer h.Close()
			_, err = rpw.StreamOf[int]("s").Publish(t.Context(), h, "e", 1)
			require.ErrorIs(t, err, rpw.ErrPermission)
			assert.ErrorContains(t, err, says)
			assert.Equal(t, "0", server.CLI(t, "DBSIZE"), "nothing was done")
		})
	}
}

type observer struct{ notify func(rpw.Notice) }

func (observer) Begin(ctx context.Context, _ rpw.Operation) context.Context { return ctx }
func (observer) End(context.Context, rpw.Operation, rpw.Outcome)            {}
func (o observer) Notify(n rpw.Notice)                                      { o.notify(n) }

// TestOpenTLS is B33.
// TestOpenTLS protects E4, as the suites on one server and on a cluster, the tests of URLs, of permissions and of Sentinels do.
func TestOpenTLS(t *testing.T) {
	t.Parallel()
	certs := redistest.NewCertificates(t)
	server := redistest.StartTLS(t, certs.CA, certs.Cert, certs.Key)
	_, port, err := net.SplitHostPort(server.Addr)
	require.NoError(t, err)
	works(t, "rediss://"+server.Addr+"?tls_ca="+certs.CA)
	works(t, "rediss://localhost:"+port+"?tls_server_name=redis.test&tls_ca="+certs.CA)
	works(t, "rediss://"+server.Addr+"?tls_insecure=true")
	refused(t, "rediss://:CANARY@"+server.Addr, rpw.ErrInvalid, "TLS", "tls_ca")
	refused(t, "rediss://:CANARY@"+server.Addr+"?tls_server_name=other.test&tls_ca="+certs.CA, rpw.ErrInvalid, "TLS", "tls_server_name")
	refused(t, "rediss://:CANARY@"+server.Addr+"?tls_ca="+certs.Key, rpw.ErrInvalid, "tls_ca")
	refused(t, "rediss://:CANARY@"+server.Addr+"?tls_ca=/none", rpw.ErrInvalid, "tls_ca")
	refused(t, "rediss://:CANARY@"+server.Addr+"?tls_cert=/none&tls_key=/none", rpw.ErrInvalid, "tls_cert")
	refused(t, "redis://:CANARY@"+server.Addr, rpw.ErrInvalid, "TLS", "rediss://")
	refused(t, "rediss://:CANARY@"+shared.Server(t).Addr, rpw.ErrInvalid, "TLS", "redis://")

	cert, key := certs.Pair(t, "expired", "redis.test", time.Now().Add(-time.Minute))
	expired := redistest.StartTLS(t, certs.CA, cert, key)
	refused(t, "rediss://:CANARY@"+expired.Addr+"?tls_ca="+certs.CA, rpw.ErrInvalid, "TLS", "expired")

	strict := redistest.StartTLS(t, certs.CA, certs.Cert, certs.Key, "--tls-auth-clients", "yes")
	works(t, "rediss://"+strict.Addr+"?tls_ca="+certs.CA+"&tls_cert="+certs.Cert+"&tls_key="+certs.Key)
	refused(t, "rediss://:CANARY@"+strict.Addr+"?tls_ca="+certs.CA, rpw.ErrInvalid, "TLS")
}

// TestOpenSomethingElse: a server that is no Redis is said to be none.
func TestOpenSomethingElse(t *testing.T) {
	answer := func(text string) string {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Write([]byte(text))
				conn.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		return l.Addr().String()
	}
	refused(t, "redis://:CANARY@"+answer(""), rpw.ErrUnavailable)
}

func TestOpenIsBoundedByItsContext(t *testing.T) {
	server := redistest.Start(t)
	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := rpw.Open(ctx, "redis://"+server.Addr)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), time.Second)
	server.Thaw()
}

func TestSuits(t *testing.T) {
	s := testStore(t)
	good := serverInfo{name: "redis", version: "7.0.0", mode: "standalone", role: "master", resp: 3}
	require.NoError(t, s.suits(t.Context(), good, false))
	for says, change := range map[string]func(*serverInfo){
		"6.2.7":  func(i *serverInfo) { i.version = "6.2.7" },
		"needs":  func(i *serverInfo) { i.version = "" },
		"RESP2":  func(i *serverInfo) { i.resp = 2 },
		"replic": func(i *serverInfo) { i.role = "replica" },
	} {
		info := good
		change(&info)
		assert.ErrorContains(t, s.suits(t.Context(), info, false), says)
	}
}

// TestNewLeavesTheClientToItsOwner, whatever its settings.
func TestNewLeavesTheClientToItsOwner(t *testing.T) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{shared.Server(t).Addr}, SelectDB: 2})
	require.NoError(t, err)
	defer client.Close()
	parts, err := New(t.Context(), client, Options{Prefix: "new"})
	require.NoError(t, err)
	h, err := rpw.New(parts)
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, rpw.Set(ctx, h, "k", 1, rpw.TTL(time.Minute)))
	_, err = h.Cache().Get(ctx, rpw.GetRequest{Keys: []string{"k"}, MaxStale: time.Second})
	require.NoError(t, err)
	require.NoError(t, h.Close())
	assert.NoError(t, client.Do(ctx, client.B().Ping().Build()).Error())

	_, err = New(ctx, nil, Options{})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = New(ctx, client, Options{Replicas: -1})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
	_, err = New(ctx, client, Options{Timeout: time.Hour})
	assert.ErrorIs(t, err, rpw.ErrInvalid)
}
