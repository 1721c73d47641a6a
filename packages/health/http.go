package health

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// KnownDir is the folder of the known file, below the mirror's root.
const KnownDir = ".health"

// Known is a file with a random name and content that the file server is asked
// for. Each process makes its own, so nothing can answer from a memory of
// former ones.
type Known struct {
	root string

	mu          sync.Mutex
	path, token string
}

// NewKnown returns the known file of the mirror with the given root.
func NewKnown(root string) *Known { return &Known{root: root} }

// there makes sure that the file exists, and alone: at first, and whenever
// somebody has made the mirror anew.
func (k *Known) there() (path, token string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.path != "" {
		if _, err := os.Stat(filepath.Join(k.root, k.path)); err == nil {
			return k.path, k.token, nil
		}
	}
	dir := filepath.Join(k.root, KnownDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("known file: %w", err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return "", "", fmt.Errorf("known file: %w", err)
	}
	for _, e := range old {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return "", "", fmt.Errorf("known file: %w", err)
		}
	}
	k.path, k.token = KnownDir+"/"+rand.Text(), rand.Text()
	if err := os.WriteFile(filepath.Join(k.root, k.path), []byte(k.token), 0o644); err != nil {
		return "", "", fmt.Errorf("known file: %w", err)
	}
	return k.path, k.token, nil
}

// Served returns a check that gets the file from the listener at base, for
// example "http://127.0.0.1". A certificate is not verified: HTTPS is reached
// by address, and its own check looks at the certificate.
func (k *Known) Served(base string) func(context.Context) error {
	return func(ctx context.Context) error {
		path, token, err := k.there()
		if err != nil {
			return err
		}
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext:       (&net.Dialer{}).DialContext,
		}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/"+path, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return bare(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
		switch {
		case err != nil:
			return fmt.Errorf("read answer: %w", err)
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("answer %s to a file that is there", resp.Status)
		case string(body) != token:
			return errors.New("answer is not the file's content")
		}
		return nil
	}
}

// bare strips the random URL, so that the reason of a failure stays the same.
func bare(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		if _, ok := err.(*net.OpError); ok {
			break
		}
		err = inner
	}
	return err
}
