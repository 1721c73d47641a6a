// Package spool keeps lines in a bounded log on disk and lets readers follow it:
// the log is at once what a maintainer reads later and the queue of what has not
// been sent yet.
//
// A log lives in one directory as <name> and older <name>.1 … .N, and never takes
// more than Files times FileSize on disk. Whole lines go in and come out. A disk
// that refuses loses lines, never the writer: the loss is reported once until
// writing works again, which is tried with each line. After a crash, or a line that
// found room for a part of it, the log continues on a fresh line.
//
// A Reader follows through rotations, in the same process or another, and keeps
// its place in a file of its own, so that it goes on after a restart where it has
// been. A reader that was left so far behind that its place is gone continues
// with the oldest line there is and says so. Lines may be read twice after a power
// cut, none is skipped otherwise.
package spool

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Config says where and how much.
type Config struct {
	Dir      string
	Name     string // of the newest file
	FileSize int64  // a file is rotated when it has grown to this
	Files    int    // current and older ones together
	Log      *slog.Logger
}

// Log is an open log. Its methods may be called from any goroutine.
type Log struct {
	config Config
	mu     sync.Mutex
	file   *os.File
	size   int64
	broken bool
	synced bool
}

// Open continues the log in the directory.
func Open(c Config) *Log {
	l := &Log{config: c, synced: true}
	l.report(l.open())
	return l
}

// report tells of the first of several losses.
func (l *Log) report(err error) {
	if err != nil && !l.broken {
		l.config.Log.Error("log not written, lines are lost", "log", l.path(0), "err", err)
	}
	l.broken = err != nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path(0), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o640)
	if err != nil {
		return err
	}
	size, err := endLine(f)
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, size
	return nil
}

// endLine ends a line that a crash has left half written, and returns the size.
func endLine(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var last [1]byte
	if info.Size() == 0 {
		return 0, nil
	}
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return info.Size(), err
	}
	n, err := f.WriteString("\n")
	return info.Size() + int64(n), err
}

func (l *Log) path(age int) string { return path(l.config.Dir, l.config.Name, age) }

func path(dir, name string, age int) string {
	if age > 0 {
		name += "." + strconv.Itoa(age)
	}
	return filepath.Join(dir, name)
}

// Write appends whole lines.
func (l *Log) Write(lines []byte) {
	if len(lines) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report(l.write(lines))
	l.synced = false
}

func (l *Log) write(lines []byte) error {
	if l.file == nil || l.size > 0 && l.size+int64(len(lines)) > l.config.FileSize {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	if err != nil { // the half line that may be there is ended when there is room
		l.file.Close()
		l.file = nil
	}
	return err
}

// rotate makes every file one older; the oldest goes.
func (l *Log) rotate() error {
	if l.file != nil {
		l.file.Close()
		l.file = nil
		for age := l.config.Files - 1; age > 0; age-- {
			if err := os.Rename(l.path(age-1), l.path(age)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return l.open()
}

// Sync returns when what was written would survive a power cut.
func (l *Log) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.synced || l.file == nil {
		return nil
	}
	if err := unix.Fdatasync(int(l.file.Fd())); err != nil {
		return fmt.Errorf("sync log: %w", err)
	}
	l.synced = true
	return nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
