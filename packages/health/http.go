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
	k.path = ""
	path, token = KnownDir+"/"+rand.Text(), rand.Text()
	if err := k.take(filepath.Join(k.root, path), token); err != nil {
		return "", "", fmt.Errorf("known file: %w", err)
	}
	k.path, k.token = path, token
	return path, token, nil
}

// take makes the file at path out of one that a former process left, if there
// is one: on a full disk that needs no room. All others go.
func (k *Known) take(path, token string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fullOr(err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	taken := false
	for _, e := range old {
		name := filepath.Join(dir, e.Name())
		if !taken && e.Type().IsRegular() && os.Rename(name, path) == nil {
			taken = true
			continue
		}
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return overwrite(path, token)
}

// overwrite writes a file's content over the old one, whose blocks it keeps.
func overwrite(path, token string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fullOr(err)
	}
	_, err = f.WriteAt([]byte(token), 0)
	if err == nil {
		err = f.Truncate(int64(len(token)))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		// Half a file must not be taken for the server's fault.
		return fullOr(errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Served returns a check that gets the file from the listener at base, for
// example "http://127.0.0.1". A certificate is not verified: HTTPS is reached
// by address. While a full disk leaves no room for the file the server must
// at least answer.
func (k *Known) Served(base string) func(context.Context) error {
	return func(ctx context.Context) error {
		path, token, err := k.there()
		if mild := (warning{}); errors.As(err, &mild) {
			if _, _, silent := get(ctx, base+"/"+KnownDir+"/none"); silent != nil {
				return silent
			}
		}
		if err != nil {
			return err
		}
		status, body, err := get(ctx, base+"/"+path)
		switch {
		case err != nil:
			return err
		case status == http.StatusServiceUnavailable: // more guests than seats
			return Warning(errors.New("server is full"))
		case status != http.StatusOK:
			return fmt.Errorf("answer %d %s to a file that is there", status, http.StatusText(status))
		case body != token:
			return errors.New("answer is not the file's content")
		}
		return nil
	}
}

// get makes one request on a connection of its own.
func get(ctx context.Context, url string) (status int, body string, err error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext:       (&net.Dialer{}).DialContext,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", bare(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return 0, "", fmt.Errorf("read answer: %w", err)
	}
	return resp.StatusCode, string(b), nil
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
