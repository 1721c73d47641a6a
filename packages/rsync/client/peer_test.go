package client

import (
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// peer is rsync itself as a daemon: each connection to addr gets one of its own
// on standard input, as inetd would do it.
type peer struct {
	addr string
	log  string
}

// startPeer serves the module "m" at dir; settings go into its section.
func startPeer(t testing.TB, dir string, settings ...string) *peer {
	t.Helper()
	tmp := t.TempDir()
	p := &peer{log: filepath.Join(tmp, "log")}
	config := filepath.Join(tmp, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlog file = %s\n[m]\ncomment = a module\npath = %s\nread only = yes\n%s\n", p.log, dir, strings.Join(settings, "\n"))
	if os.Getuid() == 0 {
		text = "uid = 0\ngid = 0\n" + text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p.addr = l.Addr().String()
	go serve(t, l, config)
	return p
}

func serve(t testing.TB, l net.Listener, config string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f, err := c.(*net.TCPConn).File()
		c.Close()
		if err != nil {
			t.Errorf("accepted connection: %v", err)
			return
		}
		cmd := exec.Command("rsync", "--daemon", "--config="+config)
		cmd.Stdin, cmd.Stdout = f, f
		if err := cmd.Start(); err != nil {
			t.Errorf("start rsync: %v", err)
		}
		f.Close()
		go cmd.Wait()
	}
}

func (p *peer) config() Config {
	return Config{Addr: p.addr, Module: "m", Timeout: 20 * time.Second}
}

// describe tells of each name below dir what a mirror must keep: type, mode,
// time, size and content or target, and which names share an inode.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		got[name] = describeOne(t, path, name, info, inodes)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func describeOne(t testing.TB, path, name string, info fs.FileInfo, inodes map[uint64]string) string {
	t.Helper()
	text := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().UnixNano())
	switch {
	case info.Mode().IsRegular():
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ino, links := inode(info)
		if links > 1 {
			inodes[ino] = cmp.Or(inodes[ino], name)
			text += " linked to " + inodes[ino]
		}
		return fmt.Sprintf("%s %d bytes %x", text, len(content), sha(content))
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		return text + " -> " + target
	}
	return text
}
