package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"micromirror/packages/certificate"
)

// requestTime bounds one request to the authority.
const requestTime = 30 * time.Second

// client makes a client with an account at the authority.
func (m *Manager) client(ctx context.Context) (*acme.Client, error) {
	key, err := m.account()
	if err != nil {
		return nil, err
	}
	transport := m.Transport
	if transport == nil {
		roots, err := m.roots()
		if err != nil {
			return nil, err
		}
		transport = &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
			DisableKeepAlives: true, // attempts are days apart
		}
	}
	c := &acme.Client{
		Key: key, DirectoryURL: m.Directory, UserAgent: "micromirror",
		HTTPClient: &http.Client{Transport: transport, Timeout: requestTime},
	}
	contact := []string(nil)
	if m.Email != "" {
		contact = []string{"mailto:" + m.Email}
	}
	_, err = c.Register(ctx, &acme.Account{Contact: contact}, acme.AcceptTOS)
	if err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("account at the authority: %w", err)
	}
	return c, nil
}

// roots are the usual ones and the fleet's own.
func (m *Manager) roots() (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if len(m.CA) > 0 && !roots.AppendCertsFromPEM(m.CA) {
		return nil, errors.New("the fleet's acme.ca holds no certificate: write it in PEM form")
	}
	return roots, nil
}

// issue gets a certificate, by the order under way if there is one.
func (m *Manager) issue(ctx context.Context) error {
	c, err := m.client(ctx)
	if err != nil {
		return err
	}
	noted, key, o := m.resume(ctx, c)
	if o == nil {
		if noted, key, o, err = m.begin(ctx, c); err != nil {
			return err
		}
	}
	chain, err := m.complete(ctx, c, noted, key, o)
	if err != nil {
		return err
	}
	if err := m.check(key, chain); err != nil {
		return err
	}
	if err := m.Passed("issued"); err != nil {
		return err
	}
	if err := m.store(key, chain); err != nil {
		return err
	}
	return m.removeOrder()
}

// resume finds the order under way at the authority, nil if it is of no use.
func (m *Manager) resume(ctx context.Context, c *acme.Client) (*order, crypto.Signer, *acme.Order) {
	noted := m.readOrder()
	if noted == nil || noted.Directory != m.Directory || !slices.Equal(noted.Names, m.names) {
		return nil, nil, nil
	}
	key, err := parseKey([]byte(noted.Key))
	if err != nil {
		return nil, nil, nil
	}
	o, err := c.GetOrder(ctx, noted.URL)
	if err != nil || o.Status == acme.StatusInvalid {
		return nil, nil, nil
	}
	o.URI = noted.URL
	return noted, key, o
}

// begin places an order and notes it.
func (m *Manager) begin(ctx context.Context, c *acme.Client) (*order, crypto.Signer, *acme.Order, error) {
	o, err := c.AuthorizeOrder(ctx, acme.DomainIDs(m.names...))
	if err != nil {
		m.refuseNamed(err)
		return nil, nil, nil, fmt.Errorf("order: %w", err)
	}
	key, err := newKey()
	if err != nil {
		return nil, nil, nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, nil, nil, err
	}
	noted := &order{Directory: m.Directory, Names: m.names, URL: o.URI, Key: string(text)}
	if err := m.writeOrder(noted); err != nil {
		return nil, nil, nil, err
	}
	return noted, key, o, m.Passed("ordered")
}

// complete proves the names and fetches the certificate.
func (m *Manager) complete(ctx context.Context, c *acme.Client, noted *order, key crypto.Signer, o *acme.Order) ([][]byte, error) {
	if o.Status == acme.StatusPending {
		if err := m.prove(ctx, c, o.AuthzURLs); err != nil {
			return nil, err
		}
	}
	o, err := c.WaitOrder(ctx, noted.URL)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	if err := m.Passed("proven"); err != nil {
		return nil, err
	}
	if o.Status == acme.StatusValid {
		chain, err := c.FetchCert(ctx, o.CertURL, true)
		if err != nil {
			return nil, fmt.Errorf("fetch certificate: %w", err)
		}
		return chain, nil
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: m.names}, key)
	if err != nil {
		return nil, fmt.Errorf("request certificate: %w", err)
	}
	chain, _, err := c.CreateOrderCert(ctx, o.FinalizeURL, csr, true)
	if err != nil {
		return nil, fmt.Errorf("request certificate: %w", err)
	}
	return chain, nil
}

// prove proves all names, and notes which of them cannot be proven.
func (m *Manager) prove(ctx context.Context, c *acme.Client, urls []string) error {
	var errs []error
	for _, url := range urls {
		err := m.authorize(ctx, c, url)
		if err != nil {
			errs = append(errs, err)
		}
		if err != nil && !errors.As(err, new(*unproven)) {
			break // it is not the name
		}
	}
	for _, err := range errs {
		if u := (*unproven)(nil); errors.As(err, &u) {
			m.budget.refuse(u.name, certificate.OneLine(u.Error()), time.Now())
		}
	}
	return errors.Join(errs...)
}

// refuseNamed notes the names that an error of the authority's is about.
func (m *Manager) refuseNamed(err error) {
	var failed *acme.Error
	if !errors.As(err, &failed) {
		return
	}
	for _, s := range failed.Subproblems {
		if s.Identifier != nil {
			m.budget.refuse(s.Identifier.Value, certificate.OneLine(s.Detail), time.Now())
		}
	}
}

// unproven is what the authority has found out about a name.
type unproven struct {
	name  string
	cause error
}

func (u *unproven) Error() string { return "not proven: " + u.cause.Error() }

// authorize proves one name.
func (m *Manager) authorize(ctx context.Context, c *acme.Client, url string) error {
	z, err := c.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	if z.Status != acme.StatusPending {
		return nil
	}
	name := z.Identifier.Value
	i := slices.IndexFunc(z.Challenges, func(ch *acme.Challenge) bool { return ch.Type == "http-01" })
	if i < 0 {
		return fmt.Errorf("%s: the authority does not offer http-01", name)
	}
	challenge := z.Challenges[i]
	remove, err := m.publish(c, challenge.Token)
	if err != nil {
		return err
	}
	defer remove()
	if _, err := c.Accept(ctx, challenge); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = c.WaitAuthorization(ctx, z.URI)
	if failed := (*acme.AuthorizationError)(nil); errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", name, &unproven{name, reasonOf(failed)})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// publish lets httpd answer for a token until remove is called.
func (m *Manager) publish(c *acme.Client, token string) (remove func(), err error) {
	content, err := c.HTTP01ChallengeResponse(token)
	if err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	if strings.ContainsAny(token, "/.\x00") || token == "" {
		return nil, fmt.Errorf("challenge: token %q cannot be a name", token)
	}
	file := filepath.Join(m.Volatile, challengeDir, token)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	return func() {
		if err := os.Remove(file); err != nil {
			m.Log.Warn("challenge", "err", err)
		}
	}, nil
}

// reasonOf takes out of an authorization's error what the authority found.
func reasonOf(failed *acme.AuthorizationError) error {
	if len(failed.Errors) > 0 {
		return errors.Join(failed.Errors...)
	}
	return failed
}

// check makes sure that what the authority sent can be served.
func (m *Manager) check(key crypto.Signer, chain [][]byte) error {
	if len(chain) == 0 {
		return errors.New("the authority sent no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("the authority's certificate: %w", err)
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return errors.New("the authority's certificate is for another key")
	}
	if !covers(leaf, m.names) {
		return fmt.Errorf("the authority's certificate is for %s only", strings.Join(leaf.DNSNames, " "))
	}
	if time.Now().After(leaf.NotAfter) {
		return fmt.Errorf("the authority's certificate expired %s", leaf.NotAfter.UTC().Format(time.DateTime))
	}
	return nil
}
