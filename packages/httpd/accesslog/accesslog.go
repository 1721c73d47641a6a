// Package accesslog writes the access log: who fetched what, one line each, in
// the Combined Log Format that every log analyser reads, with a few fields more.
//
// goaccess reads it with
//
//	--log-format='%h %^ %^ [%d:%t %^] "%r" %s %b "%R" "%u" %^ %^ %^ %^ %T'
//	--date-format=%d/%b/%Y --time-format=%H:%M:%S
//
// The log lives in one directory as access.log and older access.log.1 … .N, and
// never takes more than Files times FileSize on disk. Writers hand over whole
// buffers of lines. A disk that refuses loses lines, never requests: the loss is
// reported once until writing works again.
package accesslog

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Config says where and how much.
type Config struct {
	Dir      string
	FileSize int64 // a file is rotated when it has grown to this
	Files    int   // current and older ones together
	Log      *slog.Logger
}

const fileName = "access.log"

// Log is an open access log. Its methods may be called from any goroutine.
type Log struct {
	config Config
	mu     sync.Mutex
	file   *os.File
	size   int64
	broken bool
}

// Open continues the log in the directory.
func Open(c Config) (*Log, error) {
	l := &Log{config: c}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path(0), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

func (l *Log) path(age int) string {
	name := fileName
	if age > 0 {
		name += "." + strconv.Itoa(age)
	}
	return filepath.Join(l.config.Dir, name)
}

// Write appends whole lines.
func (l *Log) Write(lines []byte) {
	if len(lines) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(lines)
	if err != nil && !l.broken {
		l.config.Log.Error("access log not written, lines are lost", "err", err)
	}
	l.broken = err != nil
}

func (l *Log) write(lines []byte) error {
	if l.file == nil || l.size > 0 && l.size+int64(len(lines)) > l.config.FileSize {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
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
