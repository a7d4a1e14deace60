package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are files in PEM: a CA, and pairs that it signed.
type Certificates struct {
	CA        string
	Cert, Key string // for the name "redis.test" and 127.0.0.1

	dir  string
	ca   *x509.Certificate
	sign *ecdsa.PrivateKey
}

// NewCertificates makes them in a directory of the test.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	c := &Certificates{dir: t.TempDir()}
	var err error
	if c.sign, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	c.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c.ca, c.ca, &c.sign.PublicKey, c.sign)
	if err != nil {
		t.Fatal(err)
	}
	c.CA = c.write(t, "ca.pem", "CERTIFICATE", der)
	c.Cert, c.Key = c.Pair(t, "redis", "redis.test", time.Now().Add(time.Hour))
	return c
}

// Pair makes another certificate with its key, for a name and 127.0.0.1, that is valid until end.
func (c *Certificates) Pair(t testing.TB, file, name string, end time.Time) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if name == "redis.test" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, &own.PublicKey, c.sign)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return c.write(t, file+".pem", "CERTIFICATE", der), c.write(t, file+".key", "EC PRIVATE KEY", secret)
}

func (c *Certificates) write(t testing.TB, file, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(c.dir, file)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// StartTLS starts a server that speaks TLS on its port, for the length of a test.
func StartTLS(t testing.TB, ca, cert, key string, args ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	s, err := startWith(&Server{Dir: dir, args: func(port string) []string {
		return append([]string{"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
			"--tls-ca-cert-file", ca, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"}, args...)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}
