package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

const keyUser = "Micro Mirror demo archive <demo@example.net>"

// makeKey makes the throwaway signing key, once.
func (b *builder) makeKey(ctx context.Context) error {
	dir := filepath.Join(b.dir, "key")
	if _, err := os.Stat(PublicKey(b.dir)); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return withGPG(ctx, func(gpg func(args ...string) error) error {
		if err := gpg("--quick-generate-key", keyUser, "ed25519", "sign", "never"); err != nil {
			return err
		}
		if err := gpg("--armor", "--output", filepath.Join(dir, "secret.asc"), "--export-secret-keys"); err != nil {
			return err
		}
		return gpg("--armor", "--output", PublicKey(b.dir), "--export")
	})
}

// sign runs gpg once per argument list with the secret key of dir.
func sign(ctx context.Context, dir string, calls ...[]string) error {
	return withGPG(ctx, func(gpg func(args ...string) error) error {
		if err := gpg("--import", filepath.Join(dir, "key", "secret.asc")); err != nil {
			return err
		}
		for _, args := range calls {
			if err := gpg(append([]string{"--armor", "--digest-algo", "SHA256"}, args...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// withGPG gives f a gpg with a home of its own. The home is in the system's
// temporary folder because the agent's socket lies in it, whose name must be
// short. The agent is ended before the home goes.
func withGPG(ctx context.Context, f func(gpg func(args ...string) error) error) error {
	home, err := os.MkdirTemp("", "mm-gpg")
	if err != nil {
		return err
	}
	gpg := func(args ...string) error {
		fixed := []string{"gpg", "--homedir", home, "--batch", "--yes", "--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}
		_, err := run(ctx, "", append(fixed, args...)...)
		return err
	}
	err = f(gpg)
	_, stop := run(context.WithoutCancel(ctx), "", "gpgconf", "--homedir", home, "--kill", "all")
	return errors.Join(err, stop, os.RemoveAll(home))
}
