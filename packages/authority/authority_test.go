package authority

import (
	"crypto/x509"
	"testing"
	"time"

	"micromirror/packages/certificate"
)

func TestIssuedIsBelieved(t *testing.T) {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	data, err := a.Issue(time.Now().Add(time.Hour), "node.example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certificate.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node.example", "127.0.0.1"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: other.Pool()}); err == nil {
		t.Error("another authority vouches for it")
	}
}
