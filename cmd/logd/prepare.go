package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/durable"
	"micromirror/packages/kmod"
	"micromirror/packages/layout"
	"micromirror/packages/logbook"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
	"micromirror/packages/syslog"
)

// prepare opens what only root may open. A source that is not there costs itself
// only.
func (f *flags) prepare(log *slog.Logger) (*logbook.Config, error) {
	c := &logbook.Config{Dir: f.state, Run: f.run, Crashes: f.crashes, Log: log}
	if err := sandbox.Own(f.run, layout.LogD, layout.LogD, 0o755); err != nil {
		return nil, err
	}
	// Its files are managed's to read.
	if err := sandbox.Own(f.state, layout.LogD, layout.ManageD, 0o750|fs.ModeSetgid); err != nil {
		log.Error("the log is kept in memory only", "err", err)
		c.Dir = f.run
	}
	// Granting the access log needs its directory to be there, whoever starts first.
	if err := sandbox.Own(f.access, layout.HTTPD, layout.HTTPD, 0o750); err != nil {
		log.Error("the access log is not sent", "err", err)
	}
	if k, err := os.OpenFile(f.kernel, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		log.Error("the kernel's log is not kept", "err", err)
	} else {
		c.Kernel = k
	}
	if conn, err := net.ListenPacket("udp4", f.listen); err != nil {
		log.Error("the services' lines are not kept", "err", err)
	} else {
		c.Services = conn
	}
	if err := f.tellInit(); err != nil {
		log.Error("the services' lines are not kept", "err", err)
	}
	if err := f.giveCrashes(); err != nil {
		log.Warn("crash records stay with the firmware", "err", err)
	}
	return c, nil
}

// tellInit makes init send the services' lines here, from the next boot on: for a
// /perm that was made without that.
func (f *flags) tellInit() error {
	if f.target == "" {
		return nil
	}
	if data, err := os.ReadFile(f.target); err == nil && string(data) == f.listen+"\n" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.target), 0o755); err != nil {
		return fmt.Errorf("tell init about the log: %w", err)
	}
	return durable.WriteFile(f.target, []byte(f.listen+"\n"), 0o644)
}

// giveCrashes makes the kernel show its crash records and gives them to our user,
// since what is in them is read without privileges.
func (f *flags) giveCrashes() error {
	if _, err := os.Stat(f.crashes); err != nil {
		return err
	}
	if loader, err := kmod.New(kmod.Config{}); err == nil {
		if err := loader.Load("efi_pstore"); err != nil {
			return err
		}
	}
	if err := unix.Mount("pstore", f.crashes, "pstore", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount crash records: %w", err)
	}
	entries, err := os.ReadDir(f.crashes)
	if err != nil {
		return err
	}
	errs := []error{os.Lchown(f.crashes, layout.LogD, layout.LogD)}
	for _, e := range entries {
		errs = append(errs, os.Lchown(filepath.Join(f.crashes, e.Name()), layout.LogD, layout.LogD))
	}
	return errors.Join(errs...)
}

// patience is how long the collector may take for each step.
const patience = 30 * time.Second

// collector is where the fleet's logs go, nil for nowhere.
func collector(t node.Telemetry) (*syslog.Collector, error) {
	if t.Syslog == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if t.SyslogCA != "" {
		if roots, err = x509.NewCertPool(), nil; !roots.AppendCertsFromPEM([]byte(t.SyslogCA)) {
			err = errors.New("fleet.json: telemetry.syslog_ca holds no certificate in PEM form")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("collector's authority: %w", err)
	}
	return &syslog.Collector{Addr: t.Syslog, Roots: roots, Patience: patience}, nil
}

// enter gives up all privileges but those to read and remove crash records. The
// access log is readable for its group, httpd's.
func (f *flags) enter(sink *syslog.Collector, log *slog.Logger) error {
	const dns = 53
	policy := sandbox.Policy{
		UID: layout.LogD, GID: layout.HTTPD, KeepCaps: []cap.Value{cap.SYSLOG},
		Read: []string{f.node, f.access}, Write: []string{f.state, f.run, f.crashes},
	}
	if sink != nil {
		_, port, err := net.SplitHostPort(sink.Addr)
		if err != nil {
			port = syslog.Port
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return fmt.Errorf("fleet.json: telemetry.syslog: port of %s: %w", sink.Addr, err)
		}
		policy.Connect = []uint16{dns, uint16(n)}
	}
	return sandbox.Enter(policy, log)
}
