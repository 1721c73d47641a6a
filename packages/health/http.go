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
)

// KnownDir is the folder of the known file, below the mirror's root.
const KnownDir = ".health"

// Known is a file with a random name and content that the file server is asked
// for. It is made anew by each process, so nothing can answer from a memory of
// former ones.
type Known struct {
	path, token string
}

// NewKnown writes the file below the mirror's root and removes older ones.
func NewKnown(root string) (*Known, error) {
	dir := filepath.Join(root, KnownDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("known file: %w", err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("known file: %w", err)
	}
	for _, e := range old {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("known file: %w", err)
		}
	}
	k := &Known{path: KnownDir + "/" + rand.Text(), token: rand.Text()}
	if err := os.WriteFile(filepath.Join(root, k.path), []byte(k.token), 0o644); err != nil {
		return nil, fmt.Errorf("known file: %w", err)
	}
	return k, nil
}

// Served returns a check that gets the file from the listener at base, for
// example "http://127.0.0.1". A certificate is not verified: HTTPS is reached
// by address, and its own check looks at the certificate.
func (k *Known) Served(base string) func(context.Context) error {
	return func(ctx context.Context) error {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext:       (&net.Dialer{}).DialContext,
		}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/"+k.path, nil)
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
		case string(body) != k.token:
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
