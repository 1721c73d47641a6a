package main

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"micromirror/packages/certificate"
	"micromirror/packages/handshake"
	"micromirror/packages/httpd"
	"micromirror/packages/kmod"
	"micromirror/packages/layout"
	"micromirror/packages/sandbox"
)

// bindHTTPS takes the port, which needs privileges, and what the kernel needs to
// seal. Nothing that goes wrong here stops HTTP.
func (f *flags) bindHTTPS(ctx context.Context, log *slog.Logger) *handshake.Port {
	if f.https == "" {
		return nil
	}
	port, err := handshake.Bind(ctx, f.https)
	if err != nil {
		log.Error("no https", "err", err)
		return nil
	}
	// acmed's directory; whoever starts first makes it.
	if err := sandbox.Own(f.acme, layout.AcmeD, layout.HTTPD, 0o750|fs.ModeSetgid); err != nil {
		log.Warn("certificates", "err", err)
	}
	if err := loadKernelTLS(); err != nil {
		log.Info("the kernel does not seal for https", "err", err)
	}
	return port
}

// loadKernelTLS loads what kernel TLS takes: the kernel asks for the modules only
// on behalf of a privileged process, which this one is not for long.
func loadKernelTLS() error {
	loader, err := kmod.New(kmod.Config{})
	if err != nil {
		return err
	}
	for _, module := range []string{"aesni_intel", "ghash_clmulni_intel", "gcm", "tls"} {
		if err := loader.Load(module); err != nil && module == "tls" {
			return err // the others only make it faster
		}
	}
	return nil
}

// withHTTPS is what the server needs for it, nil without a port.
func (f *flags) withHTTPS(ctx context.Context, port *handshake.Port, log *slog.Logger) *httpd.HTTPS {
	if port == nil {
		return nil
	}
	keeper := certificate.Follow(ctx, filepath.Join(f.acme, certificate.File), time.Second, log)
	return &httpd.HTTPS{Port: port, Keeper: keeper, Kernel: f.kernelTLS}
}
